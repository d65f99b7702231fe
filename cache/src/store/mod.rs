//! Files of caches, in a folder or in a bucket of an object store.
//!
//! The location of a cache is a path: that of a folder, or `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or
//! `az://CONTAINER/KEY`. The functions here read both. All block; requests to object stores run on the
//! threads of a runtime that this module keeps for itself.

#[cfg(feature = "object-store")]
mod bucket;
#[cfg(not(feature = "object-store"))]
#[path = "no_bucket.rs"]
mod bucket;
#[cfg(feature = "object-store")]
mod client;
mod location;
mod reading;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use self::bucket::{Bucket, Found, Object, Over, Version};
pub(crate) use self::location::Location;
pub(crate) use self::reading::Reading;

/// Requests to an object store that are made at the same time.
pub(crate) const REQUESTS: usize = 16;

/// Size of a file, and time at which it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) bytes: u64,
    pub(crate) modified: Option<SystemTime>,
}

/// Whether a path is one in an object store: `s3://…`, `gs://…` or `az://…`.
pub fn is_in_bucket(path: &Path) -> bool {
    Location::of(path).is_some()
}

/// Number of threads that read files of `dir`: requests to an object store wait for the network.
pub(crate) fn threads(dir: &Path) -> usize {
    if is_in_bucket(dir) { REQUESTS } else { 1 }
}

/// Whether a path is that of a file; `false` also if it cannot be read.
pub(crate) fn is_file(path: &Path) -> bool {
    match Bucket::of(path) {
        Ok(Some(bucket)) => bucket.stat().is_ok(),
        Ok(None) => path.is_file(),
        Err(_) => false,
    }
}

pub(crate) fn stat(path: &Path) -> io::Result<Stat> {
    if let Some(bucket) = Bucket::of(path)? {
        return bucket.stat();
    }
    let file = fs::metadata(path)?;
    Ok(Stat {
        bytes: file.len(),
        modified: file.modified().ok(),
    })
}

/// All bytes of a file.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    match Bucket::of(path)? {
        Some(bucket) => Ok(bucket.read()?.0),
        None => fs::read(path),
    }
}

/// Deletes all objects below a folder of a bucket.
pub(crate) fn delete_all(dir: &Path) -> io::Result<()> {
    let Some(bucket) = Bucket::of(dir)? else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let objects = bucket.all()?.into_iter().map(|object| object.path);
    bucket.delete(&objects.collect::<Vec<_>>())
}

/// The folders in a folder, sorted.
pub(crate) fn folders(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match Bucket::of(dir)? {
        Some(bucket) => Ok(bucket.list()?.folders),
        None => entries(dir, Path::is_dir),
    }
}

/// The files in a folder, sorted; none if there is no such folder.
pub(crate) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match Bucket::of(dir)? {
        Some(bucket) => Ok(bucket.list()?.files),
        None if !dir.is_dir() => Ok(Vec::new()),
        None => entries(dir, Path::is_file),
    }
}

fn entries(dir: &Path, is_wanted: impl Fn(&Path) -> bool) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if is_wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
