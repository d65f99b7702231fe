//! The local folder in which a cache of a bucket grows.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use common::files::open_regular;
use common::text::shown;

use crate::error::io_error;
use crate::links::refuse_links;
use crate::store::Location;
use crate::{CacheMeta, Error, download, history, is_in_bucket, store};

/// Name of the file that is locked.
const LOCK: &str = ".upload";

/// The local folder of a cache in a bucket, locked by the system. Dropping it deletes the folder if it has no slices,
/// and the empty folders around it.
#[derive(Debug)]
pub(crate) struct LocalFolder {
    /// The cache in the bucket.
    to: PathBuf,
    /// The folder.
    from: PathBuf,
    _locked: File,
}

impl LocalFolder {
    /// Creates and locks the folder `from` of the cache `to`.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process uses it, [`Error::Link`] and [`Error::Io`].
    pub(crate) fn lock(to: &Path, from: &Path) -> Result<LocalFolder, Error> {
        if is_in_bucket(from) {
            let text = "a folder of the local file system is needed";
            let error = io::Error::new(io::ErrorKind::InvalidInput, text);
            return Err(io_error(from, "write shards to")(error));
        }
        refuse_links(from)?;
        store::create_folder(from).map_err(io_error(from, "create the folder"))?;
        let path = from.join(LOCK);
        let options = &mut File::options();
        let file = open_regular(&path, options.write(true).create(true).truncate(true));
        let file = file.map_err(io_error(&path, "create"))?;
        match file.try_lock() {
            Ok(()) => Ok(LocalFolder {
                to: to.into(),
                from: from.into(),
                _locked: file,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked {
                path: from.into(),
                holder: None,
            }),
            Err(TryLockError::Error(error)) => Err(io_error(&path, "lock")(error)),
        }
    }
}

impl Drop for LocalFolder {
    fn drop(&mut self) {
        remove_without_slices(&self.to, &self.from);
    }
}

/// Deletes the local folder of a cache if there is nothing in it that a run would continue with, and the folders around
/// it that are empty then.
pub(crate) fn remove_without_slices(to: &Path, from: &Path) {
    let has_slices = match CacheMeta::read(from) {
        Ok(meta) => !meta.is_blank(),
        Err(error) => !matches!(error, Error::NoCache { .. }),
    };
    let own = [LOCK, ".lock", "meta.json", history::FILE, download::LIST];
    let own = own.map(|name| from.join(name));
    let has_others =
        store::below(from).map_or(true, |files| files.iter().any(|path| !own.contains(path)));
    if has_slices || has_others {
        return;
    }
    for file in own {
        let _ = fs::remove_file(file);
    }
    store::remove_empty(from);
    let depth = Location::of(to).map_or(0, |of| of.relative().iter().count());
    // Those with other files in them stay.
    let mut around = from.ancestors().take(depth).skip(1);
    around.all(|folder| fs::remove_dir(folder).is_ok());
}

/// Files of a cache, relative to its folder, without `meta.json`, what is hidden, not whole or pending.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = dir.join(&folder);
        for entry in fs::read_dir(&path).map_err(io_error(&path, "list"))? {
            let entry = entry.map_err(io_error(&path, "list"))?;
            let name = folder.join(entry.file_name());
            let text = shown(&name).to_string();
            let is_left_out = entry.file_name().to_string_lossy().starts_with('.')
                || text.ends_with(".part")
                || ["meta.json", "pending", "parts"].contains(&&*text);
            if is_left_out {
                continue;
            }
            if dir.join(&name).is_dir() {
                folders.push(name);
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local_path;

    #[test]
    fn a_folder_without_slices_is_deleted_with_those_around_it_and_files_of_others_stay() {
        let staging = tempfile::tempdir().unwrap();
        let to = Path::new("s3://bucket/embeddings/a/b@56");
        let from = local_path(to, staging.path());
        let lock = || LocalFolder::lock(to, &from);
        let count = || fs::read_dir(staging.path()).unwrap().count();
        let held = lock().unwrap();
        assert!(matches!(lock(), Err(Error::Locked { .. })));
        fs::create_dir(from.join("slices")).unwrap();
        drop(held);
        assert_eq!(count(), 0);
        let notes = from.join("slices/notes.txt");
        let held = lock().unwrap();
        fs::create_dir(from.join("slices")).unwrap();
        fs::write(&notes, "mine").unwrap();
        drop(held);
        assert!(notes.exists());
        fs::write(from.join("meta.json"), "damaged").unwrap();
        fs::remove_file(notes).unwrap();
        drop(lock().unwrap());
        assert!(from.join("meta.json").exists());
        let beside = from.with_file_name("b@224");
        fs::create_dir(&beside).unwrap();
        fs::remove_file(from.join("meta.json")).unwrap();
        drop(lock().unwrap());
        assert!(beside.exists() && !from.exists());
    }
}
