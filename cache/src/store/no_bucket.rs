//! Object stores in a build without them: every path in one is an error.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::{Location, Stat};

/// A place in a bucket, of which there are none.
#[derive(Debug)]
pub(crate) struct Bucket(Infallible);

/// An object, of which there are none.
#[derive(Debug)]
pub(crate) struct Object(Infallible);

/// Version of an object, of which there are none.
#[derive(Clone, Debug)]
pub(crate) struct Version(Infallible);

/// Condition of a put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// The object is created or replaced.
    Anything,
    /// The object must not exist.
    Nothing,
    /// The object must have this version.
    #[allow(dead_code)]
    Version(&'a Version),
}

/// What a folder holds.
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
    pub(crate) tag: String,
    pub(crate) modified: SystemTime,
}

impl Bucket {
    pub(crate) fn of(path: &Path) -> io::Result<Option<Bucket>> {
        match Location::of(path) {
            None => Ok(None),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this program was built without object stores (feature `object-store`)",
            )),
        }
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        match self.0 {}
    }

    pub(crate) fn read(&self) -> io::Result<(Vec<u8>, Version)> {
        match self.0 {}
    }

    pub(crate) fn list(&self) -> io::Result<Listing> {
        match self.0 {}
    }

    pub(crate) fn all(&self) -> io::Result<Vec<Found>> {
        match self.0 {}
    }

    pub(crate) fn open(self, _known: Option<u64>) -> io::Result<Object> {
        match self.0 {}
    }

    pub(crate) fn put(&self, _bytes: impl Into<Bytes>, _over: Over<'_>) -> io::Result<Version> {
        match self.0 {}
    }

    pub(crate) fn upload(&self, _file: &Path, _mark: &str) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn delete(&self, _paths: &[PathBuf]) -> io::Result<()> {
        match self.0 {}
    }
}

impl Object {
    pub(crate) fn bytes(&self) -> u64 {
        match self.0 {}
    }

    pub(crate) fn read(&self, _place: u64, _count: u64) -> io::Result<Vec<u8>> {
        match self.0 {}
    }
}
