//! Deleting caches, and files in them that belong to no finished shard.

use std::fs;
use std::path::{Path, PathBuf};

use common::files::target_of;

use crate::error::io_error;
use crate::folder::{EXTENSION, pending, repair};
use crate::parts::lock_parts;
use crate::schema::Table;
use crate::{CacheLock, CacheMeta, Error, Tokens, is_cache, labels, sources};

/// A cache that this process has locked, so that no writer lives.
#[derive(Debug)]
pub struct Locked {
    dir: PathBuf,
    /// Those of the cache and of its parts.
    _locks: Vec<CacheLock>,
}

impl Locked {
    /// Locks the cache in `dir` and its parts.
    ///
    /// # Errors
    ///
    /// [`Error::NoCache`] if `dir` is none, and [`Error::Locked`] if another process writes to it.
    pub fn of(dir: &Path) -> Result<Locked, Error> {
        if !is_cache(dir) {
            return Err(Error::NoCache { path: dir.into() });
        }
        let mut locks = vec![CacheLock::to_delete(dir)?];
        locks.extend(lock_parts(dir)?);
        Ok(Locked {
            dir: dir.into(),
            _locks: locks,
        })
    }

    /// Files that a stopped writer left and `meta.json` does not name, with their sizes in bytes; files
    /// of other names are not listed.
    ///
    /// # Errors
    ///
    /// Errors of [`CacheMeta::read`], and [`Error::Io`] if a folder cannot be listed.
    pub fn unnamed(&self) -> Result<Vec<(PathBuf, u64)>, Error> {
        unnamed(&self.dir, &CacheMeta::read(&self.dir)?)
    }

    /// Deletes the files of [`Locked::unnamed`], and returns them.
    ///
    /// # Errors
    ///
    /// Those of [`Locked::unnamed`], and [`Error::Io`] if a file cannot be deleted.
    pub fn delete_unnamed(&self) -> Result<Vec<(PathBuf, u64)>, Error> {
        delete_unnamed(&self.dir, &CacheMeta::read(&self.dir)?)
    }

    /// Deletes the cache and all that lies in its folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be deleted; `meta.json` goes first, so that what is left is no cache.
    pub fn delete(self) -> Result<(), Error> {
        let meta = self.dir.join("meta.json");
        if meta.is_file() {
            fs::remove_file(&meta).map_err(io_error(&meta, "delete"))?;
        }
        fs::remove_dir_all(&self.dir).map_err(io_error(&self.dir, "delete"))
    }
}

/// Files in the tables' folders that a stopped writer left, and those of an extension that is finished, with
/// their sizes in bytes, sorted.
fn unnamed(dir: &Path, meta: &CacheMeta) -> Result<Vec<(PathBuf, u64)>, Error> {
    let mut found = Vec::new();
    collect_tables(dir, meta, meta.shards.len(), &mut found)?;
    collect_tables(&pending(dir), meta, meta.pending.len(), &mut found)?;
    collect_tables(&repair(dir), meta, 0, &mut found)?;
    for folder in labels::unfinished(dir) {
        collect(&dir.join(&folder), 0, &mut found)?;
        collect(&dir.join("checksums").join(&folder), 0, &mut found)?;
    }
    for file in labels::abandoned(dir) {
        let bytes = fs::metadata(&file).map_err(io_error(&file, "read"))?.len();
        found.push((file, bytes));
    }
    if meta.tokens == Tokens::All {
        collect_all(&dir.join(EXTENSION), &mut found)?;
    }
    found.sort();
    Ok(found)
}

/// All files below a folder, if it is there.
fn collect_all(folder: &Path, found: &mut Vec<(PathBuf, u64)>) -> Result<(), Error> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(io_error(folder, "list"))? {
        let entry = entry.map_err(io_error(folder, "list"))?;
        let (path, facts) = (entry.path(), entry.metadata());
        let facts = facts.map_err(io_error(&path, "read"))?;
        if facts.is_dir() {
            collect_all(&path, found)?;
        } else {
            found.push((path, facts.len()));
        }
    }
    Ok(())
}

/// Deletes the files of [`unnamed`], and returns them. If no rows are pending, their folders go too.
pub(crate) fn delete_unnamed(dir: &Path, meta: &CacheMeta) -> Result<Vec<(PathBuf, u64)>, Error> {
    let found = unnamed(dir, meta)?;
    delete(&found)?;
    if meta.pending.is_empty() {
        delete_pending(dir, meta)?;
    }
    let extension = dir.join(EXTENSION);
    if meta.tokens == Tokens::All && extension.is_dir() {
        fs::remove_dir_all(&extension).map_err(io_error(&extension, "delete"))?;
    }
    Ok(found)
}

/// Deletes the files of pending rows and their folders.
pub(crate) fn delete_pending(dir: &Path, meta: &CacheMeta) -> Result<(), Error> {
    let pending = pending(dir);
    if !pending.is_dir() {
        return Ok(());
    }
    let mut found = Vec::new();
    collect_tables(&pending, meta, 0, &mut found)?;
    delete(&found)?;
    let sums = pending.join("checksums");
    let tables = Table::ALL
        .into_iter()
        .map(Table::name)
        .chain([sources::FOLDER]);
    let folders: Vec<_> = tables
        .flat_map(|table| [pending.join(table), sums.join(table)])
        .collect();
    for folder in folders.iter().chain([&sums, &pending]) {
        // One that is not empty holds files of the user's own.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

fn delete(files: &[(PathBuf, u64)]) -> Result<(), Error> {
    for (path, _) in files {
        fs::remove_file(path).map_err(io_error(path, "delete"))?;
    }
    Ok(())
}

/// Adds the unnamed files of a folder of tables that has `shards` shards.
fn collect_tables(
    dir: &Path,
    meta: &CacheMeta,
    shards: usize,
    found: &mut Vec<(PathBuf, u64)>,
) -> Result<(), Error> {
    let tables = Table::of(meta).into_iter().map(Table::name);
    for folder in tables.chain([sources::FOLDER]) {
        let sums = dir.join("checksums").join(folder);
        collect(&dir.join(folder), shards, found)?;
        collect(&sums, shards, found)?;
    }
    Ok(())
}

fn collect(folder: &Path, shards: usize, found: &mut Vec<(PathBuf, u64)>) -> Result<(), Error> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(io_error(folder, "list"))? {
        let path = entry.map_err(io_error(folder, "list"))?.path();
        if is_unnamed(&path, shards) {
            let facts = fs::symlink_metadata(&path).map_err(io_error(&path, "read"))?;
            found.push((path, facts.len()));
        }
    }
    Ok(())
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
