//! Writer of a cache: appends batches, closes shards, resumes after a stop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use common::files::sync_dir;
use ndarray::{Array2, Axis, Slice};

use crate::batch_check;
use crate::clean::delete_unnamed;
use crate::error::io_error;
use crate::folder::{checksums_of, lock, shard_file};
use crate::hashing_file::ClosingFile;
use crate::patch_writer::PatchWriter;
use crate::schema::{self, Table};
use crate::table_writer::TableWriter;
use crate::verify::check_shards;
use crate::{CacheMeta, CacheReader, Error, Shard, Skipped, TokenBatch};

/// End of a cache: the last slice in a finished shard.
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
pub struct CacheWriter {
    dir: PathBuf,
    meta: CacheMeta,
    /// All rows but those of `meta` are in these two.
    closing: Option<ClosingShard>,
    open: Option<OpenShard>,
    /// Locked as long as the writer lives.
    _lock: File,
}

struct OpenShard {
    rows: u32,
    tables: Vec<(Table, TableWriter)>,
    patches: Option<PatchWriter>,
}

/// A shard that is written, and may not be synced yet.
struct ClosingShard {
    rows: u32,
    tables: Vec<(Table, ClosingFile)>,
}

impl ClosingShard {
    fn is_on_disk(&self) -> bool {
        self.tables.iter().all(|(_, file)| file.is_on_disk())
    }
}

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
        fs::create_dir_all(dir).map_err(io_error(dir, "create the folder"))?;
        let lock = lock(dir)?;
        let run = run.without_plain_shapes();
        run.check(dir)?;
        let meta = match CacheMeta::read(dir) {
            // Nothing lies there that another run could be mixed with.
            Ok(meta) if meta.is_blank() && meta.check_same(&run, dir).is_err() => start(dir, run)?,
            Ok(meta) => {
                meta.check_same(&run, dir)?;
                let reader = CacheReader::open_unfinished(dir)?;
                // A finished cache is not written to; `extract verify` checks it.
                if !meta.complete {
                    check_shards(&reader)?;
                }
                meta
            }
            Err(Error::NoCache { .. }) => start(dir, run)?,
            Err(error) => return Err(error),
        };
        let writer = CacheWriter {
            dir: dir.into(),
            meta,
            closing: None,
            open: None,
            _lock: lock,
        };
        delete_unnamed(dir, &writer.meta)?;
        Ok(writer)
    }

    /// The cache's description so far.
    pub fn meta(&self) -> &CacheMeta {
        &self.meta
    }

    /// The last slice in a finished shard, or `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`] or [`Error::Io`] if the last shard cannot be read.
    pub fn position(&self) -> Result<Option<Position>, Error> {
        if self.meta.shards.is_empty() {
            return Ok(None);
        }
        let reader = CacheReader::open_unfinished(&self.dir)?;
        let last = reader.shard_slices(self.meta.shards.len() - 1)?.pop();
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
        let mut start = 0;
        while start < batch.slices.len() {
            let full = self.meta.shard_rows.max(1);
            let free = (full - self.open_rows()) as usize;
            let end = batch.slices.len().min(start + free);
            self.append_rows(batch, start, end)?;
            if self.open_rows() == full {
                self.close_shard()?;
            }
            start = end;
        }
        Ok(())
    }

    /// Sets the difference of the run's tokens from the reference; it is saved with the next shard.
    pub fn set_parity(&mut self, parity: serde_json::Value) {
        self.meta.parity = Some(parity);
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

    /// Closes the last shard and declares the cache complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Parquet`] if the shard or `meta.json` cannot be written.
    pub fn finish(mut self) -> Result<CacheMeta, Error> {
        self.close_shard()?;
        self.meta.complete = true;
        if self.closing.is_some() {
            self.name_shard()?;
        } else {
            self.meta.write(&self.dir)?;
        }
        Ok(self.meta.clone())
    }

    /// Rows that were appended, in this run and earlier ones.
    fn rows(&self) -> u64 {
        let closing = self.closing.as_ref().map_or(0, |shard| shard.rows);
        self.meta.rows + u64::from(closing) + u64::from(self.open_rows())
    }

    fn open_rows(&self) -> u32 {
        self.open.as_ref().map_or(0, |shard| shard.rows)
    }

    fn append_rows(&mut self, batch: &TokenBatch, start: usize, end: usize) -> Result<(), Error> {
        let first = self.rows();
        if self.open.is_none() {
            self.open = Some(self.create_shard()?);
        }
        let meta = &self.meta;
        let Some(shard) = self.open.as_mut() else {
            return Ok(());
        };
        for (table, writer) in &mut shard.tables {
            let rows = encode(*table, meta, first, batch, start..end)
                .map_err(|e| writer.error(e.into()))?;
            if let Some(rows) = rows {
                writer.write(&rows)?;
            }
        }
        if let Some(writer) = &mut shard.patches {
            writer.write(first, &batch.patch, start..end)?;
        }
        shard.rows += u32::try_from(end - start).unwrap_or(u32::MAX);
        Ok(())
    }

    fn create_shard(&self) -> Result<OpenShard, Error> {
        let name = shard_file(self.meta.shards.len() + usize::from(self.closing.is_some()));
        let mut shard = OpenShard {
            rows: 0,
            tables: Vec::new(),
            patches: None,
        };
        for table in Table::of(&self.meta) {
            let path = self.dir.join(table.name()).join(&name);
            let sums = checksums_of(&self.dir, table.name(), &name);
            if table == Table::Patch {
                shard.patches = Some(PatchWriter::create(path, sums, &self.meta)?);
            } else {
                let writer = TableWriter::create(path, sums, table, &self.meta)?;
                shard.tables.push((table, writer));
            }
        }
        Ok(shard)
    }

    /// Ends the open shard, after the previous one has been renamed.
    fn close_shard(&mut self) -> Result<(), Error> {
        let Some(shard) = self.open.take() else {
            return Ok(());
        };
        self.name_shard()?;
        let tables = shard.tables.into_iter();
        let tables = tables.map(|(table, writer)| Ok((table, writer.close()?)));
        let mut tables = tables.collect::<Result<Vec<_>, Error>>()?;
        if let Some(writer) = shard.patches {
            tables.push((Table::Patch, writer.close()?));
        }
        self.closing = Some(ClosingShard {
            rows: shard.rows,
            tables,
        });
        Ok(())
    }

    /// Waits until the last closed shard is synced, and lists it in `meta.json`.
    fn name_shard(&mut self) -> Result<(), Error> {
        let Some(shard) = self.closing.take() else {
            return Ok(());
        };
        let mut tables = BTreeMap::new();
        for (table, file) in shard.tables {
            tables.insert(table.name().to_string(), file.finish()?);
            let folder = self.dir.join(table.name());
            sync_dir(&folder).map_err(io_error(&folder, "sync"))?;
        }
        self.meta.rows += u64::from(shard.rows);
        self.meta.shards.push(Shard {
            rows: shard.rows,
            tables,
        });
        self.meta.write(&self.dir)
    }
}

impl Drop for CacheWriter {
    /// Lists the last closed shard, also after an error.
    fn drop(&mut self) {
        let _ = self.name_shard();
    }
}

/// Rows of a table; `None` of patch tokens, which [`PatchWriter`] encodes.
fn encode(
    table: Table,
    meta: &CacheMeta,
    first: u64,
    batch: &TokenBatch,
    rows: std::ops::Range<usize>,
) -> Result<Option<RecordBatch>, ArrowError> {
    let cut = Slice::from(rows.clone());
    let tensors = |layers: &[Array2<f32>]| {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| layer.slice_axis(Axis(0), cut))
            .collect();
        schema::encode_tensors(table, meta, first, &layers)
    };
    match table {
        Table::Slices => schema::encode_slices(meta, first, &batch.slices[rows]),
        Table::Mask => schema::encode_masks(meta, first, &batch.masks[rows]),
        Table::Picture => schema::encode_pictures(meta, first, &batch.pictures[rows]),
        Table::Cls => tensors(&batch.cls),
        Table::Mean => tensors(&batch.mean),
        Table::Patch => return Ok(None),
    }
    .map(Some)
}

fn start(dir: &Path, run: CacheMeta) -> Result<CacheMeta, Error> {
    let meta = CacheMeta {
        rows: 0,
        shards: Vec::new(),
        skipped: Vec::new(),
        complete: false,
        ..run
    };
    for table in Table::of(&meta) {
        let folder = dir.join(table.name());
        fs::create_dir_all(&folder).map_err(io_error(&folder, "create the folder"))?;
    }
    meta.write(dir)?;
    Ok(meta)
}
