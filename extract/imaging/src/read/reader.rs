//! Images of a dataset by [`Source`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::FileError;

use super::budget::{MemoryBudget, SampleBudget};
use super::bytes::first_bytes;
use super::format::{Format, file_behind, unreadable};
use super::mat::MatFile;
use super::npz::NpzArray;
use super::source::Source;
use super::volume::Volume;
use super::{dicom, labels, nifti, raster};
use crate::Error;
use crate::preprocess::Slicing;

/// A reader of the images of one dataset.
///
/// It holds the state that images share: archives, as far as they have been unpacked, and the memory
/// of open samples.
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

    /// Memory budget of the sample that is opened as number `index`, from 0. Each number is used once,
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

    /// Lengths of slices, rows and columns of a picture or NIfTI along `slicing`, from its header; `None` of
    /// other files, and of those that cannot be read.
    pub fn shape_by_header(&self, source: &Source, slicing: Slicing) -> Option<[usize; 3]> {
        let (Source::File(path) | Source::Channel(path, _)) = source else {
            return None;
        };
        let path = file_behind(&self.root.join(path)).ok()?;
        let path = nifti::header_of(&path).unwrap_or(path);
        // Opening a pipe would wait for its writer.
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        match Format::of(&first_bytes(&path).ok()?)? {
            Format::Nifti { gzipped } => nifti::shape(&path, gzipped, slicing).ok(),
            Format::Raster(_) => {
                let file = image::ImageReader::open(&path).ok()?;
                let (width, height) = file.with_guessed_format().ok()?.into_dimensions().ok()?;
                Some([1, height as usize, width as usize])
            }
            Format::Dicom => None,
        }
    }

    /// Reads the image of a sample as [`volume_in`](Self::volume_in) does, and refuses DICOM objects that
    /// are not images, such as doses and segmentations.
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

    /// Reads a label map of a sample as [`volume_in`](Self::volume_in) does, except that grey images of 1,
    /// 2 and 4 bits keep their values, and images with a palette give its indices.
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

/// Makes the allocator keep freed memory for the next slice.
///
/// glibc returns freed memory to the system and requests it again, page by page, which takes longer
/// than reading a slice. It stops doing so for allocations up to the largest one freed so far, not
/// counting those over 32 MiB (its dynamic mmap threshold). The allocation here is never touched.
fn keep_freed_memory() {
    const LARGEST_COUNTED: usize = 32 << 20;
    const SPARE: usize = 64 << 10;
    drop(black_box(Vec::<u8>::with_capacity(LARGEST_COUNTED - SPARE)));
}

/// Reads an image or a volume: PNG, JPEG, TIFF, DICOM, or NIfTI, plain or gzipped.
///
/// The format is detected by content, so a plain NIfTI named `.nii.gz` is read as well. Of a folder
/// named like a file (`scan.nii.gz/scan.nii`), the only NIfTI file in it is read.
///
/// # Errors
///
/// A variant of [`Error`] that names the file: it cannot be opened, is empty, damaged, cut short,
/// too large, in another format, or not an image at all.
pub fn volume(path: &Path) -> Result<Volume, Error> {
    file(path, None, &MemoryBudget::default().budget(0))
}

pub(super) fn file(
    path: &Path,
    channel: Option<u32>,
    budget: &SampleBudget,
) -> Result<Volume, Error> {
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
