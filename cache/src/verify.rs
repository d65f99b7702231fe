//! Verification of a whole cache: every byte, row and value.

mod lone;

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::hex;
use sha2::{Digest, Sha256};

use crate::checksums::{BLOCK, Checksums};
use crate::error::io_error;
use crate::meta::has_own_hash;
use crate::read::check_place;
use crate::schema::Table;
use crate::store::{self, Reading};
use crate::{CacheMeta, CacheReader, Error, History, ShardSources, SliceMeta};

/// How much of a cache [`verify`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// `meta.json`, sizes, checksums of metadata, numbers of rows, schemas, and the rows of `slices`.
    Quick,
    /// Every byte of every file and every value.
    Full,
}

/// Something in a cache that is not as it was written.
#[derive(Debug)]
pub struct Fault {
    /// Number of the shard; `None` for `meta.json`, splits, label sets and the cache as a whole.
    pub shard: Option<usize>,
    /// The split or label set, if it is one of that.
    pub set: Option<NamedSet>,
    /// The fault.
    pub error: Error,
}

/// What is added to a finished cache under a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedSet {
    /// A split.
    Split(String),
    /// A label set.
    Labels(String),
}

impl Fault {
    fn of_cache(error: Error) -> Fault {
        let (shard, set) = (None, None);
        Fault { shard, set, error }
    }

    fn of_shard(shard: usize, error: Error) -> Fault {
        let (shard, set) = (Some(shard), None);
        Fault { shard, set, error }
    }

    fn of_set(set: NamedSet, error: Error) -> Fault {
        let (shard, set) = (None, Some(set));
        Fault { shard, set, error }
    }
}

impl fmt::Display for Fault {
    /// The fault on one line, without its hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.error.to_string();
        let first = text.lines().next().unwrap_or_default();
        f.write_str(first)
    }
}

/// Checks a cache with `threads` threads, or more in a bucket, and lists its faults in the order of shards.
///
/// A cache that is not finished has the fault [`Error::Incomplete`].
///
/// # Errors
///
/// [`Error::NoCache`] if `dir` is none.
pub fn verify(dir: &Path, depth: Depth, threads: usize) -> Result<Vec<Fault>, Error> {
    let reader = match CacheReader::of_meta(dir) {
        Ok(reader) => reader,
        Err(error @ Error::NoCache { .. }) => return Err(error),
        Err(error) => return Ok(vec![Fault::of_cache(error)]),
    };
    let mut faults = Vec::new();
    let checks = [
        check_own_hash(&reader),
        reader.check_count(),
        check_complete(&reader),
        History::read(dir).map(drop),
    ];
    let wrong = checks.into_iter().filter_map(Result::err);
    faults.extend(wrong.map(Fault::of_cache));
    let shards = reader.meta().shards.len();
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(store::threads(dir)).clamp(1, shards.max(1)) {
            scope.spawn(|| {
                loop {
                    let shard = next.fetch_add(1, Ordering::Relaxed);
                    if shard >= shards {
                        return;
                    }
                    let faults = faults_of_shard(&reader, shard, depth);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.extend(faults);
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|fault: &Fault| fault.shard);
    let parts = reader.meta().pending.clone();
    let pending = CacheReader::of_pending(dir, reader.meta(), parts);
    faults.extend(check_pending(&pending).map(|(_, fault)| Fault::of_cache(fault)));
    let is_readable = found.is_empty();
    faults.extend(found);
    faults.extend(lone::lone_files(&reader)?);
    faults.extend(lone::unnamed_files(&reader)?);
    if is_readable {
        faults.extend(reader.check_rows().err().map(Fault::of_cache));
        for name in reader.splits()? {
            let fault = reader.slices_with_split(&name).err();
            faults.extend(fault.map(|error| Fault::of_set(NamedSet::Split(name), error)));
        }
        for name in reader.label_sets()? {
            faults.extend(faults_of_labels(dir, &name, depth));
        }
    }
    Ok(faults)
}

impl CacheReader {
    /// Checks every byte, row and value with one thread, as [`verify()`] does.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn verify(&self) -> Result<(), Error> {
        let faults = verify(self.dir(), Depth::Full, 1)?;
        let first = faults.into_iter().next();
        first.map_or(Ok(()), |fault| Err(fault.error))
    }
}

/// Checks every byte of the finished shards, so that no run continues a damaged cache.
///
/// # Errors
///
/// The first fault.
pub(crate) fn check_shards(reader: &CacheReader) -> Result<(), Error> {
    let tables = Table::of(reader.meta());
    for shard in 0..reader.meta().shards.len() {
        for &table in &tables {
            check_bytes(reader, table, shard)?;
        }
    }
    Ok(())
}

/// The first part of the pending rows that is damaged, and its fault.
pub(crate) fn check_pending(reader: &CacheReader) -> Option<(usize, Error)> {
    let tables = Table::of(reader.meta());
    (0..reader.meta().shards.len()).find_map(|part| {
        let check = |&table: &Table| {
            reader.check_table_of(table, part)?;
            check_bytes(reader, table, part)
        };
        let sources = || ShardSources::read(reader.dir(), reader.meta(), part).err();
        let fault = tables.iter().find_map(|table| check(table).err());
        let fault = fault.or_else(sources);
        Some((part, fault?))
    })
}

/// Refuses a `meta.json` without the hash that those with checksums have.
fn check_own_hash(reader: &CacheReader) -> Result<(), Error> {
    let path = reader.dir().join("meta.json");
    let text = CacheMeta::read_text(reader.dir())?;
    let shards = reader.meta().shards.iter();
    let mut files = shards.flat_map(|shard| shard.tables.values());
    if has_own_hash(&text) || !files.any(|file| file.has_checksums) {
        return Ok(());
    }
    Err(Error::Shard {
        path,
        what: "last key",
        found: "another".into(),
        expected: "`sha256` of the text before it".into(),
    })
}

fn check_complete(reader: &CacheReader) -> Result<(), Error> {
    if reader.meta().complete {
        return Ok(());
    }
    Err(Error::Incomplete {
        path: reader.dir().into(),
        rows: reader.meta().saved_rows(),
    })
}

/// Faults of a label set, whose rows must be those of the cache.
fn faults_of_labels(dir: &Path, name: &str, depth: Depth) -> Vec<Fault> {
    let of_set = |error| Fault::of_set(NamedSet::Labels(name.to_owned()), error);
    let reader = match CacheReader::of_meta(dir).and_then(|reader| reader.of_labels(name)) {
        Ok(reader) => reader,
        Err(error) => return vec![of_set(error)],
    };
    let tables = reader.label_tables();
    let shards = 0..reader.meta().shards.len();
    let faults = shards.flat_map(|shard| faults_of_tables(&reader, &tables, shard, depth));
    // They are not of shards of the cache itself.
    let mut faults: Vec<Fault> = faults.map(|fault| of_set(fault.error)).collect();
    if faults.is_empty() {
        let checked = reader
            .check_rows()
            .and_then(|()| check_same_rows(dir, &reader));
        faults.extend(checked.err().map(of_set));
    }
    faults
}

/// Refuses a label set whose slices are not those of the cache.
fn check_same_rows(dir: &Path, labelled: &CacheReader) -> Result<(), Error> {
    let reader = CacheReader::of_meta(dir)?;
    for shard in 0..reader.meta().shards.len() {
        let pairs = reader.shard_slices(shard)?;
        let pairs = pairs.into_iter().zip(labelled.shard_slices(shard)?);
        for (stored, new) in pairs {
            let expected = SliceMeta {
                patient: new.patient.clone(),
                labels: new.labels.clone(),
                ..stored
            };
            if new != expected {
                return Err(Error::LabelSet {
                    path: labelled.path(Table::Slices, shard),
                    what: format!("the rows of `{}` are not those of the cache", new.sample),
                });
            }
        }
    }
    Ok(())
}

fn faults_of_shard(reader: &CacheReader, shard: usize, depth: Depth) -> Vec<Fault> {
    let mut faults = faults_of_tables(reader, &Table::of(reader.meta()), shard, depth);
    let sources = ShardSources::read(reader.dir(), reader.meta(), shard);
    faults.extend(sources.err().map(|error| Fault::of_shard(shard, error)));
    faults
}

/// At most one fault of each table: what follows the first one is of no use.
fn faults_of_tables(
    reader: &CacheReader,
    tables: &[Table],
    shard: usize,
    depth: Depth,
) -> Vec<Fault> {
    let faults = tables.iter().filter_map(|&table| {
        let mut checked = reader.check_table_of(table, shard);
        if depth == Depth::Full {
            checked = check_bytes(reader, table, shard)
                .and(checked)
                .and_then(|()| reader.check_values(table, shard));
        }
        checked.err()
    });
    faults.map(|error| Fault::of_shard(shard, error)).collect()
}

/// Compares a file with its hash and each block with its checksum.
fn check_bytes(reader: &CacheReader, table: Table, shard: usize) -> Result<(), Error> {
    let path = reader.path(table, shard);
    let meta: &CacheMeta = reader.meta();
    let Some(expected) = meta.shards[shard].tables.get(table.name()) else {
        return Ok(());
    };
    check_place(reader.dir(), &path, || format!("{} bytes", expected.bytes))?;
    let checksums = reader.file(table, shard)?.checksums;
    let mut file = Reading::open(&path, None).map_err(io_error(&path, "open"))?;
    let length = file.len().map_err(io_error(&path, "read"))?;
    let (mut hash, mut place, mut block) = (Sha256::new(), 0, Vec::with_capacity(BLOCK));
    while place < length {
        block.resize((length - place).min(BLOCK as u64) as usize, 0);
        file.read(place, &mut block)
            .map_err(io_error(&path, "read"))?;
        check_block(checksums.as_deref(), place, &block).map_err(io_error(&path, "verify"))?;
        hash.update(&block);
        place += block.len() as u64;
    }
    let found = hex(&hash.finalize());
    if found == expected.sha256 {
        return Ok(());
    }
    Err(Error::Shard {
        path,
        what: "sha256",
        found,
        expected: expected.sha256.clone(),
    })
}

fn check_block(checksums: Option<&Checksums>, place: u64, block: &[u8]) -> std::io::Result<()> {
    checksums.map_or(Ok(()), |checksums| checksums.check(place, block))
}
