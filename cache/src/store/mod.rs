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
mod files;
mod location;
// Without stores, nothing has a version.
#[cfg_attr(not(feature = "object-store"), allow(dead_code))]
mod object;
mod reading;
#[cfg(feature = "object-store")]
mod refusal;
mod spool;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::files::write_whole;

pub(crate) use self::bucket::Bucket;
pub(crate) use self::files::Files;
pub(crate) use self::location::Location;
pub(crate) use self::object::{Found, Listing, Object, Over, Version};
pub(crate) use self::reading::Reading;
pub(crate) use self::spool::Spool;

/// Requests to an object store that are made at the same time.
pub(crate) const REQUESTS: usize = 16;

/// Attempts to create a folder.
const ATTEMPTS: usize = 100;

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

/// Writes a file completely or not at all; it may be there already.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match Bucket::of(path)? {
        Some(bucket) => bucket.put(bytes.to_vec(), Over::Anything).map(drop),
        None => write_whole(path, bytes),
    }
}

/// Uploads a file as a new object, as [`Bucket::upload`]. An object of the same content is no error.
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] if there is an object of another content.
pub(crate) fn upload(file: &Path, to: &Path, mark: &str) -> io::Result<()> {
    let bucket = Bucket::of(to)?.ok_or(io::ErrorKind::InvalidInput)?;
    match bucket.upload(file, mark) {
        // A request whose answer was lost, and that was made again, finds its own object.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_same = bucket.read()?.0 == fs::read(file)?;
            if is_same { Ok(()) } else { Err(error) }
        }
        result => result,
    }
}

/// Deletes files that lie in one folder of caches. Those that are not there are no error.
pub(crate) fn delete(paths: &[PathBuf]) -> io::Result<()> {
    let Some(first) = paths.first() else {
        return Ok(());
    };
    if let Some(bucket) = Bucket::of(first)? {
        return bucket.delete(paths);
    }
    paths
        .iter()
        .try_for_each(|path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
}

/// Deletes all objects below a folder of a bucket.
pub(crate) fn delete_all(dir: &Path) -> io::Result<()> {
    delete(&below(dir)?)
}

/// All files below a folder, sorted; none if there is no such folder. Links are not followed.
pub(crate) fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(Files::below(dir)?.into_paths())
}

/// Creates a folder and those around it, while other processes may remove the empty ones among them.
pub(crate) fn create_folder(dir: &Path) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        match fs::create_dir_all(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            created => return created,
        }
    }
    fs::create_dir_all(dir)
}

/// Removes the folders in `dir` that have no files in them, and `dir` itself if it has none. Links are not followed.
pub(crate) fn remove_empty(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    // Those with files in them stay.
    let _ = fs::remove_dir(dir);
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
