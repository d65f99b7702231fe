//! Reading a cache: opening is validation.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use ndarray::{Array2, Array3};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::meta::io_error;
use crate::schema::{self, Table};
use crate::write::shard_file;
use crate::{CacheMeta, Error, Mask, Picture, SliceMeta, sha256_file};

/// Rows of tensors, masks and pictures that are decoded at once.
const BATCH_ROWS: usize = 64;

const WITHOUT_PICTURES: &str = "extract into another --cache folder with `--pictures`";

/// An opened cache.
#[derive(Debug)]
pub struct CacheReader {
    dir: PathBuf,
    meta: CacheMeta,
    sha256: String,
}

impl CacheReader {
    /// Opens the finished cache `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`] if `extract` has not finished it, [`Error::Shard`] if a shard is
    /// missing or has another size, number of rows or schema than `meta.json` says, and what
    /// [`CacheMeta::read`] gives.
    pub fn open(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader::open_unfinished(dir)?;
        match reader.meta.complete {
            true => Ok(reader),
            false => Err(Error::Incomplete {
                path: dir.into(),
                rows: reader.meta.rows,
            }),
        }
    }

    /// Opens what is finished of the cache `dir`.
    pub(crate) fn open_unfinished(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader {
            dir: dir.into(),
            meta: CacheMeta::read(dir)?,
            sha256: sha256_file(&dir.join("meta.json"))?,
        };
        reader.check_shards()?;
        Ok(reader)
    }

    /// The folders below `root` that hold a cache, in the order of their paths.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a folder cannot be listed, and [`Error::NoCache`] if `root` does not exist.
    pub fn find(root: &Path) -> Result<Vec<PathBuf>, Error> {
        if !root.is_dir() {
            return Err(Error::NoCache { path: root.into() });
        }
        let mut found = Vec::new();
        for dataset in folders(root)? {
            let caches = folders(&dataset)?.into_iter();
            found.extend(caches.filter(|dir| dir.join("meta.json").is_file()));
        }
        Ok(found)
    }

    /// The cache's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the cache holds and how it was made.
    pub fn meta(&self) -> &CacheMeta {
        &self.meta
    }

    /// Hash of `meta.json`, and so, through the shards' hashes in it, of the whole cache.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Compares every file with its hash in `meta.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Shard`] for the first file that differs.
    pub fn verify(&self) -> Result<(), Error> {
        for (index, shard) in self.meta.shards.iter().enumerate() {
            for table in Table::of(&self.meta) {
                let path = self.path(table, index);
                let expected = shard.tables.get(table.name()).map(|f| &*f.sha256);
                let found = sha256_file(&path)?;
                self.same(&path, "sha256", &*found, expected.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// The rows of the `slices` table, `N` of them.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] or [`Error::Io`] if a shard cannot be read.
    pub fn slices(&self) -> Result<Vec<SliceMeta>, Error> {
        let mut rows = Vec::new();
        for shard in 0..self.meta.shards.len() {
            rows.extend(self.shard_slices(shard)?);
        }
        Ok(rows)
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
        let mut out = Array3::zeros((rows, shape.patches(), shape.patch as usize));
        self.read_tensor(Table::Patch, layer, shard, standard(&mut out))?;
        Ok(out)
    }

    /// The masks of one shard, each at its slice's height and width, in parts.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no masks or has no such shard, [`Error::Shard`] if a mask
    /// has another size than its slice; otherwise as [`slices`](Self::slices).
    pub fn masks(
        &self,
        shard: usize,
    ) -> Result<impl Iterator<Item = Result<Vec<Option<Mask>>, Error>> + use<>, Error> {
        self.shard_rows(shard)?;
        self.check_table(Table::Mask, "extract a dataset that has masks")?;
        let slices = self.shard_slices(shard)?;
        let sizes: Vec<_> = slices.iter().map(|s| (s.height, s.width)).collect();
        let path = self.path(Table::Mask, shard);
        let mut first = 0;
        let batches = self.batches(Table::Mask, shard, "mask")?;
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let sizes = &sizes[first..];
            let decoded = schema::decode_masks(batch.column(1).as_binary(), sizes);
            let masks = decoded.map_err(|row| Error::Shard {
                path: path.clone(),
                what: "size of a mask",
                found: format!("wrong in row {}", first + row),
                expected: format!("{} x {}", sizes[row].0, sizes[row].1),
            })?;
            first += masks.len();
            Ok(masks)
        }))
    }

    /// What the backbone saw of one shard's slices, `[S, S]` each, in parts.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no pictures or has no such shard; otherwise as
    /// [`slices`](Self::slices).
    pub fn pictures(
        &self,
        shard: usize,
    ) -> Result<impl Iterator<Item = Result<Vec<Picture>, Error>> + use<>, Error> {
        self.shard_rows(shard)?;
        self.check_table(Table::Picture, WITHOUT_PICTURES)?;
        let side = self.meta.image_size;
        let batches = self.batches(Table::Picture, shard, "picture")?;
        Ok(batches.map(move |batch| Ok(decode_pictures(&batch?, side))))
    }

    /// What the backbone saw of the slice in row `row`, `[S, S]`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no pictures or has no such row; otherwise as
    /// [`slices`](Self::slices).
    pub fn picture(&self, row: usize) -> Result<Picture, Error> {
        self.check_table(Table::Picture, WITHOUT_PICTURES)?;
        let missing = || Error::Missing {
            path: self.dir.clone(),
            what: format!("no row {row}, there are {}", self.meta.rows),
            hint: "ask for a row below that number",
        };
        let shards = self.meta.shards.iter().map(|shard| shard.rows as usize);
        let (shard, row_in_shard) = located(row, shards).ok_or_else(missing)?;
        let path = self.path(Table::Picture, shard);
        let builder = parquet_reader(&path)?;
        let groups = builder.metadata().row_groups().iter();
        let groups = groups.map(|group| group.num_rows() as usize);
        let (group, row_in_group) = located(row_in_shard, groups).ok_or_else(missing)?;
        let reader = builder
            .with_row_groups(vec![group])
            .with_offset(row_in_group)
            .with_limit(1)
            .build()
            .map_err(parquet_error(&path))?;
        let mut found = numbered(batches(reader, path.clone()), path, row as u64);
        let pictures = decode_pictures(&found.next().ok_or_else(missing)??, self.meta.image_size);
        pictures.into_iter().next().ok_or_else(missing)
    }

    pub(crate) fn shard_slices(&self, shard: usize) -> Result<Vec<SliceMeta>, Error> {
        let path = self.path(Table::Slices, shard);
        let reader = parquet_reader(&path)?
            .build()
            .map_err(parquet_error(&path))?;
        let mut rows = Vec::new();
        for batch in numbered(batches(reader, path.clone()), path, self.first_row(shard)) {
            let batch = schema::decode_slices(&self.meta, &batch?);
            rows.extend(batch.map_err(|row| Error::Shard {
                path: self.path(Table::Slices, shard),
                what: "placement of a slice",
                found: format!("wrong in row {}", rows.len() + row),
                expected: "an affine and three axes, or neither".to_string(),
            })?);
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
        let rows = self.meta.shards.iter().map(|s| s.rows as usize).sum();
        let width = self.row_values(table, layer);
        let mut out = Array2::zeros((rows, width));
        let mut rest = standard(&mut out);
        for (index, shard) in self.meta.shards.iter().enumerate() {
            let (here, after) = rest.split_at_mut(shard.rows as usize * width);
            self.read_tensor(table, layer, index, here)?;
            rest = after;
        }
        Ok(out)
    }

    fn read_tensor(
        &self,
        table: Table,
        layer: u32,
        shard: usize,
        mut out: &mut [f32],
    ) -> Result<(), Error> {
        let values = self.row_values(table, layer);
        for batch in self.batches(table, shard, &table.column(layer))? {
            let batch = batch?;
            let (here, after) = out.split_at_mut(batch.num_rows() * values);
            schema::decode_tensors(batch.column(1), here);
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

    fn batches(
        &self,
        table: Table,
        shard: usize,
        column: &str,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
        let path = self.path(table, shard);
        let builder = parquet_reader(&path)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["row", column]);
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(parquet_error(&path))?;
        Ok(numbered(
            batches(reader, path.clone()),
            path,
            self.first_row(shard),
        ))
    }

    fn first_row(&self, shard: usize) -> u64 {
        let before = &self.meta.shards[..shard];
        before.iter().map(|s| u64::from(s.rows)).sum()
    }

    pub(crate) fn path(&self, table: Table, shard: usize) -> PathBuf {
        self.dir.join(table.name()).join(shard_file(shard))
    }

    fn check_shards(&self) -> Result<(), Error> {
        let total: u64 = self.meta.shards.iter().map(|s| u64::from(s.rows)).sum();
        let meta_path = self.dir.join("meta.json");
        self.same(&meta_path, "sum of the shards' rows", total, self.meta.rows)?;
        if self.meta.complete && total == 0 {
            return Err(Error::Shard {
                path: meta_path,
                what: "number of rows of a complete cache",
                found: "0".to_string(),
                expected: "at least 1".to_string(),
            });
        }
        for (index, shard) in self.meta.shards.iter().enumerate() {
            for table in Table::of(&self.meta) {
                let path = self.path(table, index);
                let expected = shard.tables.get(table.name()).map_or(0, |f| f.bytes);
                let bytes = fs::metadata(&path).map_err(|_| Error::Shard {
                    path: path.clone(),
                    what: "the shard",
                    found: "missing".into(),
                    expected: format!("{expected} bytes"),
                });
                self.same(&path, "size in bytes", bytes?.len(), expected)?;
                let reader = parquet_reader(&path)?;
                let rows = reader.metadata().file_metadata().num_rows();
                self.same(&path, "number of rows", rows, i64::from(shard.rows))?;
                let (found, expected) = (reader.schema(), table.schema(&self.meta));
                self.same(&path, "schema", found.fields(), expected.fields())?;
            }
        }
        Ok(())
    }

    fn same<T: PartialEq + std::fmt::Debug>(
        &self,
        path: &Path,
        what: &'static str,
        found: T,
        expected: T,
    ) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Shard {
            path: path.into(),
            what,
            found: format!("{found:?}"),
            expected: format!("{expected:?}"),
        })
    }
}

/// The part that holds `index`, and its place there; the parts have these lengths, in order.
fn located(mut index: usize, lengths: impl Iterator<Item = usize>) -> Option<(usize, usize)> {
    for (part, length) in lengths.enumerate() {
        match index.checked_sub(length) {
            None => return Some((part, index)),
            Some(after) => index = after,
        }
    }
    None
}

fn decode_pictures(batch: &RecordBatch, side: u32) -> Vec<Picture> {
    schema::decode_pictures(batch.column(1).as_fixed_size_binary(), side)
}

fn standard<D: ndarray::Dimension>(out: &mut ndarray::Array<f32, D>) -> &mut [f32] {
    out.as_slice_mut()
        .expect("a new array is in standard layout")
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error(dir, "list"))? {
        let path = entry.map_err(io_error(dir, "list"))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn parquet_reader(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, Error> {
    let file = File::open(path).map_err(io_error(path, "open"))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(parquet_error(path))
}

fn batches(
    reader: ParquetRecordBatchReader,
    path: PathBuf,
) -> impl Iterator<Item = Result<RecordBatch, Error>> {
    reader.map(move |batch| batch.map_err(|e| parquet_error(&path)(e.into())))
}

/// The batches of a shard, found to hold the rows from `row` on: shards that were swapped are not
/// mistaken for one another.
fn numbered(
    batches: impl Iterator<Item = Result<RecordBatch, Error>>,
    path: PathBuf,
    mut row: u64,
) -> impl Iterator<Item = Result<RecordBatch, Error>> {
    batches.map(move |batch| {
        let batch = batch?;
        let rows = batch.column(0).as_primitive::<UInt64Type>();
        for &found in rows.values() {
            if found != row {
                return Err(wrong_row(&path, found, row));
            }
            row += 1;
        }
        Ok(batch)
    })
}

pub(crate) fn wrong_row(path: &Path, found: u64, expected: u64) -> Error {
    Error::Shard {
        path: path.into(),
        what: "row number",
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

pub(crate) fn parquet_error(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Parquet { path, source }
}
