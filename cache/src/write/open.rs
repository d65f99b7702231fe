//! Opening a cache to write it: a new one, one that goes on, and one that gives up its end.

use std::path::Path;
use std::time::Instant;

use super::CacheWriter;
use crate::clean::delete_unnamed;
use crate::sources::KnownFiles;
use crate::verify::{check_pending, check_shards};
use crate::{CacheLock, CacheMeta, CacheReader, Error, Skipped};

impl CacheWriter {
    /// Creates the cache `dir`, or opens it to resume.
    ///
    /// `run` describes the cache; its progress (`rows`, `shards`, `skipped`, `complete`) is ignored. Its
    /// `shapes` may also be given if all layers are alike; they are not stored then.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if `dir` holds a cache made in another way, [`Error::Locked`] if another
    /// process writes to it, [`Error::Shard`] if a finished shard is damaged, and [`Error::Io`].
    pub fn open(dir: &Path, run: CacheMeta) -> Result<CacheWriter, Error> {
        CacheWriter::locked(CacheLock::of(dir)?, run)
    }

    /// The same as [`open`](CacheWriter::open), with a lock that is held already.
    ///
    /// # Errors
    ///
    /// As [`open`](CacheWriter::open).
    pub fn locked(lock: CacheLock, run: CacheMeta) -> Result<CacheWriter, Error> {
        lock.refuse_bucket()?;
        let dir = lock.dir();
        let run = run.without_plain_shapes();
        run.check(dir)?;
        let mut damage = None;
        let meta = match CacheMeta::read(dir) {
            // Nothing lies there that another run could be mixed with.
            Ok(meta) if meta.is_blank() => start(dir, run)?,
            Ok(mut meta) => {
                meta.check_same(&run, dir)?;
                let reader = CacheReader::open_unfinished(dir)?;
                // A finished cache is not written to; `extract verify` checks it.
                if !meta.complete {
                    check_shards(&reader)?;
                    damage = drop_damaged(dir, &mut meta);
                }
                meta
            }
            Err(Error::NoCache { .. } | Error::Parts { .. }) => start(dir, run)?,
            Err(error) => return Err(error),
        };
        delete_unnamed(dir, &meta)?;
        Ok(CacheWriter {
            dir: dir.into(),
            known_files: KnownFiles::of(dir, &meta)?,
            meta,
            closing: None,
            open: None,
            sources: Vec::new(),
            before: None,
            saved: Instant::now(),
            damage,
            session: None,
            lock,
        })
    }

    /// Opens a cache of the same samples, of which some could not be read, and gives up all but its first
    /// `shards` shards. Samples in `skipped` stay noted as skipped.
    ///
    /// # Errors
    ///
    /// As [`open`](CacheWriter::open); the sizes of the samples' files are not compared.
    pub fn rewound(
        lock: CacheLock,
        run: CacheMeta,
        shards: usize,
        skipped: Vec<Skipped>,
    ) -> Result<CacheWriter, Error> {
        lock.refuse_bucket()?;
        let dir = lock.dir();
        let mut meta = CacheMeta::read(dir)?;
        let run = run.without_plain_shapes();
        let same_files = CacheMeta {
            samples_sha256: meta.samples_sha256.clone(),
            ..run.clone()
        };
        meta.check_same(&same_files, dir)?;
        meta.shards.truncate(shards);
        meta = CacheMeta {
            samples_sha256: run.samples_sha256.clone(),
            rows: meta.shards.iter().map(|shard| u64::from(shard.rows)).sum(),
            pending: Vec::new(),
            complete: false,
            skipped,
            ..meta
        };
        lock.check()?;
        meta.write(dir)?;
        CacheWriter::locked(lock, run)
    }
}

/// Drops the pending rows from the first damaged part on, and returns its fault.
fn drop_damaged(dir: &Path, meta: &mut CacheMeta) -> Option<Error> {
    let parts = meta.pending.clone();
    let reader = CacheReader::of_pending(dir, meta, parts);
    let (part, fault) = check_pending(&reader)?;
    meta.pending.truncate(part);
    Some(fault)
}

fn start(dir: &Path, run: CacheMeta) -> Result<CacheMeta, Error> {
    let meta = CacheMeta {
        rows: 0,
        shards: Vec::new(),
        pending: Vec::new(),
        skipped: Vec::new(),
        complete: false,
        ..run
    };
    meta.write(dir)?;
    Ok(meta)
}
