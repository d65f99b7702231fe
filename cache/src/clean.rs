//! Deleting caches, and files in them that no description names.

mod inventory;

use std::fs;
use std::path::{Path, PathBuf};

use common::files::target_of;

pub(crate) use self::inventory::Inventory;
use crate::error::io_error;
use crate::folder::{CHECKSUMS, EXTENSION, LABELS, REPAIR, SOURCES, SPLITS, pending};
use crate::parts::lock_parts;
use crate::schema::Table;
use crate::{CacheLock, CacheMeta, Error, Holder, Parts, is_cache, is_in_bucket, store};

/// A cache that this process has locked, so that no writer lives.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    left_by: Option<Holder>,
    /// Those of the cache and of its parts.
    _locks: Vec<CacheLock>,
}

/// Files of a cache, and of its parts, that no description names.
#[derive(Debug)]
pub struct Leftovers {
    /// The files with their sizes in bytes, sorted.
    pub files: Vec<(PathBuf, u64)>,
    /// Whether there are parts although the cache is finished.
    pub has_parts: bool,
}

impl Locked {
    /// Locks the cache in `dir` and its parts.
    ///
    /// # Errors
    ///
    /// [`Error::NoCache`] if `dir` is none, also if another process deletes it now, and [`Error::Locked`] if another
    /// process writes to it.
    pub fn of(dir: &Path) -> Result<Locked, Error> {
        let check = || {
            let error = || Error::NoCache { path: dir.into() };
            is_cache(dir).then_some(()).ok_or_else(error)
        };
        check()?;
        let left_by = CacheLock::holder(dir);
        let mut locks = vec![CacheLock::to_delete(dir)?];
        check()?;
        locks.extend(lock_parts(dir)?);
        Ok(Locked {
            dir: dir.into(),
            left_by,
            _locks: locks,
        })
    }

    /// The process that `.lock` named although it has ended; its name is there no longer when this is dropped.
    pub fn left_by(&self) -> Option<&Holder> {
        self.left_by.as_ref()
    }

    /// Files that stopped writers left and no description names, of the cache and of its parts. Files of other names
    /// are somebody's, and are not listed. Nothing is deleted.
    ///
    /// # Errors
    ///
    /// Errors of [`CacheMeta::read`] and [`Parts::of`], and [`Error::Io`] if a folder cannot be listed.
    pub fn leftovers(&self) -> Result<Leftovers, Error> {
        let parts = Parts::of(&self.dir)?;
        let (mut files, is_finished) = match CacheMeta::read(&self.dir) {
            Ok(meta) => (Inventory::of(&self.dir)?.unnamed(&meta), meta.complete),
            Err(Error::Parts { .. }) if parts.is_some() => (Vec::new(), false),
            Err(error) => return Err(error),
        };
        for (dir, meta) in parts.iter().flat_map(Parts::begun) {
            files.extend(Inventory::of(&dir)?.unnamed(meta));
        }
        Ok(Leftovers {
            files,
            has_parts: is_finished && parts.is_some(),
        })
    }

    /// Deletes these files, and the folders that are empty then.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be deleted.
    pub fn delete_files(&self, of: &Leftovers) -> Result<(), Error> {
        delete(
            &self.dir,
            of.files.iter().map(|(path, _)| path.clone()).collect(),
        )?;
        remove_empty(&self.dir);
        if let Some(parts) = Parts::of(&self.dir)? {
            parts.begun().for_each(|(dir, _)| remove_empty(&dir));
        }
        Ok(())
    }

    /// Deletes the cache and all that lies in its folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be deleted; `meta.json` goes first, so that what is left is no cache.
    pub fn delete(self) -> Result<(), Error> {
        let failed = |error| io_error(&self.dir, "delete")(error);
        store::delete(&[self.dir.join("meta.json")]).map_err(failed)?;
        if is_in_bucket(&self.dir) {
            let mut files = store::below(&self.dir).map_err(failed)?;
            // The lock is held until all else is gone.
            files.retain(|path| *path != self.dir.join(".lock"));
            store::delete(&files).map_err(failed)
        } else {
            fs::remove_dir_all(&self.dir).map_err(failed)
        }
    }
}

/// Deletes files that no description of the cache names, and empty folders.
pub(crate) fn delete_unnamed(dir: &Path, meta: &CacheMeta) -> Result<(), Error> {
    let found = Inventory::of(dir)?.unnamed(meta);
    delete(dir, found.into_iter().map(|(path, _)| path).collect())?;
    remove_empty(dir);
    Ok(())
}

/// Removes the empty folders of a cache, which its writers make again. A bucket has none.
fn remove_empty(dir: &Path) {
    if !is_in_bucket(dir) {
        let folders = [LABELS, SPLITS, CHECKSUMS, EXTENSION, REPAIR, SOURCES];
        let tables = Table::ALL.iter().map(|table| table.name());
        tables
            .chain(folders)
            .for_each(|name| store::remove_empty(&dir.join(name)));
        store::remove_empty(&pending(dir));
    }
}

/// Deletes the files of pending rows and their folders in the folder of a cache.
pub(crate) fn delete_pending(dir: &Path) -> Result<(), Error> {
    let pending = pending(dir);
    let mut found = store::below(&pending).map_err(io_error(&pending, "list"))?;
    found.retain(|path| {
        let names = inventory::names(&pending, path);
        names.is_some_and(|names| inventory::is_left_of_tables(&names, 0))
    });
    delete(&pending, found)?;
    // Folders with other files in them stay.
    store::remove_empty(&pending);
    Ok(())
}

/// Deletes files; descriptions of label sets go last, since they tell that the tables are those of an unfinished set.
fn delete(dir: &Path, files: Vec<PathBuf>) -> Result<(), Error> {
    let is_description = |path: &PathBuf| path.ends_with("labels.json");
    let (descriptions, tables): (Vec<_>, Vec<_>) = files.into_iter().partition(is_description);
    [tables, descriptions]
        .iter()
        .try_for_each(|files| store::delete(files).map_err(io_error(dir, "delete files in")))
}

/// True for a file with a shard's name if the cache has no such shard, and for the unfinished file of a writer
/// that was killed.
pub(crate) fn is_unnamed(path: &Path, shards: usize) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = target_of(&name);
    let (shard, end) = unfinished
        .unwrap_or(&name)
        .split_once('.')
        .unwrap_or_default();
    let is_file = ["parquet", "crc32"].contains(&end) || end.ends_with(".part");
    let Some(index) = shard.parse::<usize>().ok().filter(|_| is_file) else {
        return false;
    };
    unfinished.is_some() || name.ends_with(".part") || index >= shards
}
