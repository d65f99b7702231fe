//! Joining the parts of a cache.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::rows::{ShardRows, joined};
use super::{Parts, dirs, has_parts, lock_parts, of_whole};
use crate::error::io_error;
use crate::folder::PARTS;
use crate::history::Recorder;
use crate::links::refuse_links;
use crate::{
    CacheLock, CacheMeta, CacheReader, CacheWriter, Depth, Error, History, Mirror, Session,
    ShardSources, SourceFile, TokenBatch, download, is_in_bucket, local_path, store, verify,
};

/// Joins the parts of the cache `dir`, verifies the whole with `threads` threads, and deletes the parts.
///
/// The rows are those of one run over all samples, in the same order. Batches, shards and pages are cut as
/// in such a run, so the files are the same too if the tokens are. A merge that was stopped goes on where it
/// stopped.
///
/// # Errors
///
/// [`Error::Parts`] if some are not done, [`Error::EmptyParts`] if none has a row, [`Error::Incomplete`] or [`Error::NoCache`] if there are none, [`Error::Locked`] if another
/// process joins them or writes to one, [`Error::Mismatch`] and [`Error::OtherSamples`] if they do not
/// belong together, the first fault of the whole, and those of [`CacheReader::open`] and
/// [`CacheWriter::append`]. The parts stay in place then.
pub fn merge(dir: &Path, threads: usize) -> Result<CacheMeta, Error> {
    let session = Session {
        action: "merge".to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Session::default()
    };
    let mut record = Recorder::begin(dir, session, 0);
    let whole = match CacheMeta::read(dir) {
        Ok(whole) if whole.complete => whole,
        Ok(_) if !has_parts(dir) => return Err(no_parts(dir)),
        Ok(_) | Err(Error::Parts { .. }) => join(dir)?,
        Err(error) => return Err(error),
    };
    if has_parts(dir) {
        let found = verify(dir, Depth::Full, threads)?;
        let first = found.faults.into_iter().next();
        first.map_or(Ok(()), |fault| Err(fault.error))?;
        for part in dirs(dir)? {
            record.follow(History::usable(&part).sessions);
        }
        record.save(whole.rows)?;
        delete_parts(dir)?;
    }
    Ok(whole)
}

/// The same for a cache `dir` in a bucket: its parts are copied to a folder below `staging` and joined there, and the
/// whole is copied to the bucket. If `stop` becomes true, the command ends after some time.
///
/// # Errors
///
/// As [`merge`], and [`Error::Raced`] if another process has written the cache.
pub fn merge_in_bucket(
    dir: &Path,
    staging: &Path,
    threads: usize,
    stop: &AtomicBool,
) -> Result<CacheMeta, Error> {
    if !CacheMeta::read(dir).is_ok_and(|meta| meta.complete) {
        let Some(parts) = Parts::of(dir)? else {
            return Err(no_parts(dir));
        };
        if !parts.missing().is_empty() {
            return Err(parts.unjoined());
        }
        let work = local_path(dir, staging);
        let mirror = Mirror::begin(CacheLock::of(dir)?, &work)?;
        download(dir, &work)?;
        mirror.run(stop, || merge(&work, threads))?;
    }
    delete_parts(dir)?;
    CacheMeta::read(dir)
}

/// The error of a cache that is not finished and has no parts.
fn no_parts(dir: &Path) -> Error {
    match CacheMeta::read(dir) {
        Ok(whole) => Error::Incomplete {
            path: dir.into(),
            rows: whole.saved_rows(),
        },
        Err(error) => error,
    }
}

/// Deletes the parts of a finished cache, of which no one has a writer, and what else lies in their folders.
///
/// # Errors
///
/// [`Error::Locked`] if another process writes to one, and [`Error::Io`].
fn delete_parts(dir: &Path) -> Result<(), Error> {
    let parts = dirs(dir)?;
    if !is_in_bucket(dir) {
        refuse_links(dir)?;
    }
    let _locks = lock_parts(dir)?;
    for part in &parts {
        if is_in_bucket(dir) {
            store::delete_all(part).map_err(io_error(part, "delete"))?;
            continue;
        }
        fs::remove_dir_all(part).map_err(io_error(part, "delete"))?;
    }
    // Files of the user's own in it keep it; a bucket has no folders.
    let _ = fs::remove_dir(dir.join(PARTS));
    Ok(())
}

/// Writes the rows of all parts to the whole cache.
fn join(dir: &Path) -> Result<CacheMeta, Error> {
    let Some(parts) = Parts::of(dir)? else {
        return Err(Error::NoCache { path: dir.into() });
    };
    let run = whole_of(&parts)?;
    let writer = CacheWriter::open(dir, run)?;
    if writer.meta().complete {
        return Ok(writer.meta().clone());
    }
    let mut joiner = Joiner {
        skip: writer.rows(),
        batch_rows: writer.meta().batch_size as usize,
        writer,
        pieces: Vec::new(),
        rows: 0,
        sources: HashMap::new(),
    };
    for (part, _) in parts.begun() {
        joiner.add(&CacheReader::open(&part)?)?;
    }
    joiner.write()?;
    joiner.writer.finish()
}

/// The description of the whole cache, after a check that the parts make one.
fn whole_of(parts: &Parts) -> Result<CacheMeta, Error> {
    let missing = parts.missing();
    let Some((_, first)) = parts.begun().next().filter(|_| missing.is_empty()) else {
        return Err(parts.unjoined());
    };
    let whole = CacheMeta {
        rows: 0,
        shards: Vec::new(),
        skipped: Vec::new(),
        complete: false,
        ..of_whole(first)
    };
    let mut next = 0;
    for (dir, meta) in parts.begun() {
        of_whole(meta).check_same(&whole, &dir)?;
        let first = meta.part.map_or(0, |part| part.first_sample);
        if first != next {
            return Err(Error::Mismatch {
                path: dir,
                field: "part.first_sample".into(),
                found: first.to_string(),
                expected: next.to_string(),
            });
        }
        next = first + meta.samples;
    }
    if next != whole.samples {
        return Err(Error::Mismatch {
            path: parts.dir.clone(),
            field: "samples".into(),
            found: next.to_string(),
            expected: whole.samples.to_string(),
        });
    }
    if parts.begun().all(|(_, meta)| meta.rows == 0) {
        return Err(Error::EmptyParts {
            path: parts.dir.clone(),
            samples: whole.samples,
        });
    }
    Ok(whole)
}

/// Writer of the whole cache.
struct Joiner {
    writer: CacheWriter,
    /// Rows that the whole cache has from an earlier merge.
    skip: u64,
    batch_rows: usize,
    /// Rows of the next batch so far.
    pieces: Vec<TokenBatch>,
    rows: usize,
    /// Files of samples that begin in rows to come.
    sources: HashMap<String, Vec<SourceFile>>,
}

impl Joiner {
    fn add(&mut self, part: &CacheReader) -> Result<(), Error> {
        for skipped in &part.meta().skipped {
            self.writer.skip(skipped.clone());
        }
        for (shard, of) in part.meta().shards.iter().enumerate() {
            if self.skip >= u64::from(of.rows) {
                self.skip -= u64::from(of.rows);
                continue;
            }
            for file in ShardSources::read(part.dir(), part.meta(), shard)?.files {
                self.sources
                    .entry(file.sample.clone())
                    .or_default()
                    .push(file);
            }
            let mut rows = ShardRows::open(part, shard)?;
            while self.skip > 0 {
                let skipped = rows.take(self.batch_rows.min(self.skip as usize))?;
                self.skip -= skipped.slices.len() as u64;
            }
            while rows.left() > 0 {
                let piece = rows.take(self.batch_rows - self.rows)?;
                self.rows += piece.slices.len();
                self.pieces.push(piece);
                if self.rows == self.batch_rows {
                    self.write()?;
                }
            }
        }
        Ok(())
    }

    /// Appends the batch.
    fn write(&mut self) -> Result<(), Error> {
        self.rows = 0;
        let Some(batch) = joined(std::mem::take(&mut self.pieces)) else {
            return Ok(());
        };
        for slice in &batch.slices {
            let files = self.sources.remove(&slice.sample);
            self.writer.add_sources(files.unwrap_or_default());
        }
        self.writer.append(&batch)
    }
}
