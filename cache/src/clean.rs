//! Deleting caches, and files in them that belong to no finished shard.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use common::files::target_of;

use crate::error::io_error;
use crate::folder::{EXTENSION, LABELS, pending, shard_file};
use crate::parts::lock_parts;
use crate::schema::Table;
use crate::{CacheLock, CacheMeta, Error, Tokens, is_cache, is_in_bucket, labels, sources, store};

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
        let failed = |error| io_error(&self.dir, "delete")(error);
        store::delete(&[self.dir.join("meta.json")]).map_err(failed)?;
        if is_in_bucket(&self.dir) {
            store::delete_all(&self.dir).map_err(failed)
        } else {
            fs::remove_dir_all(&self.dir).map_err(failed)
        }
    }
}

/// Files that a stopped writer left, and those of an extension that is finished, with their sizes in bytes,
/// sorted.
fn unnamed(dir: &Path, meta: &CacheMeta) -> Result<Vec<(PathBuf, u64)>, Error> {
    let sets = labels::names(dir)?;
    let all = store::below(dir).map_err(io_error(dir, "list"))?;
    let left = all
        .into_iter()
        .filter(|path| is_left(dir, path, meta, &sets));
    left.map(|path| {
        let bytes = store::size(&path).map_err(io_error(&path, "read"))?;
        Ok((path, bytes))
    })
    .collect()
}

/// True if the file `path` of the cache `dir` belongs to no finished shard, to none of the label sets `sets`, and
/// to no extension that goes on. Files of other names belong to somebody.
pub(crate) fn is_left(dir: &Path, path: &Path, meta: &CacheMeta, sets: &[String]) -> bool {
    let Some(names) = path.strip_prefix(dir).ok().and_then(|name| {
        let names = name.iter().map(OsStr::to_str);
        names.collect::<Option<Vec<&str>>>()
    }) else {
        return false;
    };
    match &names[..] {
        [EXTENSION, ..] => meta.tokens == Tokens::All,
        ["pending", rest @ ..] => is_left_of_tables(rest, meta.pending.len()),
        ["repair", rest @ ..] => is_left_of_tables(rest, 0),
        [LABELS, set, "labels.json"] => labels::is_new(set),
        [LABELS, set, _, file] | ["checksums", LABELS, set, _, file] => {
            !sets.iter().any(|finished| finished == set) && is_unnamed(Path::new(file), 0)
        }
        rest => is_orphan(dir, rest, meta),
    }
}

/// Files of the finished cache `dir` that no shard has, and checksums of label sets that are not there.
pub(crate) fn orphans(dir: &Path, meta: &CacheMeta) -> Result<Vec<PathBuf>, Error> {
    let sets = labels::names(dir)?;
    let mut files = store::below(dir).map_err(io_error(dir, "list"))?;
    files.retain(|path| {
        let first = path.strip_prefix(dir).unwrap_or(path).iter().next();
        let first = first.and_then(OsStr::to_str).unwrap_or_default();
        // These may belong to a process that is at work.
        let is_other = [EXTENSION, "pending", "repair", LABELS].contains(&first);
        let is_new = path
            .iter()
            .any(|name| name.to_str().is_some_and(labels::is_new));
        !is_other && !is_new && is_left(dir, path, meta, &sets)
    });
    Ok(files)
}

/// True if a file in a folder of a cache is named like those of shards, but no shard has it. While patch tokens are
/// added, their tables may be there already.
fn is_orphan(dir: &Path, names: &[&str], meta: &CacheMeta) -> bool {
    if is_left_of_tables(names, meta.shards.len()) {
        return true;
    }
    let (table, file, is_sum) = match names {
        [table, file] => (*table, *file, false),
        ["checksums", table, file] => (*table, *file, true),
        _ => return false,
    };
    let index = file
        .split('.')
        .next()
        .and_then(|stem| stem.parse::<usize>().ok());
    let Some((index, shard)) = index.and_then(|index| Some((index, meta.shards.get(index)?)))
    else {
        return false;
    };
    let name = shard_file(index);
    let expected = if is_sum {
        name.replace(".parquet", ".crc32")
    } else {
        name
    };
    if file != expected {
        return false;
    }
    if table == sources::FOLDER {
        return shard.sources_sha256.is_none();
    }
    if Table::ALL.iter().all(|of| of.name() != table) {
        return false;
    }
    match shard.tables.get(table) {
        Some(of) => is_sum && !of.has_checksums,
        None => !store::is_file(&dir.join(EXTENSION).join("meta.json")),
    }
}

/// The same of a file in the folders of tables with `shards` shards.
fn is_left_of_tables(names: &[&str], shards: usize) -> bool {
    let ([table, file] | ["checksums", table, file]) = names else {
        return false;
    };
    let is_table = Table::ALL.iter().any(|of| of.name() == *table) || *table == sources::FOLDER;
    is_table && is_unnamed(Path::new(file), shards)
}

/// Deletes the files of [`unnamed`], and returns them. If no rows are pending, their folders go too.
pub(crate) fn delete_unnamed(dir: &Path, meta: &CacheMeta) -> Result<Vec<(PathBuf, u64)>, Error> {
    let found = unnamed(dir, meta)?;
    delete(dir, found.iter().map(|(path, _)| path.clone()).collect())?;
    if is_in_bucket(dir) {
        return Ok(found);
    }
    if meta.pending.is_empty() {
        delete_pending(dir)?;
    }
    let extension = dir.join(EXTENSION);
    if meta.tokens == Tokens::All && extension.is_dir() {
        fs::remove_dir_all(&extension).map_err(io_error(&extension, "delete"))?;
    }
    Ok(found)
}

/// Deletes the files of pending rows and their folders in the folder of a cache.
pub(crate) fn delete_pending(dir: &Path) -> Result<(), Error> {
    let pending = pending(dir);
    let mut found = store::below(&pending).map_err(io_error(&pending, "list"))?;
    found.retain(|path| {
        let name = path.strip_prefix(&pending).unwrap_or(path);
        let names: Option<Vec<&str>> = name.iter().map(OsStr::to_str).collect();
        names.is_some_and(|names| is_left_of_tables(&names, 0))
    });
    delete(&pending, found)?;
    let sums = pending.join("checksums");
    let tables = Table::ALL
        .into_iter()
        .map(Table::name)
        .chain([sources::FOLDER]);
    let folders: Vec<_> = tables
        .flat_map(|table| [pending.join(table), sums.join(table)])
        .collect();
    for folder in folders.iter().chain([&sums, &pending]) {
        // Those with other files in them stay.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

fn delete(dir: &Path, files: Vec<PathBuf>) -> Result<(), Error> {
    store::delete(&files).map_err(io_error(dir, "delete files in"))
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
