//! Verification of all shards in one pass.

use std::path::Path;

use super::{Check, Depth, Fault, check_bytes};
use crate::checksums::Checksums;
use crate::folder::{checksums_of, shard_file};
use crate::rows::Known;
use crate::schema::Table;
use crate::{CacheReader, Error, ShardSources, SliceMeta, is_in_bucket, parallel, sources};

/// Shards for each thread whose rows are in memory.
const AHEAD: usize = 2;

/// What was found in a pass.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Faults of shards, in their order.
    pub(super) of_shards: Vec<Fault>,
    /// The first row that contradicts others, or that is not one of the cache.
    pub(super) of_rows: Option<Error>,
}

/// A shard after its check.
struct Checked {
    faults: Vec<Fault>,
    /// Its rows, or none if they cannot be read.
    slices: Vec<SliceMeta>,
    /// The difference of a label set from the cache.
    difference: Option<Error>,
}

impl Check<'_> {
    /// Checks `tables` of all shards; `take` gets each row, as long as there is no fault. Rows of a label set are
    /// compared with those of the cache, `labelled`.
    pub(super) fn pass(
        &self,
        tables: &[Table],
        labelled: Option<&CacheReader>,
        mut take: impl FnMut(SliceMeta),
    ) -> Result<Found, Error> {
        let shards = self.reader.meta().shards.len();
        let unchecked = self.reader.without_checks();
        let (mut known, mut row) = (Known::of(self.reader.meta()), 0);
        let mut found = Found::default();
        for first in (0..shards).step_by(AHEAD * self.threads) {
            let count = (AHEAD * self.threads).min(shards - first);
            let group = parallel::map(self.threads, count, |k| {
                Ok(self.shard(first + k, tables, (labelled, &unchecked)))
            })?;
            for (shard, of) in (first..).zip(group) {
                found.of_shards.extend(of.faults);
                found.of_rows = found.of_rows.or(of.difference);
                for slice in of.slices {
                    if found.of_rows.is_none() {
                        let added = known.add(&slice);
                        let wrong = added.map_err(|wrong| self.reader.invalid(shard, row, wrong));
                        found.of_rows = wrong.err();
                    }
                    row += 1;
                    take(slice);
                }
            }
        }
        Ok(found)
    }

    fn shard(
        &self,
        shard: usize,
        tables: &[Table],
        (labelled, unchecked): (Option<&CacheReader>, &CacheReader),
    ) -> Checked {
        let (mut faults, mut slices) = (Vec::new(), Vec::new());
        for &table in tables {
            let checked = if self.is_listed() {
                self.check_listed(table, shard, unchecked)
            } else {
                self.check_read(table, shard)
            };
            // At most one fault of each table: what follows the first one is of no use.
            let read = checked.and_then(|()| match table {
                Table::Slices => self.reader.shard_slices(shard),
                _ => Ok(Vec::new()),
            });
            match read {
                Ok(rows) if table == Table::Slices => slices = rows,
                Ok(_) => {}
                Err(error) => faults.push(Fault::of_shard(shard, error)),
            }
        }
        if labelled.is_none() {
            let error = self.check_sources(shard).err();
            faults.extend(error.map(|error| Fault::of_shard(shard, error)));
        }
        let difference = labelled.and_then(|cache| self.difference(cache, shard, &slices));
        Checked {
            faults,
            slices,
            difference,
        }
    }

    /// Whether the listing of a bucket stands for sizes, and only the ends of tables are read.
    fn is_listed(&self) -> bool {
        self.depth == Depth::Quick && is_in_bucket(self.reader.dir())
    }

    /// Compares sizes with the listing, and the end of the table with the description. `slices` is read afterwards.
    fn check_listed(
        &self,
        table: Table,
        shard: usize,
        unchecked: &CacheReader,
    ) -> Result<(), Error> {
        let path = self.reader.path(table, shard);
        let Some(file) = self.reader.meta().shards[shard].tables.get(table.name()) else {
            return self.check_size(&path, 0);
        };
        self.check_size(&path, file.bytes)?;
        if file.has_checksums {
            let folder = self.reader.folder(table);
            let sums = checksums_of(self.reader.dir(), &folder, &shard_file(shard));
            self.check_size(&sums, Checksums::bytes_of(file.bytes))?;
        }
        if table == Table::Slices {
            return Ok(());
        }
        unchecked.check_end(table, shard, file.bytes)
    }

    fn check_size(&self, path: &Path, expected: u64) -> Result<(), Error> {
        let found = self.files.bytes(path);
        if found == Some(expected) {
            return Ok(());
        }
        Err(Error::Shard {
            path: path.into(),
            what: "size in bytes",
            found: found.map_or_else(|| "missing".to_owned(), |bytes| bytes.to_string()),
            expected: expected.to_string(),
        })
    }

    fn check_read(&self, table: Table, shard: usize) -> Result<(), Error> {
        let checked = self.reader.check_table_of(table, shard);
        if self.depth == Depth::Quick {
            return checked;
        }
        check_bytes(self.reader, table, shard)?;
        checked?;
        match table {
            Table::Slices => Ok(()),
            _ => self.reader.check_values(table, shard),
        }
    }

    fn check_sources(&self, shard: usize) -> Result<(), Error> {
        let meta = self.reader.meta();
        if !self.is_listed() {
            return ShardSources::read(self.reader.dir(), meta, shard).map(drop);
        }
        let path = self
            .reader
            .dir()
            .join(sources::FOLDER)
            .join(shard_file(shard));
        let is_recorded = meta.shards[shard].sources_sha256.is_some();
        if !is_recorded || self.files.bytes(&path).is_some() {
            return Ok(());
        }
        Err(Error::Shard {
            path,
            what: "the file",
            found: "missing".to_owned(),
            expected: "records of source files".to_owned(),
        })
    }

    /// The first row of a label set that is not the one of the cache with other labels.
    fn difference(&self, cache: &CacheReader, shard: usize, slices: &[SliceMeta]) -> Option<Error> {
        let stored = match cache.shard_slices(shard) {
            Ok(stored) => stored,
            Err(error) => return Some(error),
        };
        let mut pairs = stored.into_iter().zip(slices);
        let (_, other) = pairs.find(|(stored, new)| {
            let expected = SliceMeta {
                patient: new.patient.clone(),
                labels: new.labels.clone(),
                ..stored.clone()
            };
            **new != expected
        })?;
        Some(Error::LabelSet {
            path: self.reader.path(Table::Slices, shard),
            what: format!("the rows of `{}` are not those of the cache", other.sample),
        })
    }
}
