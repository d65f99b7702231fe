//! Buckets in a build without object stores: every path in one is an error.

use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Found, Listing, Location, Over, Stat, Version};

/// A place in a bucket, of which there are none.
#[derive(Clone, Debug)]
pub(crate) struct Bucket(Infallible);

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

    pub(crate) fn path(&self) -> &Path {
        match self.0 {}
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        match self.0 {}
    }

    pub(crate) fn read(&self) -> io::Result<(Vec<u8>, Version)> {
        match self.0 {}
    }

    pub(crate) fn range(&self, _: Range<u64>) -> io::Result<(u64, Vec<u8>)> {
        match self.0 {}
    }

    pub(crate) fn ranges(&self, _: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        match self.0 {}
    }

    pub(crate) fn list(&self) -> io::Result<Listing> {
        match self.0 {}
    }

    pub(crate) fn all(&self) -> io::Result<Vec<Found>> {
        match self.0 {}
    }

    pub(crate) fn put(&self, _: impl Into<Bytes>, _: Over<'_>) -> io::Result<Version> {
        match self.0 {}
    }

    pub(crate) fn upload(&self, _: &Path, _: &str) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn delete(&self, _: &[PathBuf]) -> io::Result<()> {
        match self.0 {}
    }
}
