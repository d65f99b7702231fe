//! Reading a cache: opening is validation.

use std::fs;
use std::io;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use common::{Mask, Picture, sha256_file};
use half::f16;
use ndarray::{Array2, Array3};
use parquet::arrow::ProjectionMask;

use crate::meta::io_error;
use crate::rows::{self, Invalid, Known, NAME_BYTES};
use crate::schema::{self, Table, picture_bytes};
use crate::table_reader::{batches, load, rows as rows_of};
use crate::write::shard_file;
use crate::{CacheMeta, Error, Shard, SliceMeta};

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
    /// missing or has another size, number of rows or schema than `meta.json` says, or if a row of
    /// `slices` holds what none may, [`Error::Parquet`] if one is damaged, and what
    /// [`CacheMeta::read`] gives.
    pub fn open(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader::open_unfinished(dir)?;
        if !reader.meta.complete {
            return Err(Error::Incomplete {
                path: dir.into(),
                rows: reader.meta.rows,
            });
        }
        reader.check_rows()?;
        Ok(reader)
    }

    /// Opens a finished cache that the run `run` would write. Unlike
    /// [`CacheWriter::open`](crate::CacheWriter::open) it writes nothing, so that the cache may lie
    /// where nothing can be written.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::OtherSamples`] if another run wrote it, and those of
    /// [`CacheReader::open`].
    pub fn open_same(dir: &Path, run: &CacheMeta) -> Result<CacheReader, Error> {
        CacheMeta::read(dir)?.check_same(run, dir)?;
        CacheReader::open(dir)
    }

    /// Opens what is finished of the cache `dir`.
    pub(crate) fn open_unfinished(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader {
            dir: dir.into(),
            meta: CacheMeta::read(dir)?,
            sha256: sha256_file(&dir.join("meta.json"))
                .map_err(io_error(dir, "read `meta.json` of"))?,
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
                let found = sha256_file(&path).map_err(io_error(&path, "read"))?;
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
        let shape = (rows, shape.patches(), shape.patch as usize);
        let mut out = self.zeros(shape.0 * shape.1 * shape.2)?;
        self.read_tensor(Table::Patch, layer, shard, &mut out)?;
        Ok(Array3::from_shape_vec(shape, out).expect("as many values as the shape says"))
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
        let largest = slices.iter().map(rows::mask_bytes).max().unwrap_or(0);
        let path = self.path(Table::Mask, shard);
        let mut first = 0;
        let batches = self.batches(Table::Mask, shard, "mask", largest as usize)?;
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
        let bytes = picture_bytes(&self.meta);
        let batches = self.batches(Table::Picture, shard, "picture", bytes)?;
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
        let builder = rows_of(&path, picture_bytes(&self.meta))?;
        let groups = builder.metadata().row_groups().iter();
        let groups = groups.map(|group| group.num_rows() as usize);
        let (group, row_in_group) = located(row_in_shard, groups).ok_or_else(missing)?;
        let builder = builder
            .with_row_groups(vec![group])
            .with_offset(row_in_group)
            .with_limit(1);
        let mut found = numbered(batches(&path, builder)?, path, row as u64..row as u64 + 1);
        let pictures = decode_pictures(&found.next().ok_or_else(missing)??, self.meta.image_size);
        pictures.into_iter().next().ok_or_else(missing)
    }

    pub(crate) fn shard_slices(&self, shard: usize) -> Result<Vec<SliceMeta>, Error> {
        let path = self.path(Table::Slices, shard);
        let builder = rows_of(&path, NAME_BYTES)?;
        let mut rows = Vec::new();
        for batch in numbered(batches(&path, builder)?, path, self.rows(shard)) {
            let first = self.rows(shard).start as usize + rows.len();
            let batch = schema::decode_slices(&self.meta, &batch?);
            rows.extend(batch.map_err(|(row, invalid)| self.invalid(shard, first + row, invalid))?);
        }
        Ok(rows)
    }

    /// Compares the rows of `slices` with each other.
    fn check_rows(&self) -> Result<(), Error> {
        let slices = self.slices()?;
        let mut known = Known::default();
        let mut added = slices.iter().map(|slice| known.add(slice)).enumerate();
        let Some((row, Err(invalid))) = added.find(|(_, added)| added.is_err()) else {
            return Ok(());
        };
        let shards = self.meta.shards.iter().map(|shard| shard.rows as usize);
        let (shard, _) = located(row, shards).unwrap_or_default();
        Err(self.invalid(shard, row, invalid))
    }

    fn invalid(&self, shard: usize, row: usize, invalid: Invalid) -> Error {
        Error::Shard {
            path: self.path(Table::Slices, shard),
            what: invalid.what,
            found: format!("{} in row {row}", invalid.found),
            expected: invalid.expected,
        }
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
        let mut rest = &mut out[..];
        for (index, shard) in self.meta.shards.iter().enumerate() {
            let (here, after) = rest.split_at_mut(shard.rows as usize * width);
            self.read_tensor(table, layer, index, here)?;
            rest = after;
        }
        Ok(Array2::from_shape_vec((rows, width), out).expect("as many values as the shape says"))
    }

    /// As many zeros; the files hold half as many bytes, as has been checked.
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
        let bytes = values * size_of::<f16>();
        for batch in self.batches(table, shard, &table.column(layer), bytes)? {
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

    /// A column of a shard beside the rows' numbers; its values take at most `value_bytes` each.
    fn batches(
        &self,
        table: Table,
        shard: usize,
        column: &str,
        value_bytes: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
        let path = self.path(table, shard);
        let builder = rows_of(&path, value_bytes)?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), ["row", column]);
        let found = batches(&path, builder.with_projection(mask))?;
        Ok(numbered(found, path, self.rows(shard)))
    }

    /// The numbers of a shard's rows.
    fn rows(&self, shard: usize) -> Range<u64> {
        let rows = |shards: &[Shard]| -> u64 { shards.iter().map(|s| u64::from(s.rows)).sum() };
        rows(&self.meta.shards[..shard])..rows(&self.meta.shards[..=shard])
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
                self.check_table_of(table, index, shard)?;
            }
        }
        Ok(())
    }

    fn check_table_of(&self, table: Table, index: usize, shard: &Shard) -> Result<(), Error> {
        let path = self.path(table, index);
        let expected = shard.tables.get(table.name()).map_or(0, |f| f.bytes);
        check_place(&self.dir, &path, || format!("{expected} bytes"))?;
        let bytes = fs::metadata(&path).map_err(io_error(&path, "read"))?.len();
        self.same(&path, "size in bytes", bytes, expected)?;
        let layers = 1..=self.meta.layers;
        let tensors = layers.filter_map(|layer| table.tensor_bytes(self.meta.shape(layer)));
        let least = u64::from(shard.rows).saturating_mul(tensors.sum::<usize>() as u64);
        if bytes < least {
            return Err(Error::Shard {
                path,
                what: "size in bytes",
                found: bytes.to_string(),
                expected: format!("at least {least}, as tokens are not compressed"),
            });
        }
        let metadata = load(&path)?;
        let rows = metadata.metadata().file_metadata().num_rows();
        self.same(&path, "number of rows", rows, i64::from(shard.rows))?;
        let (found, expected) = (metadata.schema(), table.schema(&self.meta));
        self.same(&path, "schema", found.fields(), expected.fields())
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

/// Refuses what is no file in the cache's folder, however it came to be there.
pub(crate) fn check_place(
    dir: &Path,
    path: &Path,
    expected: impl FnOnce() -> String,
) -> Result<(), Error> {
    let found = match (fs::canonicalize(dir), fs::canonicalize(path)) {
        (Ok(dir), Ok(real)) if real.starts_with(&dir) && real.is_file() => return Ok(()),
        (Ok(_), Ok(real)) if real.is_file() => "a link that leads out of the cache",
        (_, Err(error)) if error.kind() != io::ErrorKind::NotFound => "not readable",
        (_, Err(_)) => "missing",
        _ => "no file",
    };
    Err(Error::Shard {
        path: path.into(),
        what: "the file",
        found: found.into(),
        expected: expected(),
    })
}

/// The batches of a shard, found to hold exactly these rows: shards that were swapped are not mistaken
/// for one another, and none ends early.
fn numbered(
    mut batches: impl Iterator<Item = Result<RecordBatch, Error>>,
    path: PathBuf,
    mut rows: Range<u64>,
) -> impl Iterator<Item = Result<RecordBatch, Error>> {
    iter::from_fn(move || {
        let batch = match batches.next() {
            Some(Ok(batch)) => batch,
            None if !rows.is_empty() => {
                let (first, last) = (rows.start, rows.end - 1);
                rows = 0..0;
                return Some(Err(Error::Shard {
                    path: path.clone(),
                    what: "end of the rows",
                    found: format!("before row {first}"),
                    expected: format!("behind row {last}"),
                }));
            }
            end => return end,
        };
        let numbers = batch.column(0).as_primitive::<UInt64Type>().values();
        let wrong = numbers.iter().find(|&&found| rows.next() != Some(found));
        let wrong = wrong.map(|&found| wrong_row(&path, found, rows.start.saturating_sub(1)));
        Some(wrong.map_or(Ok(batch), Err))
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
