//! Shards of a finished cache that are computed again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::files::sync_dir;
use common::hex;
use sha2::{Digest, Sha256};

use super::{CacheWriter, Position};
use crate::checksums::{BLOCK, Summing};
use crate::error::io_error;
use crate::folder::{checksums_of, repair, shard_file};
use crate::schema::Table;
use crate::sources::{self, KnownFiles};
use crate::{CacheLock, CacheMeta, CacheReader, Error, History, Shard};

/// A finished cache of which damaged shards are computed again, below `repair/`. They replace the damaged
/// ones if they have the hashes that `meta.json` says, so that the cache is again as it was.
pub struct Repair {
    dir: PathBuf,
    meta: CacheMeta,
    _lock: CacheLock,
}

impl Repair {
    /// Locks the finished cache `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`], [`Error::Locked`], [`Error::Io`], and those of [`CacheMeta::read`].
    pub fn begin(dir: &Path) -> Result<Repair, Error> {
        let meta = CacheMeta::read(dir)?;
        if !meta.complete {
            return Err(Error::Incomplete {
                path: dir.into(),
                rows: meta.saved_rows(),
            });
        }
        let lock = CacheLock::of(dir)?;
        lock.refuse_bucket()?;
        let begun = Repair {
            dir: dir.into(),
            meta,
            _lock: lock,
        };
        begun.delete_new()?;
        Ok(begun)
    }

    /// The cache's description.
    pub fn meta(&self) -> &CacheMeta {
        &self.meta
    }

    /// Refuses a run that would write another cache.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::OtherSamples`].
    pub fn check_same(&self, run: &CacheMeta) -> Result<(), Error> {
        let run = run.clone().without_plain_shapes();
        self.meta.check_same(&run, &self.dir)
    }

    /// Writes the checksums of a shard again for all files that have their sha256.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if they cannot be written.
    pub fn restore_checksums(&self, shard: usize) -> Result<(), Error> {
        for (table, file) in &self.meta.shards[shard].tables {
            let path = self.dir.join(table).join(shard_file(shard));
            let Ok((sha256, summing)) = summed(&path) else {
                continue;
            };
            if file.has_checksums && sha256 == file.sha256 {
                let sums = checksums_of(&self.dir, table, &shard_file(shard));
                let written = summing.finish().write(&sums);
                written.map_err(io_error(&sums, "write"))?;
            }
        }
        Ok(())
    }

    /// A writer of the shards from number `first` on, which are not in the cache until they
    /// [replace](Repair::replace) the damaged ones.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] and others if the shard before cannot be read, and [`Error::Io`].
    pub fn writer(&self, first: usize) -> Result<CacheWriter, Error> {
        self.delete_new()?;
        let dir = repair(&self.dir);
        let mut meta = CacheMeta {
            complete: false,
            ..self.meta.clone()
        };
        meta.shards.truncate(first);
        meta.rows = meta.shards.iter().map(|shard| u64::from(shard.rows)).sum();
        for table in Table::of(&meta) {
            let folder = dir.join(table.name());
            fs::create_dir_all(&folder).map_err(io_error(&folder, "create the folder"))?;
        }
        let last = first.checked_sub(1);
        let last = last.map(|shard| {
            self.rows(shard)?
                .pop()
                .ok_or_else(|| self.unreadable(shard))
        });
        Ok(CacheWriter {
            known_files: KnownFiles::of(&self.dir, &meta)?,
            before: last.transpose()?,
            lock: CacheLock::of(&dir)?,
            dir,
            meta,
            closing: None,
            open: None,
            sources: Vec::new(),
            saved: Instant::now(),
            damage: None,
            session: None,
        })
    }

    /// The sample of the first row of a shard; `None` if there is no such shard.
    ///
    /// # Errors
    ///
    /// If the shard cannot be read.
    pub fn first_sample(&self, shard: usize) -> Result<Option<String>, Error> {
        if shard >= self.meta.shards.len() {
            return Ok(None);
        }
        let first = self.rows(shard)?.into_iter().next();
        Ok(first.map(|row| row.sample))
    }

    /// Puts the new files of shards in the place of the damaged ones. `written` is the description of the cache
    /// of the [writer](Repair::writer).
    ///
    /// # Errors
    ///
    /// [`Error::OtherTokens`] if a file differs from the one that was damaged; nothing is replaced then.
    pub fn replace(&self, written: &CacheMeta, shards: Range<usize>) -> Result<(), Error> {
        let new = repair(&self.dir);
        for shard in shards.clone() {
            let expected = &self.meta.shards[shard];
            let differs = match written.shards.get(shard) {
                Some(found) => different_table(found, expected),
                None => Some("slices".to_owned()),
            };
            if let Some(table) = differs {
                self.delete_new()?;
                let path = self.dir.join(table).join(shard_file(shard));
                return Err(Error::OtherTokens { path });
            }
        }
        for shard in shards {
            let expected = &self.meta.shards[shard];
            let file = shard_file(shard);
            let sources = expected.sources_sha256.as_ref().map(|_| sources::FOLDER);
            let tables = expected.tables.keys().map(String::as_str);
            for table in tables.chain(sources) {
                let moves = [
                    (
                        new.join(table).join(&file),
                        self.dir.join(table).join(&file),
                    ),
                    (
                        checksums_of(&new, table, &file),
                        checksums_of(&self.dir, table, &file),
                    ),
                ];
                for (from, to) in moves {
                    let folder = to.parent().unwrap_or(&self.dir);
                    fs::create_dir_all(folder).map_err(io_error(folder, "create the folder"))?;
                    fs::rename(&from, &to).map_err(io_error(&to, "replace"))?;
                    sync_dir(folder).map_err(io_error(folder, "sync"))?;
                }
            }
        }
        History::add(&self.dir, History::usable(&new).sessions)?;
        self.delete_new()
    }

    fn rows(&self, shard: usize) -> Result<Vec<Position>, Error> {
        let rows = CacheReader::of_meta(&self.dir)?.shard_slices(shard)?;
        let rows = rows.into_iter().map(|slice| Position {
            sample: slice.sample,
            slice: slice.slice,
            view: slice.view,
        });
        Ok(rows.collect())
    }

    fn unreadable(&self, shard: usize) -> Error {
        Error::Shard {
            path: self.dir.join("slices").join(shard_file(shard)),
            what: "number of rows",
            found: "0".to_owned(),
            expected: "at least 1".to_owned(),
        }
    }

    fn delete_new(&self) -> Result<(), Error> {
        let path = repair(&self.dir);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&path, "delete")(error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Repair {
    /// Deletes what was not put in its place.
    fn drop(&mut self) {
        let _ = self.delete_new();
    }
}

/// The first table whose file differs.
fn different_table(found: &Shard, expected: &Shard) -> Option<String> {
    let is_other = |table: &String| {
        let [found, expected] = [found, expected].map(|of| of.tables.get(table));
        found.map(|file| (file.bytes, &file.sha256))
            != expected.map(|file| (file.bytes, &file.sha256))
    };
    let sources = &expected.sources_sha256;
    let mut tables = expected.tables.keys();
    tables.find(|table| is_other(table)).cloned().or_else(|| {
        let is_other = sources.is_some() && found.sources_sha256 != *sources;
        is_other.then(|| sources::FOLDER.to_owned())
    })
}

/// SHA-256 and checksums of a file.
fn summed(path: &Path) -> io::Result<(String, Summing)> {
    let mut file = File::open(path)?;
    let (mut hash, mut summing, mut block) = (Sha256::new(), Summing::default(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok((hex(&hash.finalize()), summing)),
            count => {
                hash.update(&block[..count]);
                summing.update(&block[..count]);
            }
        }
    }
}
