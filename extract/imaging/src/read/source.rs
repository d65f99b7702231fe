//! Where the voxels of a sample are.

use std::path::{Path, PathBuf};

/// One image, volume or label map; paths are relative to the dataset's root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file that holds it and nothing else.
    File(PathBuf),
    /// One channel of a file with several, counted from 0: the fourth axis of a NIfTI.
    Channel(PathBuf, u32),
    /// One file per slice, in order; slices may differ in size.
    Stack(Vec<PathBuf>),
    /// An array in a file of several: a path in an HDF5 file.
    Array(PathBuf, &'static str),
    /// One image out of an array of them in an `.npz` archive.
    Item(PathBuf, String, u32),
}

impl Source {
    /// The files that it is read from; at least one.
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

    /// What tells it apart from other sources in the same files; blank for whole files.
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
    /// Where it is.
    pub source: Source,
    /// `None` for a label map. `Some(value)` for a binary mask: where it is above 0, the result
    /// is `value`.
    pub value: Option<u16>,
}
