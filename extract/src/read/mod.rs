//! Reading image files: whatever the format, one [`Volume`] of slices.

mod nifti;
mod raster;
mod volume;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

pub use volume::Volume;

use crate::Error;

/// Longest side, in pixels or voxels, that is read.
const MAX_SIDE: u32 = 32_767;

/// How much of a file is looked at to tell its format.
const SNIFFED_BYTES: u64 = 512;

/// Reads an image or a volume: PNG, JPEG or NIfTI-1, plain or gzipped.
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
    let path = file_behind(path)?;
    if !fs::metadata(&path).map_err(Error::io(&path))?.is_file() {
        return Err(Error::NotRegular { path });
    }
    let start = first_bytes(&path)?;
    match Format::of(&start) {
        Some(Format::Raster(format)) => raster::read(&path, format),
        Some(Format::Nifti { gzipped }) => nifti::read(&path, gzipped),
        None => Err(unreadable(path, &start)),
    }
}

enum Format {
    Raster(image::ImageFormat),
    Nifti { gzipped: bool },
}

impl Format {
    fn of(start: &[u8]) -> Option<Format> {
        match start {
            [0x89, b'P', b'N', b'G', ..] => Some(Format::Raster(image::ImageFormat::Png)),
            [0xff, 0xd8, 0xff, ..] => Some(Format::Raster(image::ImageFormat::Jpeg)),
            [0x1f, 0x8b, ..] => Some(Format::Nifti { gzipped: true }),
            _ => nifti::version(start).map(|_| Format::Nifti { gzipped: false }),
        }
    }
}

fn file_behind(path: &Path) -> Result<PathBuf, Error> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let entries = fs::read_dir(path).map_err(Error::io(path))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| is_nifti_name(file) && file.is_file())
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

fn unreadable(path: PathBuf, start: &[u8]) -> Error {
    let text = String::from_utf8_lossy(start).to_ascii_lowercase();
    if start.is_empty() {
        Error::EmptyFile { path }
    } else if start.starts_with(&[0, 5, 0x16, 7]) {
        Error::AppleDouble { path }
    } else if text.contains("<!doctype") || text.contains("<html") {
        Error::WebPage { path }
    } else {
        let start = start.iter().take(4).map(|byte| format!("{byte:02x}"));
        let start = start.collect::<Vec<_>>().join(" ");
        Error::UnknownFormat { path, start }
    }
}

#[cfg(test)]
mod tests;
