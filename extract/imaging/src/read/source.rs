//! Sources of voxels.

use std::path::{Path, PathBuf};

/// One image, volume or label map; paths are relative to the dataset's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file with one image.
    File(PathBuf),
    /// A channel (from 0) along the fourth axis of a NIfTI.
    Channel(PathBuf, u32),
    /// One file per slice, in order; slices may differ in size.
    Stack(Vec<PathBuf>),
    /// An array of an HDF5 file, by its path in the file.
    Array(PathBuf, &'static str),
    /// An image (from 0) of an array of images in an `.npz` archive.
    Item(PathBuf, String, u32),
}

impl Source {
    /// Files that are read; at least one.
    pub fn files(&self) -> &[PathBuf] {
        match self {
            Source::File(path)
            | Source::Channel(path, _)
            | Source::Array(path, _)
            | Source::Item(path, ..) => std::slice::from_ref(path),
            Source::Stack(paths) => paths,
        }
    }

    /// The first of the files.
    pub fn file(&self) -> &Path {
        self.files().first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// Key among sources of the same files; blank for whole files.
    pub fn part(&self) -> String {
        match self {
            Source::File(_) | Source::Stack(_) => String::new(),
            Source::Channel(_, channel) => channel.to_string(),
            Source::Array(_, name) => (*name).to_owned(),
            Source::Item(_, name, index) => format!("{name}[{index}]"),
        }
    }
}

/// A label map, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskPart {
    /// Source of the voxels.
    pub source: Source,
    /// `None` for a label map; for a binary mask, the label of voxels above 0.
    pub value: Option<u16>,
}
