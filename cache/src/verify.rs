//! Verification of a whole cache: every byte, row and value.

mod lone;
mod shards;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use common::hex;
use sha2::{Digest, Sha256};

use crate::checksums::{BLOCK, Checksums};
use crate::clean::Inventory;
use crate::error::io_error;
use crate::folder::LABELS;
use crate::links::links;
use crate::meta::has_own_hash;
use crate::read::check_place;
use crate::schema::Table;
use crate::store::{self, Files, Reading};
use crate::{
    CacheLock, CacheMeta, CacheReader, Error, History, Holder, ShardSources, is_in_bucket,
};

/// How much of a cache [`verify`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// `meta.json`, sizes, numbers of rows, schemas, and the rows of `slices`; in a folder, also checksums of metadata
    /// and the records of sources.
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

/// What [`verify`] found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Faults, in the order of shards.
    pub faults: Vec<Fault>,
    /// Files that no description names, with their sizes in bytes: what [`Locked::leftovers`](crate::Locked::leftovers)
    /// has. They are no faults. None are listed while another process may write.
    pub unnamed: Vec<(PathBuf, u64)>,
    /// The process that `.lock` names. It writes to the cache, unless it [has ended](Holder::has_ended).
    pub holder: Option<Holder>,
}

/// Checks a cache with `threads` threads, or more in a bucket.
///
/// A cache that is not finished has the fault [`Error::Incomplete`].
///
/// # Errors
///
/// [`Error::NoCache`] if `dir` is none, and [`Error::Io`] if it cannot be listed or its bucket not be read.
pub fn verify(dir: &Path, depth: Depth, threads: usize) -> Result<Verified, Error> {
    let reader = match CacheReader::of_meta(dir) {
        Ok(reader) => reader,
        Err(error @ Error::NoCache { .. }) => return Err(error),
        Err(error @ Error::Io { .. }) if is_in_bucket(dir) => return Err(error),
        Err(error) => {
            return Ok(Verified {
                faults: vec![Fault::of_cache(error)],
                ..Verified::default()
            });
        }
    };
    let holder = CacheLock::holder(dir);
    let inventory = Inventory::of(dir)?;
    let is_written = holder.as_ref().is_some_and(|holder| !holder.has_ended());
    let unnamed = (!is_written).then(|| inventory.unnamed(reader.meta()));
    let check = Check {
        reader: &reader,
        files: inventory.files(),
        lost: inventory.without_description(reader.meta()),
        depth,
        threads: threads.max(store::threads(dir)).max(1),
    };
    Ok(Verified {
        faults: check.faults()?,
        unnamed: unnamed.unwrap_or_default(),
        holder,
    })
}

/// The verification of a cache.
#[derive(Clone)]
struct Check<'a> {
    reader: &'a CacheReader,
    files: &'a Files,
    /// Label sets without a description.
    lost: BTreeSet<&'a str>,
    depth: Depth,
    threads: usize,
}

impl Check<'_> {
    fn faults(&self) -> Result<Vec<Fault>, Error> {
        let (reader, dir) = (self.reader, self.reader.dir());
        let checks = [
            check_own_hash(reader),
            reader.check_count(),
            check_complete(reader),
            History::read(dir).map(drop),
        ];
        let wrong = checks.into_iter().filter_map(Result::err);
        let links = links(dir)?.into_iter().map(|path| Error::Link { path });
        let mut faults: Vec<Fault> = wrong.chain(links).map(Fault::of_cache).collect();
        let splits = reader.splits()?;
        let mut samples = HashSet::new();
        let found = self.pass(&Table::of(reader.meta()), None, |slice| {
            // Only splits are compared with them.
            if !splits.is_empty() && !samples.contains(&*slice.sample) {
                samples.insert(slice.sample.into());
            }
        })?;
        let parts = reader.meta().pending.clone();
        let pending = CacheReader::of_pending(dir, reader.meta(), parts);
        faults.extend(check_pending(&pending).map(|(_, fault)| Fault::of_cache(fault)));
        let is_readable = found.of_shards.is_empty();
        faults.extend(found.of_shards);
        faults.extend(lone::lone_files(reader, self.files, &splits));
        faults.extend(self.lost.iter().map(|set| without_description(dir, set)));
        if !is_readable {
            return Ok(faults);
        }
        faults.extend(found.of_rows.map(Fault::of_cache));
        for name in splits {
            let fault = reader.check_split(&name, &samples).err();
            faults.extend(fault.map(|error| Fault::of_set(NamedSet::Split(name), error)));
        }
        for name in reader.label_sets()? {
            faults.extend(self.of_labels(&name)?);
        }
        Ok(faults)
    }

    /// Faults of a label set, whose rows must be those of the cache.
    fn of_labels(&self, name: &str) -> Result<Vec<Fault>, Error> {
        let of_set = |error| Fault::of_set(NamedSet::Labels(name.to_owned()), error);
        let opened = CacheReader::of_meta(self.reader.dir());
        let labelled = match opened.and_then(|reader| reader.of_labels(name)) {
            Ok(labelled) => labelled,
            Err(error) => return Ok(vec![of_set(error)]),
        };
        let check = Check {
            reader: &labelled,
            ..self.clone()
        };
        let found = check.pass(&labelled.label_tables(), Some(self.reader), |_| {})?;
        // They are not of shards of the cache itself.
        let faults = found.of_shards.into_iter().map(|fault| fault.error);
        Ok(faults.chain(found.of_rows).map(of_set).collect())
    }
}

impl CacheReader {
    /// Checks every byte, row and value with one thread, as [`verify()`] does.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn verify(&self) -> Result<(), Error> {
        let found = verify(self.dir(), Depth::Full, 1)?;
        let first = found.faults.into_iter().next();
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

fn without_description(dir: &Path, set: &str) -> Fault {
    let error = Error::LabelSet {
        path: dir.join(LABELS).join(set),
        what: format!("label set `{set}` has no labels.json"),
    };
    Fault::of_set(NamedSet::Labels(set.to_owned()), error)
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
