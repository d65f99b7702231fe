//! Changes to a finished cache in a bucket: they are made in a local copy of what they need, and copied back.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::sha256_file;

use crate::clean::delete_unnamed;
use crate::download::download_some;
use crate::error::io_error;
use crate::folder::{PARTS, checksums_of, shard_file};
use crate::mirror::{LocalFolder, mark};
use crate::schema::Table;
use crate::store::{Bucket, Over, REQUESTS, Version};
use crate::{CacheLock, CacheMeta, Error, history, local_path, parallel, sources, store};

/// A finished cache in a bucket, which is locked, and a local folder with files of it.
#[derive(Debug)]
pub struct Staged {
    /// The cache in the bucket.
    to: PathBuf,
    /// The local folder.
    from: PathBuf,
    meta: CacheMeta,
    version: Version,
    /// SHA-256 of local files that may be repaired, by their names.
    before: HashMap<PathBuf, String>,
    /// The folder is locked too.
    _folder: LocalFolder,
    lock: CacheLock,
}

impl Staged {
    /// Copies what the repair of `shards` needs: the rows and records of all shards, and all files of these.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Locked`] if another process uses the local folder, and those of [`CacheMeta::read`].
    pub fn to_repair(lock: CacheLock, staging: &Path, shards: &[usize]) -> Result<Staged, Error> {
        let mut staged = Staged::begin(lock, staging)?;
        let damaged: Vec<String> = shards.iter().map(|shard| format!("{shard:05}")).collect();
        download_some(&staged.to, &staged.from, |name| {
            let table = name.strip_prefix("checksums/").unwrap_or(name);
            let (table, file) = table.split_once('/').unwrap_or(("", table));
            let of_damaged = || {
                damaged
                    .iter()
                    .any(|shard| file.split('.').next() == Some(shard))
            };
            match table {
                "" => true,
                _ if table == Table::Slices.name() || table == sources::FOLDER => true,
                _ => Table::ALL.iter().any(|of| of.name() == table) && of_damaged(),
            }
        })?;
        for name in staged.names_of(shards) {
            if let Ok(sha256) = sha256_file(&staged.from.join(&name)) {
                staged.before.insert(name, sha256);
            }
        }
        Ok(staged)
    }

    /// Copies a cache to which patch tokens are to be added. If an earlier run has added them to the local copy, and was
    /// stopped before all was in the bucket, the copy stays.
    ///
    /// # Errors
    ///
    /// As [`to_repair`](Staged::to_repair).
    pub fn to_extend(lock: CacheLock, staging: &Path) -> Result<Staged, Error> {
        let staged = Staged::begin(lock, staging)?;
        let is_done =
            CacheMeta::read(&staged.from).is_ok_and(|local| staged.is_extended_by(&local));
        if !is_done {
            download_some(&staged.to, &staged.from, |name| !name.starts_with(PARTS))?;
        }
        Ok(staged)
    }

    fn begin(lock: CacheLock, staging: &Path) -> Result<Staged, Error> {
        let to = lock.dir().to_path_buf();
        let from = local_path(&to, staging);
        let path = to.join("meta.json");
        let (text, version) = bucket(&path)?.read().map_err(io_error(&path, "read"))?;
        Ok(Staged {
            meta: CacheMeta::parse(&to, &text)?,
            version,
            before: HashMap::new(),
            _folder: LocalFolder::lock(&to, &from)?,
            to,
            from,
            lock,
        })
    }

    /// The local folder.
    pub fn dir(&self) -> &Path {
        &self.from
    }

    /// The description of the cache in the bucket.
    pub fn meta(&self) -> &CacheMeta {
        &self.meta
    }

    /// Replaces the files of `shards` that were repaired in the local folder, and deletes it.
    ///
    /// # Errors
    ///
    /// [`Error::LockLost`] and [`Error::Io`]. A file that is missing then is one that was damaged.
    pub fn replace(self, shards: &[usize]) -> Result<(), Error> {
        self.lock.check()?;
        let mut names = self.names_of(shards);
        names.retain(|name| {
            let sha256 = sha256_file(&self.from.join(name)).ok();
            sha256.is_some() && sha256.as_ref() != self.before.get(name)
        });
        let damaged: Vec<_> = names.iter().map(|name| self.to.join(name)).collect();
        store::delete(&damaged).map_err(io_error(&self.to, "delete objects below"))?;
        self.upload(&names)?;
        self.finish()
    }

    /// Uploads the tables that were added in the local folder, replaces `meta.json` if it is as it was, and deletes the
    /// folder.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if the local cache is not this one with more tables, [`Error::Raced`] if another process has
    /// written the cache, [`Error::LockLost`] and [`Error::Io`]. The cache in the bucket is as it was then.
    pub fn add_tables(self) -> Result<(), Error> {
        let local = CacheMeta::read(&self.from)?;
        if !self.is_extended_by(&local) {
            return Err(Error::Mismatch {
                path: self.from.clone(),
                field: "shards".to_owned(),
                found: "others than in the bucket".to_owned(),
                expected: "the same".to_owned(),
            });
        }
        // Objects of these names are what an upload left that was stopped.
        delete_unnamed(&self.to, &self.meta)?;
        let there = Table::of(&self.meta);
        let tables = Table::of(&local)
            .into_iter()
            .filter(|table| !there.contains(table));
        let names = tables.flat_map(|table| {
            (0..local.shards.len()).flat_map(move |shard| files_of(table.name(), shard))
        });
        self.upload(&names.collect::<Vec<_>>())?;
        self.lock.check()?;
        self.put_meta(&CacheMeta::read_text(&self.from)?)?;
        self.finish()
    }

    /// Whether a finished cache has the files of this one, and more.
    fn is_extended_by(&self, local: &CacheMeta) -> bool {
        let mut shards = self.meta.shards.iter().zip(&local.shards);
        local.complete
            && self.meta.shards.len() == local.shards.len()
            && local.tokens != self.meta.tokens
            && shards.all(|(old, new)| {
                let is_there = |(table, file)| new.tables.get(table) == Some(file);
                old.rows == new.rows && old.tables.iter().all(is_there)
            })
    }

    /// Names of the files of shards, and of their checksums.
    fn names_of(&self, shards: &[usize]) -> Vec<PathBuf> {
        let names = shards.iter().flat_map(|&shard| {
            let of = self.meta.shards.get(shard);
            let tables = of
                .into_iter()
                .flat_map(|of| of.tables.keys().map(String::as_str));
            tables
                .chain([sources::FOLDER])
                .flat_map(move |table| files_of(table, shard))
        });
        names.collect()
    }

    fn upload(&self, names: &[PathBuf]) -> Result<(), Error> {
        let mark = mark();
        let uploaded = parallel::map(REQUESTS, names.len(), |index| {
            let (file, to) = (self.from.join(&names[index]), self.to.join(&names[index]));
            store::upload(&file, &to, &mark).map_err(io_error(&to, "write"))
        });
        uploaded.map(drop)
    }

    fn put_meta(&self, text: &[u8]) -> Result<(), Error> {
        let path = self.to.join("meta.json");
        let bucket = bucket(&path)?;
        match bucket.put(text.to_vec(), Over::Version(&self.version)) {
            Ok(_) => Ok(()),
            // The answer to an earlier attempt may have been lost.
            Err(_) if bucket.read().is_ok_and(|(found, _)| found == text) => Ok(()),
            Err(error)
                if [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound]
                    .contains(&error.kind()) =>
            {
                let path = self.to.clone();
                Err(Error::Raced { path })
            }
            Err(error) => Err(io_error(&path, "replace")(error)),
        }
    }

    /// Copies the history, and deletes the local folder.
    fn finish(self) -> Result<(), Error> {
        let (file, to) = (self.from.join(history::FILE), self.to.join(history::FILE));
        if file.is_file() {
            let text = fs::read(&file).map_err(io_error(&file, "read"))?;
            store::write(&to, &text).map_err(io_error(&to, "write"))?;
        }
        fs::remove_dir_all(&self.from).map_err(io_error(&self.from, "delete"))
    }
}

/// The names of a table's file in a shard and of its checksums.
fn files_of(table: &str, shard: usize) -> [PathBuf; 2] {
    let file = shard_file(shard);
    [
        Path::new(table).join(&file),
        checksums_of(Path::new(""), table, &file),
    ]
}

fn bucket(path: &Path) -> Result<Bucket, Error> {
    let bucket = Bucket::of(path).map_err(io_error(path, "open"))?;
    bucket.ok_or_else(|| io_error(path, "open")(io::ErrorKind::InvalidInput.into()))
}
