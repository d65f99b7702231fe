//! Writer of a cache: appends batches, closes shards, resumes after a stop.

mod open;
mod repair;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::files::sync_dir;

pub use self::repair::Repair;
use crate::batch_check;
use crate::clean::delete_pending;
use crate::error::io_error;
use crate::folder::pending;
use crate::history::{Recorder, Session};
use crate::shard_writer::{ClosingShard, OpenShard};
use crate::sources::{KnownFiles, SourceFile};
use crate::{CacheLock, CacheMeta, CacheReader, Error, Shard, Skipped, TokenBatch};

/// End of a cache: the last slice that was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its sample.
    pub sample: String,
    /// Its slice in the sample.
    pub slice: u32,
    /// Its view.
    pub view: u16,
}

/// Writer of a cache, shard by shard.
///
/// A shard is written under temporary names, synced, renamed, and then listed in `meta.json`, which is
/// replaced atomically. Files that a stop leaves unlisted are deleted by the next
/// [`open`](CacheWriter::open). Every shard but the last has exactly `shard_rows` rows, so a cache that was
/// stopped and resumed equals one made in one run, byte for byte. A shard is synced while rows of the next
/// one are appended.
///
/// Rows of a shard that is not full can be [saved](CacheWriter::save) too: in files like those of a shard,
/// below `pending/`, whose rows are copied into the shard when it is full.
pub struct CacheWriter {
    dir: PathBuf,
    meta: CacheMeta,
    /// All rows but those of `meta` are in these two.
    closing: Option<ClosingShard>,
    open: Option<OpenShard>,
    /// Files that are recorded, in this run and earlier ones.
    known_files: KnownFiles,
    /// Those of the batch that is appended next.
    sources: Vec<SourceFile>,
    /// The row before the first one that is written, if its shard lies elsewhere.
    before: Option<Position>,
    /// Time of the last save.
    saved: Instant,
    damage: Option<Error>,
    /// The record of this process, if it keeps one.
    session: Option<Recorder>,
    lock: CacheLock,
}

impl CacheWriter {
    /// The cache's description so far.
    pub fn meta(&self) -> &CacheMeta {
        &self.meta
    }

    /// Damage of rows that were saved between two shards. They are no longer part of the cache, and are
    /// computed again.
    pub fn damage(&self) -> Option<&Error> {
        self.damage.as_ref()
    }

    /// The last slice that was saved, or `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] or [`Error::Io`] if it cannot be read.
    pub fn position(&self) -> Result<Option<Position>, Error> {
        if self.meta.shards.is_empty() && self.meta.pending.is_empty() || self.before.is_some() {
            return Ok(self.before.clone());
        }
        let parts = &self.meta.pending;
        let (reader, shards) = if parts.is_empty() {
            let reader = CacheReader::open_unfinished(&self.dir)?;
            (reader, self.meta.shards.len())
        } else {
            let reader = CacheReader::of_pending(&self.dir, &self.meta, parts.clone());
            (reader, parts.len())
        };
        let Some(last) = shards.checked_sub(1) else {
            return Ok(None);
        };
        let last = reader.shard_slices(last)?.pop();
        Ok(last.map(|slice| Position {
            sample: slice.sample,
            slice: slice.slice,
            view: slice.view,
        }))
    }

    /// Appends a batch, closing shards as they fill.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the batch does not fit the cache, [`Error::Row`] if a row is invalid,
    /// [`Error::NotFinite`] if a token is not finite in f16, and [`Error::Io`] or [`Error::Parquet`] if it
    /// cannot be written; finished shards are kept.
    pub fn append(&mut self, batch: &TokenBatch) -> Result<(), Error> {
        if self.closing.as_ref().is_some_and(ClosingShard::is_on_disk) {
            self.name_shard()?;
        }
        batch_check::check(&self.dir, &self.meta, self.rows(), batch)?;
        // A file that was repaired between two runs is no longer skipped.
        let skipped = &mut self.meta.skipped;
        skipped.retain(|s| batch.slices.iter().all(|slice| slice.sample != s.sample));
        let (full, batch_size) = (self.meta.shard_rows.max(1), self.meta.batch_size.max(1));
        let mut start = 0;
        while start < batch.slices.len() {
            // Pages end with a batch or a shard, whatever rows come at once.
            let done = self.unfinished_rows();
            let free = (full - done).min(batch_size - done % batch_size);
            let end = batch.slices.len().min(start + free as usize);
            self.append_rows(batch, start, end)?;
            if self.unfinished_rows() == full {
                self.close_shard()?;
            }
            start = end;
        }
        Ok(())
    }

    /// Begins the record of this process in the history of the cache. Its `parity` becomes that of the cache,
    /// which has no rows yet. Times and numbers of rows in `session` are ignored.
    pub fn record(&mut self, session: Session) {
        if self.is_empty() && session.parity.is_some() {
            self.meta.parity.clone_from(&session.parity);
        }
        self.session = Some(Recorder::begin(&self.dir, session, self.rows()));
    }

    /// Records the source files of samples whose first slice is in the batch that is appended next. Files
    /// that are recorded already are left out.
    pub fn add_sources(&mut self, files: Vec<SourceFile>) {
        let known = &mut self.known_files;
        let new = files.into_iter().filter(|file| known.add(&file.path));
        self.sources.extend(new);
    }

    /// Adds a sample that could not be read; it is saved with the next shard.
    pub fn skip(&mut self, skipped: Skipped) {
        if !self.meta.skipped.iter().any(|s| s.sample == skipped.sample) {
            self.meta.skipped.push(skipped);
        }
    }

    /// Whether no row has been appended, in this run or an earlier one.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Saves all rows that were appended, so that a stop does not lose them, also if the shard is not full.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Parquet`] if they cannot be written.
    pub fn save(&mut self) -> Result<(), Error> {
        self.name_shard()?;
        self.saved = Instant::now();
        let Some(shard) = self.open.take() else {
            return Ok(());
        };
        let part = self.store(shard, self.meta.pending.len())?;
        self.meta.pending.push(part);
        self.write_meta()
    }

    /// Time until the last save is `every` old; `None` if there is nothing to save.
    pub fn next_save(&self, every: Duration) -> Option<Duration> {
        let has_rows = self.open.is_some() || self.closing.is_some();
        has_rows.then(|| every.saturating_sub(self.saved.elapsed()))
    }

    /// Closes the last shard and declares the cache complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Parquet`] if the shard or `meta.json` cannot be written.
    pub fn finish(mut self) -> Result<CacheMeta, Error> {
        self.close_shard()?;
        if !self.meta.pending.is_empty() {
            // A stop must not leave parts in a complete cache, which is not opened for writing again.
            self.name_shard()?;
        }
        self.meta.complete = true;
        if self.closing.is_some() {
            self.name_shard()?;
        } else {
            self.write_meta()?;
        }
        Ok(self.meta.clone())
    }

    /// Rows that were appended, in this run and earlier ones.
    pub fn rows(&self) -> u64 {
        let closing = self.closing.as_ref().map_or(0, |shard| shard.rows);
        self.meta.rows + u64::from(closing) + u64::from(self.unfinished_rows())
    }

    /// Rows after the last shard that is finished or closing.
    fn unfinished_rows(&self) -> u32 {
        let open = self.open.as_ref().map_or(0, |shard| shard.rows);
        // A closing shard holds the pending rows.
        let parts = self.meta.pending.iter().filter(|_| self.closing.is_none());
        parts.map(|part| part.rows).sum::<u32>() + open
    }

    fn append_rows(&mut self, batch: &TokenBatch, start: usize, end: usize) -> Result<(), Error> {
        let first = self.rows();
        let shard = match &mut self.open {
            Some(shard) => shard,
            None => {
                let index = self.meta.shards.len() + usize::from(self.closing.is_some());
                let shard = OpenShard::create(&self.dir, index, &self.meta)?;
                self.open.insert(shard)
            }
        };
        shard.sources.append(&mut self.sources);
        shard.append(&self.meta, first, batch, start..end)
    }

    /// Ends the open shard, after the previous one has been renamed.
    fn close_shard(&mut self) -> Result<(), Error> {
        if self.unfinished_rows() == 0 {
            return Ok(());
        }
        self.name_shard()?;
        let open = self.open.take();
        self.closing = match open {
            Some(shard) if self.meta.pending.is_empty() => Some(shard.close()?),
            tail => Some(self.joined(tail)?),
        };
        Ok(())
    }

    /// The shard of the pending rows and those of `tail`.
    fn joined(&self, tail: Option<OpenShard>) -> Result<ClosingShard, Error> {
        let mut parts = self.meta.pending.clone();
        if let Some(tail) = tail {
            parts.push(self.store(tail, parts.len())?);
        }
        let reader = CacheReader::of_pending(&self.dir, &self.meta, parts);
        let mut shard = OpenShard::create(&self.dir, self.meta.shards.len(), &self.meta)?;
        for part in 0..reader.meta().shards.len() {
            shard.append_shard(&reader, part)?;
        }
        shard.close()
    }

    /// Writes the rows of a shard that is not full as part `index` below `pending/`.
    fn store(&self, shard: OpenShard, index: usize) -> Result<Shard, Error> {
        let dir = pending(&self.dir);
        let part = shard.close()?.finish(&dir, index)?;
        sync_dir(&dir).map_err(io_error(&dir, "sync"))?;
        Ok(part)
    }

    /// Waits until the last closed shard is synced, and lists it in `meta.json`.
    fn name_shard(&mut self) -> Result<(), Error> {
        let Some(shard) = self.closing.take() else {
            return Ok(());
        };
        self.lock.check()?;
        let shard = shard.finish(&self.dir, self.meta.shards.len())?;
        self.meta.rows += u64::from(shard.rows);
        self.meta.shards.push(shard);
        self.saved = Instant::now();
        let parts = std::mem::take(&mut self.meta.pending);
        self.write_meta()?;
        if !parts.is_empty() {
            delete_pending(&self.dir)?;
        }
        Ok(())
    }

    fn write_meta(&mut self) -> Result<(), Error> {
        self.lock.check()?;
        self.meta.write(&self.dir)?;
        let session = self.session.as_mut();
        session.map_or(Ok(()), |session| session.save(self.meta.saved_rows()))
    }
}

impl Drop for CacheWriter {
    /// Lists the last closed shard, also after an error.
    fn drop(&mut self) {
        let _ = self.name_shard();
    }
}
