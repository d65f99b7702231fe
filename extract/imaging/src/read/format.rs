//! Detection of file formats by content.

use std::fs;
use std::path::{Path, PathBuf};

use common::FileError;
use image::ImageFormat;

use super::bytes::first_bytes;
use super::{dicom, nifti};
use crate::Error;
use crate::error::NIBABEL;

/// A format that is read.
pub(super) enum Format {
    Raster(ImageFormat),
    Dicom,
    Nifti { gzipped: bool },
}

impl Format {
    /// The format of a file that begins with `start`.
    pub(super) fn of(start: &[u8]) -> Option<Format> {
        match start {
            // Before TIFF: the preamble of a DICOM file may be the header of a TIFF.
            _ if dicom::is_dicom(start) => Some(Format::Dicom),
            [0x89, b'P', b'N', b'G', ..] => Some(Format::Raster(ImageFormat::Png)),
            [0xff, 0xd8, 0xff, ..] => Some(Format::Raster(ImageFormat::Jpeg)),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
                Some(Format::Raster(ImageFormat::Tiff))
            }
            [0x1f, 0x8b, ..] => Some(Format::Nifti { gzipped: true }),
            _ => nifti::version(start).map(|_| Format::Nifti { gzipped: false }),
        }
    }
}

/// Whether a file is a JPEG.
pub fn is_jpeg(path: &Path) -> bool {
    first_bytes(path).is_ok_and(|start| start.starts_with(&[0xff, 0xd8, 0xff]))
}

/// The error for a file of none of the formats that are read.
pub(super) fn unreadable(path: PathBuf, start: &[u8]) -> Error {
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    if start.is_empty() {
        FileError::Empty { path }.into()
    } else if start.starts_with(&[0, 5, 0x16, 7]) {
        Error::AppleDouble { path }
    } else if text.contains("<!doctype") || text.contains("<html") {
        FileError::WebPage { path }.into()
    } else if let Some((format, convert)) = known_format(start) {
        Error::OtherFormat {
            path,
            format,
            convert,
        }
    } else {
        let bytes: Vec<String> = start.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let start = bytes.join(" ");
        Error::UnknownFormat { path, start }
    }
}

/// Name of a known format that is not read, and the Python that converts such a file.
fn known_format(start: &[u8]) -> Option<(&'static str, &'static str)> {
    const SIMPLE_ITK: &str = "`SimpleITK.WriteImage(SimpleITK.ReadImage(FILE), \"a.nii.gz\")`";
    let text = String::from_utf8_lossy(start);
    match start {
        [b'N', b'R', b'R', b'D', ..] => Some(("NRRD", SIMPLE_ITK)),
        [b'C', b'D', b'F', 1..=5, ..] => Some(("MINC 1 (NetCDF)", NIBABEL)),
        [0x89, b'H', b'D', b'F', ..] => Some(("HDF5 (MINC 2, MATLAB)", NIBABEL)),
        [b'M', b'A', b'T', b'R', b'I', b'X', ..] => Some(("ECAT", NIBABEL)),
        [0, 0, 0, 1, 0, 0, ..] if start.len() > 284 => Some(("MGH (FreeSurfer)", NIBABEL)),
        _ if text.contains("NDims") && text.contains("DimSize") => {
            Some(("MetaImage (MHA, MHD)", SIMPLE_ITK))
        }
        _ if text.contains("PATIENT INFORMATION") => Some(("PAR of Philips", NIBABEL)),
        _ => None,
    }
}

/// The file itself, or the only NIfTI file in a folder named like a file, as some unpackers leave it
/// (`scan.nii.gz/scan.nii`).
///
/// # Errors
///
/// [`Error::FolderNotFile`] if the folder holds none or several.
pub fn file_behind(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let entries = fs::read_dir(path).map_err(Error::io(path))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| is_nifti_name(file) && file.is_file() && !file.is_symlink())
        .collect();
    match (files.pop(), files.len()) {
        (Some(file), 0) => Ok(file),
        (last, others) => Err(Error::FolderNotFile {
            path: path.to_path_buf(),
            found: others + usize::from(last.is_some()),
        }),
    }
}

/// The files that are read for an image or a label map in the file `path`: itself or [the file in
/// it](file_behind), and the other one of a pair of `.hdr` and `.img`.
pub fn files_behind(path: &Path) -> Vec<PathBuf> {
    let file = file_behind(path).unwrap_or_else(|_| path.to_path_buf());
    let other = nifti::header_of(&file).or_else(|| nifti::voxels_of(&file));
    [file].into_iter().chain(other).collect()
}

fn is_nifti_name(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && (name.ends_with(".nii") || name.ends_with(".nii.gz"))
}
