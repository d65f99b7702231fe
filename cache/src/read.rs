//! Reader of a finished cache. Opening validates it.

mod batches;
mod check;
mod images;
mod open;
mod tokens;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;

use self::batches::numbered;
pub(crate) use self::batches::wrong_row;
pub(crate) use self::check::check_place;
use crate::checksums::Checksums;
use crate::folder::{checksums_of, shard_file};
use crate::parts::has_parts;
use crate::rows::{NAME_BYTES, mask_bytes};
use crate::schema::{self, Table};
use crate::table_reader::{ParquetFile, batches};
use crate::{CacheMeta, Error, NamedLabels, Shard, SliceMeta, is_in_bucket, parallel, store};

/// An opened cache.
#[derive(Debug)]
pub struct CacheReader {
    dir: PathBuf,
    meta: CacheMeta,
    sha256: String,
    /// Number of the first row: 0, but for rows that were saved since the last shard.
    first: u64,
    /// The label set in place of the labels of the extraction; `meta` has its classes.
    labels: Option<NamedLabels>,
    /// Whether blocks are compared with their checksums.
    has_checks: bool,
    /// Checksums that were read already, by their files.
    checksums: Mutex<HashMap<PathBuf, Arc<Checksums>>>,
}

impl CacheReader {
    /// The cache's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Description of the cache.
    pub fn meta(&self) -> &CacheMeta {
        &self.meta
    }

    /// Hash of `meta.json`, and so, through the shards' hashes in it, of the whole cache, but not of its label
    /// sets.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The rows of the `slices` table, `N` of them.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] or [`Error::Io`] if a shard cannot be read.
    pub fn slices(&self) -> Result<Vec<SliceMeta>, Error> {
        let (threads, shards) = (store::threads(&self.dir), self.meta.shards.len());
        let rows = parallel::map(threads, shards, |shard| self.shard_slices(shard))?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The rows of the `slices` table, shard by shard, of which as many as there are threads are in memory.
    pub fn slices_by_shard(&self) -> impl Iterator<Item = Result<Vec<SliceMeta>, Error>> {
        let (threads, shards) = (store::threads(&self.dir).max(1), self.meta.shards.len());
        (0..shards).step_by(threads).flat_map(move |first| {
            let count = threads.min(shards - first);
            let rows = parallel::map(threads, count, |k| self.shard_slices(first + k));
            match rows {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// The rows of the `slices` table in one shard.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is no such shard; otherwise as [`slices`](Self::slices).
    pub fn shard_slices(&self, shard: usize) -> Result<Vec<SliceMeta>, Error> {
        self.shard_rows(shard)?;
        let path = self.path(Table::Slices, shard);
        let builder = self.file(Table::Slices, shard)?.rows(NAME_BYTES)?;
        // `verify` also reads rows of files that failed this check before.
        let expected = Table::Slices.schema(&self.meta);
        self.same(
            &path,
            "schema",
            builder.schema().fields(),
            expected.fields(),
        )?;
        let mut rows = Vec::new();
        for batch in numbered(batches(&path, builder)?, path, self.rows(shard)) {
            let first = self.rows(shard).start as usize + rows.len();
            let batch = schema::decode_slices(&self.meta, &batch?);
            rows.extend(batch.map_err(|(row, invalid)| self.invalid(shard, first + row, invalid))?);
        }
        Ok(rows)
    }

    fn shard_rows(&self, shard: usize) -> Result<usize, Error> {
        let known = self.meta.shards.get(shard).map(|s| s.rows as usize);
        known.ok_or_else(|| Error::Missing {
            path: self.dir.clone(),
            what: format!("no shard {shard}, there are {}", self.meta.shards.len()),
            hint: "ask for a shard below that number",
        })
    }

    fn check_table(&self, table: Table, hint: &'static str) -> Result<(), Error> {
        if Table::of(&self.meta).contains(&table) {
            return Ok(());
        }
        Err(Error::Missing {
            path: self.dir.clone(),
            what: format!("the cache has no `{}` table", table.name()),
            hint,
        })
    }

    /// A column of a shard beside the rows' numbers; its values take at most `value_bytes` each.
    fn batches(
        &self,
        table: Table,
        shard: usize,
        column: &str,
        value_bytes: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
        let path = self.path(table, shard);
        let builder = self.file(table, shard)?.rows(value_bytes)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["row", column]);
        let found = batches(&path, builder.with_projection(mask))?;
        Ok(numbered(found, path, self.rows(shard)))
    }

    /// All columns of a table in a shard, `batch_rows` rows at a time.
    pub(crate) fn table_rows(
        &self,
        table: Table,
        shard: usize,
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
        let layers = 1..=self.meta.layers;
        let tensors = layers.filter_map(|layer| table.tensor_bytes(&self.meta, layer));
        let value_bytes = match table {
            Table::Slices => NAME_BYTES,
            Table::Picture => schema::picture_bytes(&self.meta),
            Table::Mask => {
                let slices = self.shard_slices(shard)?;
                slices.iter().map(mask_bytes).max().unwrap_or(0) as usize
            }
            Table::Cls | Table::Mean | Table::Patch | Table::Residual => tensors.max().unwrap_or(0),
        };
        let path = self.path(table, shard);
        let builder = self.file(table, shard)?.rows(value_bytes)?;
        let found = batches(&path, builder.with_batch_size(batch_rows))?;
        Ok(numbered(found, path, self.rows(shard)))
    }

    /// The numbers of a shard's rows.
    fn rows(&self, shard: usize) -> Range<u64> {
        let rows = |shards: &[Shard]| -> u64 {
            let rows = shards.iter().map(|s| u64::from(s.rows));
            self.first + rows.sum::<u64>()
        };
        rows(&self.meta.shards[..shard])..rows(&self.meta.shards[..=shard])
    }

    pub(crate) fn path(&self, table: Table, shard: usize) -> PathBuf {
        self.dir.join(self.folder(table)).join(shard_file(shard))
    }

    /// Folder of a table, relative to that of the cache.
    pub(crate) fn folder(&self, table: Table) -> String {
        let own = self.labels.as_ref().and_then(|labels| labels.folder(table));
        own.unwrap_or_else(|| table.name().to_owned())
    }

    /// A table's file with its checksums.
    pub(crate) fn file(&self, table: Table, shard: usize) -> Result<ParquetFile, Error> {
        let path = self.path(table, shard);
        let known = self.meta.shards.get(shard);
        let known = known.and_then(|shard| shard.tables.get(table.name()));
        let bytes = known.map(|file| file.bytes);
        let checksums = match known.filter(|file| file.has_checksums && self.has_checks) {
            Some(file) => Some(self.checksums(table, shard, file.bytes)?),
            None => None,
        };
        Ok(ParquetFile {
            path: path.into(),
            checksums,
            bytes,
        })
    }

    /// Checksums of a file of `bytes` bytes. Those of a bucket are read once.
    fn checksums(&self, table: Table, shard: usize, bytes: u64) -> Result<Arc<Checksums>, Error> {
        let path = checksums_of(&self.dir, &self.folder(table), &shard_file(shard));
        if !is_in_bucket(&self.dir) {
            return Checksums::read(&path, bytes);
        }
        let known = || {
            self.checksums
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(found) = known().get(&path) {
            return Ok(Arc::clone(found));
        }
        let found = Checksums::read(&path, bytes)?;
        known().insert(path, Arc::clone(&found));
        Ok(found)
    }
}

/// Whether a folder holds a cache, finished or not, or parts of one.
pub fn is_cache(dir: &Path) -> bool {
    store::is_file(&dir.join("meta.json")) || has_parts(dir)
}
