//! Errors of images and label maps.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use common::text::shown;
use common::{FileError, counted};

use crate::orient::Gaps;
use crate::preprocess::Slicing;

/// Python that converts a file to NIfTI with nibabel.
pub(crate) const NIBABEL: &str =
    "`nibabel.Nifti1Image.from_image(nibabel.load(FILE)).to_filename(\"a.nii.gz\")`";

/// An image or a label map that cannot be read or cut; the text names the file and, on a line of its
/// own, the fix.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, whatever its format.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is what macOS puts beside a copied file.
    #[error(
        "`{}`: the file is an AppleDouble resource fork, not an image\nhint: delete it; the image is the file of the same name without `._`",
        shown(path)
    )]
    AppleDouble {
        /// The file.
        path: PathBuf,
    },
    /// The content is in none of the formats that can be read.
    #[error("`{}`: the content is not PNG, JPEG, TIFF, DICOM or NIfTI, it starts with `{start}`\nhint: convert it to one of them", shown(path), start = shown(start))]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its first bytes, in hexadecimal.
        start: String,
    },
    /// The content is in a format that is known and not read.
    #[error(
        "`{}`: the content is {format}, which is not read\nhint: convert it to NIfTI, for instance in Python: {convert}",
        shown(path)
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// The format.
        format: &'static str,
        /// The command that converts it.
        convert: &'static str,
    },
    /// A folder stands where a file is expected, and no single NIfTI file lies in it.
    #[error("`{}`: expected a file, found a folder with {}\nhint: name the file itself", shown(path), counted(*found, "NIfTI file"))]
    FolderNotFile {
        /// The folder.
        path: PathBuf,
        /// Number of `.nii` and `.nii.gz` files in it.
        found: usize,
    },
    /// A kind of PNG, JPEG or TIFF that the decoder does not support.
    #[error("`{}`: {reason}\nhint: convert it to an 8- or 16-bit PNG", shown(path), reason = shown(reason))]
    UnsupportedRaster {
        /// The file.
        path: PathBuf,
        /// Message of the decoder.
        reason: String,
    },
    /// The unpacked content is not NIfTI.
    #[error(
        "`{}`: the gzip file holds no NIfTI image\nhint: if it is an archive, unpack it; if it is another format (MGZ), convert it to NIfTI, for instance with nibabel",
        shown(path)
    )]
    NotNifti {
        /// The file.
        path: PathBuf,
    },
    /// The file of voxels of a header/voxels pair is missing.
    #[error(
        "`{}`: the file is the header of a .hdr/.img pair, and there is no .img of its name beside it\nhint: copy both files, or convert the pair to one .nii.gz",
        shown(path)
    )]
    PairWithoutVoxels {
        /// The header.
        path: PathBuf,
    },
    /// A field of the NIfTI header is out of range.
    #[error("`{}`: the NIfTI header's `{field}` is `{value}`, expected {expected}\nhint: download or copy it again", shown(path), value = shown(value))]
    BadHeader {
        /// The file.
        path: PathBuf,
        /// The field, as the standard names it.
        field: &'static str,
        /// Its value.
        value: String,
        /// Values that are allowed.
        expected: &'static str,
    },
    /// The volume has several channels, and none was chosen.
    #[error(
        "`{}`: the volume has {channels} channels along its fourth axis, expected three axes\nhint: choose one: `channel` among the `[options]` of a dataset card, or `--channel`",
        shown(path)
    )]
    FourDimensional {
        /// The file.
        path: PathBuf,
        /// Number of channels.
        channels: usize,
    },
    /// The volume does not have the channel that was chosen.
    #[error("`{}`: there is no channel {found}, the volume has {channels} (0 to {})\nhint: choose another channel", shown(path), channels - 1)]
    NoChannel {
        /// The file.
        path: PathBuf,
        /// The chosen channel.
        found: u32,
        /// Number of channels.
        channels: usize,
    },
    /// The volume has more than four axes.
    #[error(
        "`{}`: the volume has the shape `{shape:?}`, expected three axes, or four of which the last are channels\nhint: split it into one file per volume, for instance with `nibabel.four_to_three`",
        shown(path)
    )]
    FiveDimensional {
        /// The file.
        path: PathBuf,
        /// The lengths of its axes.
        shape: Vec<usize>,
    },
    /// A plane of the patient cannot be cut, since the file does not give the patient's orientation.
    #[error(
        "`{}`: cannot cut `{slicing}` slices, the file does not give the patient's orientation\nhint: cut it as stored: `--slicing stored-k-xy`",
        shown(path)
    )]
    NoOrientation {
        /// The file.
        path: PathBuf,
        /// The plane.
        slicing: Slicing,
    },
    /// A plane across slices at uneven distances cannot be cut.
    #[error(
        "`{}`: cannot cut `{slicing}` slices, the stored slices are at uneven distances ({gaps})\nhint: slices are missing or doubled: get the whole series, or cut it as it was taken: `--slicing stored-k-xy`",
        shown(path)
    )]
    UnevenGaps {
        /// The first file.
        path: PathBuf,
        /// The plane.
        slicing: Slicing,
        /// The distances.
        gaps: Gaps,
    },
    /// A plane of the patient cannot be cut, since the slices are not parallel or go back and forth.
    #[error(
        "`{}`: cannot cut `{slicing}` slices, the stored slices are not parallel or go back and forth, as in several stacks or times\nhint: cut them as stored: `--slicing stored-k-xy`",
        shown(path)
    )]
    Scattered {
        /// The first file.
        path: PathBuf,
        /// The plane.
        slicing: Slicing,
    },
    /// Mask and image orientations differ.
    #[error(
        "`{}`: mask and image orientations differ, by the headers of the mask and its image `{}`\nhint: reorient the mask to the image; if only its header is wrong, give it the image's affine",
        shown(path),
        shown(image)
    )]
    MaskOrientation {
        /// The mask's file.
        path: PathBuf,
        /// The image's file.
        image: PathBuf,
    },
    /// Slices of a stack differ in size, or there is none.
    #[error(
        "`{}`: the slices differ in size, and cannot be cut in another plane\nhint: cut them as stored: `--slicing stored-k-xy`",
        shown(path)
    )]
    UnevenStack {
        /// The first file.
        path: PathBuf,
    },
    /// A MATLAB file of a version before 7.3.
    #[error(
        "`{}`: the file is a MATLAB 5 file, expected version 7.3 (HDF5)\nhint: in MATLAB, save it with `-v7.3`",
        shown(path)
    )]
    OldMat {
        /// The file.
        path: PathBuf,
    },
    /// Voxels that are complex, coloured or wider than 64 bits.
    #[error(
        "`{}`: the NIfTI data type is `{datatype}`, expected an integer or a float of 8 to 64 bits\nhint: convert it to one value per voxel, for instance 16-bit integers",
        shown(path)
    )]
    UnsupportedVoxels {
        /// The file.
        path: PathBuf,
        /// The code in the header.
        datatype: i16,
    },
    /// The file ends before its last voxel.
    #[error("`{}`: the header says {} of voxels, the file holds {found}\nhint: download or copy it again", shown(path), counted(*expected, "byte"))]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// The file goes on long after its last voxel.
    #[error("`{}`: the header says {} of voxels, the file holds over {allowed} more\nhint: the header and the voxels do not belong together; download or copy it again", shown(path), counted(*expected, "byte"))]
    TrailingData {
        /// The file.
        path: PathBuf,
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes that may follow them.
        allowed: u64,
    },
    /// A label map holds a value that is not a label.
    #[error(
        "`{}`: slice {slice} holds the value `{value}`, expected whole numbers in 0..=65535\nhint: save the mask as integers, and resize masks by nearest neighbour only",
        shown(path)
    )]
    LabelValue {
        /// The mask's file.
        path: PathBuf,
        /// The slice, from 0.
        slice: usize,
        /// The first such value.
        value: f64,
    },
    /// A label map is coloured.
    #[error(
        "`{}`: the mask is coloured, expected one number per pixel\nhint: save it as a PNG, grey or with a palette, that holds the label numbers",
        shown(path)
    )]
    LabelColours {
        /// The mask's file.
        path: PathBuf,
    },
    /// A DICOM file of a kind that is not read.
    #[error("`{}`: {found} is not supported\nhint: {hint}", shown(path), found = shown(found), hint = shown(hint))]
    UnsupportedDicom {
        /// The file.
        path: PathBuf,
        /// Kind of the file.
        found: String,
        /// Advice.
        hint: String,
    },
}

impl Error {
    /// [`FileError::Damaged`] for `path`.
    pub(crate) fn damaged(path: &Path, reason: impl Display) -> Error {
        FileError::damaged(path, reason).into()
    }

    /// [`FileError::TooLarge`] for `path`.
    pub(crate) fn too_large(path: &Path, found: impl Display, limit: impl Display) -> Error {
        FileError::too_large(path, found, limit).into()
    }

    /// [`UnsupportedDicom`](Self::UnsupportedDicom) for `path`.
    pub(crate) fn unsupported_dicom(path: &Path, found: String, hint: &str) -> Error {
        Error::UnsupportedDicom {
            path: path.to_path_buf(),
            found,
            hint: hint.to_owned(),
        }
    }

    /// A closure for `map_err` that names the file which the system failed to read.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let error = FileError::io(path);
        move |source| error(source).into()
    }

    /// Paths in the message.
    pub fn paths_mut(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Error::File(error) => vec![error.path_mut()],
            Error::MaskOrientation { path, image } => vec![path, image],
            Error::AppleDouble { path, .. }
            | Error::UnknownFormat { path, .. }
            | Error::OtherFormat { path, .. }
            | Error::FolderNotFile { path, .. }
            | Error::UnsupportedRaster { path, .. }
            | Error::NotNifti { path, .. }
            | Error::PairWithoutVoxels { path, .. }
            | Error::BadHeader { path, .. }
            | Error::FourDimensional { path, .. }
            | Error::NoChannel { path, .. }
            | Error::FiveDimensional { path, .. }
            | Error::NoOrientation { path, .. }
            | Error::UnevenGaps { path, .. }
            | Error::Scattered { path, .. }
            | Error::UnevenStack { path, .. }
            | Error::OldMat { path, .. }
            | Error::UnsupportedVoxels { path, .. }
            | Error::Truncated { path, .. }
            | Error::TrailingData { path, .. }
            | Error::LabelValue { path, .. }
            | Error::LabelColours { path, .. }
            | Error::UnsupportedDicom { path, .. } => vec![path],
        }
    }
}
