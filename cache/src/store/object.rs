//! What lies in a bucket.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Bucket;

/// Version of an object, which changes whenever it is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(super) e_tag: Option<String>,
    pub(super) version: Option<String>,
}

/// Condition of a put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// The object is created or replaced.
    Anything,
    /// The object must not exist.
    Nothing,
    /// The object must have this version.
    Version(&'a Version),
}

/// What a folder holds, sorted.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

/// An object below some folder.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Tag of its content; empty if the store has none.
    pub(crate) tag: String,
    pub(crate) modified: SystemTime,
}

/// An object of which parts are read.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    bucket: Bucket,
    bytes: u64,
}

impl Object {
    /// Opens an object; `known` is the size that it must have.
    pub(crate) fn open(bucket: Bucket, known: Option<u64>) -> io::Result<Object> {
        let bytes = match known {
            Some(bytes) => bytes,
            None => bucket.stat()?.bytes,
        };
        Ok(Object { bucket, bytes })
    }

    pub(crate) fn path(&self) -> &Path {
        self.bucket.path()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ranges of the bytes, in as few requests as makes sense.
    pub(crate) fn ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        self.bucket.ranges(ranges)
    }

    /// `count` bytes from `place` on.
    ///
    /// # Errors
    ///
    /// Also if the object has another size than is known.
    pub(crate) fn read(&self, place: u64, count: u64) -> io::Result<Vec<u8>> {
        let (found, bytes) = self.bucket.range(place..place + count)?;
        if found != self.bytes || bytes.len() as u64 != count {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the object has {found} bytes, expected {}", self.bytes),
            ));
        }
        Ok(bytes)
    }
}
