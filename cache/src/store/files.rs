//! All files of a cache.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Bucket;

/// The files below a folder with their sizes in bytes. Of a bucket, they are listed by one request for a thousand.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<PathBuf, u64>);

impl Files {
    /// Lists a folder, which may not exist. Links are not followed.
    ///
    /// # Errors
    ///
    /// If a folder in it, or the bucket, cannot be listed.
    pub(crate) fn below(dir: &Path) -> io::Result<Files> {
        if let Some(bucket) = Bucket::of(dir)? {
            let objects = bucket.all()?.into_iter();
            return Ok(Files(objects.map(|of| (of.path, of.bytes)).collect()));
        }
        let (mut found, mut folders) = (BTreeMap::new(), vec![dir.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let entry = entry?;
                match entry.metadata() {
                    Ok(of) if of.is_dir() => folders.push(entry.path()),
                    Ok(of) => drop(found.insert(entry.path(), of.len())),
                    // It was deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Files(found))
    }

    /// Size of a file; `None` if there is none of this path.
    pub(crate) fn bytes(&self, path: &Path) -> Option<u64> {
        self.0.get(path).copied()
    }

    /// Paths and sizes, in the order of the paths.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&PathBuf, u64)> {
        self.0.iter().map(|(path, &bytes)| (path, bytes))
    }

    /// The paths, sorted.
    pub(crate) fn into_paths(self) -> Vec<PathBuf> {
        self.0.into_keys().collect()
    }
}
