//! Reading image files: whatever the format, one [`Volume`] of slices.

mod budget;
pub mod dicom;
mod labels;
pub mod mat;
mod memory;
mod nifti;
pub mod npz;
mod raster;
mod shown;
mod source;
mod table;
mod volume;
mod voxels;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::FileError;

use self::budget::MemoryBudget;
pub use self::budget::{SampleBudget, Taken};
use self::mat::MatFile;
use self::npz::NpzArray;
pub use self::source::{MaskPart, Source};
pub use self::volume::Volume;
pub use crate::orient::Gaps;

use crate::Error;

/// Longest side, in pixels or voxels, that is read.
const MAX_SIDE: u32 = 32_767;

/// Most bytes that an image in one slice may unpack to.
const MAX_UNPACKED: u64 = 1 << 30;

/// How many times longer than packed its content can be: deflate makes at most 1032 bytes of one.
const MAX_RATIO: u64 = 1032;

/// Numbers read before memory for more is taken.
const FIRST_NUMBERS: usize = 8 << 20;

/// How much of a file is looked at to tell its format.
const SNIFFED_BYTES: u64 = 512;

/// Reads the images of one dataset.
///
/// It keeps what several images share: how far an archive has been unpacked, and how much memory
/// they take.
pub struct Reader {
    root: PathBuf,
    memory_budget: MemoryBudget,
    archives: Mutex<HashMap<(PathBuf, String), NpzArray>>,
}

impl Reader {
    /// A reader of images under `root`.
    pub fn new(root: &Path) -> Reader {
        keep_freed_memory();
        Reader {
            root: root.to_path_buf(),
            memory_budget: MemoryBudget::default(),
            archives: Mutex::default(),
        }
    }

    /// Reads an image or a volume by itself.
    ///
    /// # Errors
    ///
    /// As [`volume`].
    pub fn volume(&self, source: &Source) -> Result<Volume, Error> {
        self.volume_in(&MemoryBudget::default().budget(0), source)
    }

    /// The memory of the sample that is begun as number `index`, from 0; each number is used once,
    /// and none is left out.
    pub fn budget(&self, index: usize) -> SampleBudget<'_> {
        self.memory_budget.budget(index)
    }

    /// Reads an image or a volume of a sample.
    pub fn volume_in(&self, budget: &SampleBudget, source: &Source) -> Result<Volume, Error> {
        let read = |path: &PathBuf, channel| file(&self.root.join(path), channel, budget);
        match source {
            Source::File(path) => read(path, None),
            Source::Channel(path, channel) => read(path, Some(*channel)),
            Source::Array(path, name) => MatFile::open(&self.root.join(path))?.image(name, budget),
            Source::Stack(paths) => {
                let volumes = paths.iter().map(|path| read(path, None));
                Volume::stacked(volumes.collect::<Result<_, _>>()?)
            }
            Source::Item(path, name, index) => self.item(path, name, *index as usize),
        }
    }

    /// Reads the image of a sample: as [`volume_in`](Self::volume_in), but no DICOM object that is not one,
    /// as doses and segmentations, whose numbers would pass for an image.
    ///
    /// # Errors
    ///
    /// [`Error::UnsupportedDicom`], and as [`volume`].
    pub fn image_in(&self, budget: &SampleBudget, source: &Source) -> Result<Volume, Error> {
        // Files of a stack have been chosen by their headers.
        if let Source::File(path) = source {
            dicom::refuse_derived_object(&self.root.join(path))?;
        }
        self.volume_in(budget, source)
    }

    /// Reads a label map of a sample: as [`volume_in`](Self::volume_in), but grey images of 1, 2 and 4 bits
    /// keep their values, and those with a palette give its indices.
    pub fn labels_in(&self, budget: &SampleBudget, source: &Source) -> Result<Volume, Error> {
        let path = self.root.join(source.file());
        if matches!(source, Source::File(_)) && labels::is_indexed(&path) {
            return labels::indices(&path, budget);
        }
        let mut volume = self.volume_in(budget, source)?;
        for block in &mut volume.blocks {
            block.scale = labels::scale(&block.path).or(block.scale);
        }
        Ok(volume)
    }

    fn item(&self, path: &Path, name: &str, index: usize) -> Result<Volume, Error> {
        let mut archives = self.archives.lock().unwrap_or_else(PoisonError::into_inner);
        let array = match archives.entry((path.to_path_buf(), name.to_owned())) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(NpzArray::open(&self.root.join(path), name)?),
        };
        array.image(index)
    }
}

/// Lets the allocator keep what is freed after each slice for the next one.
///
/// glibc gives freed memory back to the system and gets it anew, page by page, which takes longer
/// than reading a slice. It stops doing so for sizes up to that of the largest piece freed so far;
/// pieces over 32 MiB do not count. No memory is touched.
fn keep_freed_memory() {
    const LARGEST_COUNTED: usize = 32 << 20;
    const SPARE: usize = 64 << 10;
    drop(black_box(Vec::<u8>::with_capacity(LARGEST_COUNTED - SPARE)));
}

/// Reads an image or a volume: PNG, JPEG, TIFF, DICOM, or NIfTI, plain or gzipped.
///
/// The format is told by the content, so a plain NIfTI named `.nii.gz` is read as well. A folder
/// named like a file, as some unpackers leave it (`scan.nii.gz/scan.nii`), stands for the one
/// NIfTI file in it.
///
/// # Errors
///
/// A variant of [`Error`] that names the file: it cannot be opened, is empty, damaged, cut short,
/// too large, in another format, or not an image at all.
pub fn volume(path: &Path) -> Result<Volume, Error> {
    file(path, None, &MemoryBudget::default().budget(0))
}

fn file(path: &Path, channel: Option<u32>, budget: &SampleBudget) -> Result<Volume, Error> {
    let path = file_behind(path)?;
    let path = nifti::header_of(&path).unwrap_or(path);
    if !fs::metadata(&path).map_err(Error::io(&path))?.is_file() {
        return Err(FileError::NotRegular { path }.into());
    }
    let start = first_bytes(&path)?;
    match Format::of(&start) {
        Some(Format::Raster(format)) => raster::read(&path, format, budget),
        Some(Format::Dicom) => dicom::read(&path, budget),
        Some(Format::Nifti { gzipped }) => nifti::read(&path, gzipped, channel, budget),
        None => Err(unreadable(path, &start)),
    }
}

enum Format {
    Raster(image::ImageFormat),
    Dicom,
    Nifti { gzipped: bool },
}

impl Format {
    fn of(start: &[u8]) -> Option<Format> {
        match start {
            // First, since what stands in front of a DICOM may be the head of a TIFF.
            _ if dicom::is_dicom(start) => Some(Format::Dicom),
            [0x89, b'P', b'N', b'G', ..] => Some(Format::Raster(image::ImageFormat::Png)),
            [0xff, 0xd8, 0xff, ..] => Some(Format::Raster(image::ImageFormat::Jpeg)),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
                Some(Format::Raster(image::ImageFormat::Tiff))
            }
            [0x1f, 0x8b, ..] => Some(Format::Nifti { gzipped: true }),
            _ => nifti::version(start).map(|_| Format::Nifti { gzipped: false }),
        }
    }
}

/// The file itself; of a folder named like a file, the one NIfTI in it.
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

fn is_nifti_name(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && (name.ends_with(".nii") || name.ends_with(".nii.gz"))
}

fn first_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SNIFFED_BYTES).read_to_end(&mut start))
        .map_err(Error::io(path))?;
    Ok(start)
}

/// Whether a file is a JPEG.
pub fn is_jpeg(path: &Path) -> bool {
    first_bytes(path).is_ok_and(|start| start.starts_with(&[0xff, 0xd8, 0xff]))
}

fn unreadable(path: PathBuf, start: &[u8]) -> Error {
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
        let start = start.iter().take(4).map(|byte| format!("{byte:02x}"));
        let start = start.collect::<Vec<_>>().join(" ");
        Error::UnknownFormat { path, start }
    }
}

/// The command that converts with nibabel.
const NIBABEL: &str =
    "`nibabel.Nifti1Image.from_image(nibabel.load(FILE)).to_filename(\"a.nii.gz\")`";

/// The name of a format of medical images that is not read, and the command that converts such a file.
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

/// What a foreign decoder gives; `None` if it panicked. A mistake in it that a damaged file brings to
/// light ends that file only, not the thread: decoders index and compute unchecked in places.
pub fn contained<T>(decode: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(decode)).ok()
}

/// How reading numbers ended too early.
struct Short {
    error: std::io::Error,
    /// Bytes that were there.
    found: u64,
}

/// Reads `count` numbers as they lie in memory. Memory grows with what is there, not with `count`.
fn numbers<T: voxels::Voxel>(reader: &mut impl Read, count: usize) -> Result<Vec<T>, Short> {
    let mut values: Vec<T> = Vec::new();
    while values.len() < count {
        let start = values.len();
        let next = (count - start).min(start.max(FIRST_NUMBERS));
        if values.try_reserve(next).is_err() {
            let (error, found) = (std::io::ErrorKind::OutOfMemory.into(), 0);
            return Err(Short { error, found });
        }
        values.resize(start + next, T::zeroed());
        let mut rest: &mut [u8] = bytemuck::cast_slice_mut(&mut values[start..]);
        while !rest.is_empty() {
            let error = match reader.read(rest) {
                Ok(0) => std::io::ErrorKind::UnexpectedEof.into(),
                Ok(read) => {
                    rest = &mut rest[read..];
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let found = ((start + next) * size_of::<T>() - rest.len()) as u64;
            return Err(Short { error, found });
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
