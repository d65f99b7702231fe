//! Reader of a finished cache. Opening validates it.

mod batches;
mod check;
mod images;

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use common::sha256_bytes;
use ndarray::{Array2, Array3};
use parquet::arrow::ProjectionMask;

use self::batches::numbered;
pub(crate) use self::batches::wrong_row;
pub(crate) use self::check::check_place;
use crate::checksums::Checksums;
use crate::error::io_error;
use crate::folder::{checksums_of, pending, shard_file};
use crate::parts::has_parts;
use crate::rows::{NAME_BYTES, mask_bytes};
use crate::schema::{self, Table};
use crate::table_reader::{ParquetFile, batches};
use crate::{
    CacheMeta, Error, LabelSet, NamedLabels, ORIGINAL, Parts, Shard, SliceMeta, is_in_bucket,
    labels, parallel, store,
};

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
    /// Opens the finished cache `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`] or [`Error::Parts`] if `extract` has not finished it, [`Error::Shard`] if a shard is
    /// missing, differs from `meta.json` in size, number of rows or schema, or if a row of `slices` is
    /// invalid, [`Error::Parquet`] if a shard is damaged, and those of [`CacheMeta::read`].
    pub fn open(dir: &Path) -> Result<CacheReader, Error> {
        CacheReader::open_unfinished(dir)?.finished()
    }

    /// Opens the finished cache `dir` without comparing what is read with checksums, now or later: damage may
    /// pass as a value.
    ///
    /// # Errors
    ///
    /// As [`CacheReader::open`].
    pub fn open_unverified(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader {
            has_checks: false,
            ..CacheReader::of_meta(dir)?
        };
        reader.check_shards()?;
        reader.finished()
    }

    /// The reader with the labels, patients and masks of a label set; [`ORIGINAL`] are those of the
    /// extraction.
    ///
    /// # Errors
    ///
    /// [`Error::NoLabels`], and [`Error::LabelSet`], [`Error::Shard`] and [`Error::Parquet`] if the set is
    /// damaged.
    pub fn with_labels(self, name: &str) -> Result<CacheReader, Error> {
        if name == ORIGINAL {
            return Ok(self);
        }
        let reader = self.of_labels(name)?;
        for shard in 0..reader.meta.shards.len() {
            for table in reader.label_tables() {
                reader.check_table_of(table, shard)?;
            }
        }
        reader.check_rows()?;
        Ok(reader)
    }

    /// The label set that is used; `None` for the labels of the extraction.
    pub fn labels(&self) -> Option<&NamedLabels> {
        self.labels.as_ref()
    }

    /// Sorted names of the label sets.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn label_sets(&self) -> Result<Vec<String>, Error> {
        labels::names(&self.dir)
    }

    /// As [`with_labels`](Self::with_labels), after reading the description only.
    pub(crate) fn of_labels(self, name: &str) -> Result<CacheReader, Error> {
        let (set, sha256) = LabelSet::read(&self.dir, name)?;
        let meta = set.of_cache(&self.dir, name, &self.meta)?;
        meta.check(&self.dir)?;
        Ok(CacheReader {
            meta,
            labels: Some(NamedLabels {
                name: name.to_owned(),
                sha256,
                has_masks: set.has_masks(),
            }),
            ..self
        })
    }

    /// Tables of the label set that is used.
    pub(crate) fn label_tables(&self) -> Vec<Table> {
        let labels = self.labels.as_ref();
        let has = |table: &Table| labels.is_some_and(|labels| labels.folder(*table).is_some());
        Table::ALL.into_iter().filter(has).collect()
    }

    /// Opens a finished cache that the run `run` would write. Unlike
    /// [`CacheWriter::open`](crate::CacheWriter::open) it writes nothing, so the folder may be read-only.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::OtherSamples`] if another run wrote it, and those of
    /// [`CacheReader::open`].
    pub fn open_same(dir: &Path, run: &CacheMeta) -> Result<CacheReader, Error> {
        CacheMeta::read(dir)?.check_same(run, dir)?;
        CacheReader::open(dir)
    }

    /// The reader of a finished cache, after a check of its rows.
    fn finished(self) -> Result<CacheReader, Error> {
        if !self.meta.complete {
            if let Some(parts) = Parts::of(&self.dir)? {
                return Err(parts.unjoined());
            }
            return Err(Error::Incomplete {
                path: self.dir,
                rows: self.meta.saved_rows(),
            });
        }
        self.check_rows()?;
        Ok(self)
    }

    /// Opens the finished shards of the cache `dir`, which may not be complete.
    ///
    /// # Errors
    ///
    /// As [`CacheReader::open`].
    pub fn open_unfinished(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader::of_meta(dir)?;
        reader.check_shards()?;
        Ok(reader)
    }

    /// Opens a cache after reading `meta.json` only.
    pub(crate) fn of_meta(dir: &Path) -> Result<CacheReader, Error> {
        let text = CacheMeta::read_text(dir)?;
        Ok(CacheReader {
            dir: dir.into(),
            meta: CacheMeta::parse(dir, &text)?,
            sha256: sha256_bytes(&text),
            first: 0,
            labels: None,
            has_checks: true,
            checksums: Mutex::default(),
        })
    }

    /// A reader of `parts`, which hold the rows after the shards of the cache `dir`, below `pending/`.
    pub(crate) fn of_pending(dir: &Path, meta: &CacheMeta, parts: Vec<Shard>) -> CacheReader {
        CacheReader {
            dir: pending(dir),
            meta: CacheMeta {
                rows: parts.iter().map(|part| u64::from(part.rows)).sum(),
                shards: parts,
                pending: Vec::new(),
                ..meta.clone()
            },
            sha256: String::new(),
            first: meta.rows,
            labels: None,
            has_checks: true,
            checksums: Mutex::default(),
        }
    }

    /// The folders below `root` that hold a cache, or parts of one, in the order of their paths.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a folder cannot be listed, and [`Error::NoCache`] if `root` does not exist.
    pub fn find(root: &Path) -> Result<Vec<PathBuf>, Error> {
        if !is_in_bucket(root) && !root.is_dir() {
            return Err(Error::NoCache { path: root.into() });
        }
        let mut found = Vec::new();
        for dataset in folders(root)? {
            let caches = folders(&dataset)?.into_iter();
            found.extend(caches.filter(|dir| is_cache(dir)));
        }
        Ok(found)
    }

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

    /// CLS tokens of a layer, `[N, D]`, `D` being the layer's; layer 1 is the last block.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache has no such layer; otherwise as [`slices`](Self::slices).
    pub fn cls(&self, layer: u32) -> Result<Array2<f32>, Error> {
        self.tokens(Table::Cls, layer)
    }

    /// Means of the patch tokens of a layer, `[N, D]`.
    ///
    /// # Errors
    ///
    /// As [`cls`](Self::cls).
    pub fn mean(&self, layer: u32) -> Result<Array2<f32>, Error> {
        self.tokens(Table::Mean, layer)
    }

    /// Patch tokens of a layer in one shard, `[rows, P, D]`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no patch tokens or has no such layer or shard;
    /// otherwise as [`slices`](Self::slices).
    pub fn patch(&self, layer: u32, shard: usize) -> Result<Array3<f32>, Error> {
        let rows = self.shard_rows(shard)?;
        self.check_layer(Table::Patch, layer)?;
        let shape = self.meta.shape(layer);
        let shape = (rows, shape.patches(), shape.patch as usize);
        let mut out = self.zeros(shape.0 * shape.1 * shape.2)?;
        self.read_tensor(Table::Patch, layer, shard, &mut out)?;
        Ok(Array3::from_shape_vec(shape, out).expect("as many values as the shape says"))
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

    fn tokens(&self, table: Table, layer: u32) -> Result<Array2<f32>, Error> {
        self.check_layer(table, layer)?;
        let rows: usize = self.meta.shards.iter().map(|s| s.rows as usize).sum();
        let width = self.row_values(table, layer);
        let mut out = self.zeros(rows * width)?;
        let (mut rest, mut parts) = (&mut out[..], Vec::new());
        for shard in &self.meta.shards {
            let (here, after) = rest.split_at_mut(shard.rows as usize * width);
            parts.push(Mutex::new(here));
            rest = after;
        }
        parallel::map(store::threads(&self.dir), parts.len(), |shard| {
            let mut out = parts[shard].lock().unwrap_or_else(PoisonError::into_inner);
            self.read_tensor(table, layer, shard, &mut out)
        })?;
        drop(parts);
        Ok(Array2::from_shape_vec((rows, width), out).expect("as many values as the shape says"))
    }

    /// CLS tokens of a layer in one shard, or means of its patch tokens, `[rows, D]`.
    pub(crate) fn shard_tokens(
        &self,
        table: Table,
        layer: u32,
        shard: usize,
    ) -> Result<Array2<f32>, Error> {
        let (rows, width) = (self.shard_rows(shard)?, self.row_values(table, layer));
        let mut out = self.zeros(rows * width)?;
        self.read_tensor(table, layer, shard, &mut out)?;
        Ok(Array2::from_shape_vec((rows, width), out).expect("as many values as the shape says"))
    }

    /// Allocates zeros; the number has been checked against the sizes of the files, which hold at least a
    /// quarter of the bytes.
    fn zeros(&self, values: usize) -> Result<Vec<f32>, Error> {
        let mut zeros = Vec::new();
        zeros.try_reserve_exact(values).map_err(|_| Error::Memory {
            path: self.dir.clone(),
            bytes: values.saturating_mul(size_of::<f32>()),
        })?;
        zeros.resize(values, 0.0);
        Ok(zeros)
    }

    fn read_tensor(
        &self,
        table: Table,
        layer: u32,
        shard: usize,
        mut out: &mut [f32],
    ) -> Result<(), Error> {
        let values = self.row_values(table, layer);
        let encoding = table.encoding(&self.meta, layer);
        let bytes = encoding.bytes(values);
        for batch in self.batches(table, shard, &table.column(layer), bytes)? {
            let batch = batch?;
            let (here, after) = out.split_at_mut(batch.num_rows() * values);
            schema::decode_tensors(batch.column(1), encoding, here);
            out = after;
        }
        Ok(())
    }

    fn row_values(&self, table: Table, layer: u32) -> usize {
        let values = table.tensor_values(self.meta.shape(layer));
        values.unwrap_or_default()
    }

    pub(crate) fn check_layer(&self, table: Table, layer: u32) -> Result<(), Error> {
        self.check_table(table, "extract again with `--tokens all`")?;
        if layer == 0 || layer > self.meta.layers {
            return Err(Error::Missing {
                path: self.dir.clone(),
                what: format!("no layer {layer}, the cache has 1 to {}", self.meta.layers),
                hint: "layer 1 is the last block; extract again with more `--layers`",
            });
        }
        Ok(())
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
            Table::Cls | Table::Mean | Table::Patch => tensors.max().unwrap_or(0),
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
    fn folder(&self, table: Table) -> String {
        let own = self.labels.as_ref().and_then(|labels| labels.folder(table));
        own.unwrap_or_else(|| table.name().to_owned())
    }

    /// A table's file with its checksums.
    pub(crate) fn file(&self, table: Table, shard: usize) -> Result<ParquetFile, Error> {
        let path = self.path(table, shard);
        let known = self.meta.shards.get(shard);
        let known = known.and_then(|shard| shard.tables.get(table.name()));
        let checksums = match known.filter(|file| file.has_checksums && self.has_checks) {
            Some(file) => Some(self.checksums(table, shard, file.bytes)?),
            None => None,
        };
        Ok(ParquetFile {
            path: path.into(),
            checksums,
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

fn folders(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    store::folders(dir).map_err(io_error(dir, "list"))
}
