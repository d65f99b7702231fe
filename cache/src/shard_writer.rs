//! Writer of one shard: all tables of its rows.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use common::files::sync_dir;
use ndarray::{Array2, Axis, Slice};
use parquet::file::metadata::KeyValue;

use crate::error::io_error;
use crate::folder::{checksums_of, shard_file};
use crate::hashing_file::ClosingFile;
use crate::patch_writer::PatchWriter;
use crate::schema::{self, Table};
use crate::table_writer::TableWriter;
use crate::{
    CacheMeta, CacheReader, Error, Shard, ShardSources, SourceFile, TokenBatch, provenance, sources,
};

/// A shard to which rows are appended, under temporary names.
pub(crate) struct OpenShard {
    pub(crate) rows: u32,
    tables: Vec<(Table, TableWriter)>,
    patches: Option<(Table, PatchWriter)>,
    /// Files that are read for its rows first.
    pub(crate) sources: Vec<SourceFile>,
    /// Metadata of the file of these records.
    provenance: Vec<KeyValue>,
}

impl OpenShard {
    /// Creates the files of shard `index` of the cache `dir`.
    pub(crate) fn create(dir: &Path, index: usize, meta: &CacheMeta) -> Result<OpenShard, Error> {
        let name = shard_file(index);
        let mut shard = OpenShard {
            rows: 0,
            tables: Vec::new(),
            patches: None,
            sources: Vec::new(),
            provenance: provenance::of(meta, None),
        };
        for table in Table::of(meta) {
            let folder = dir.join(table.name());
            // A cache that was fetched from a bucket has no empty folders.
            fs::create_dir_all(&folder).map_err(io_error(&folder, "create the folder"))?;
            let path = folder.join(&name);
            if table.is_of_positions() {
                shard.patches = Some((table, PatchWriter::create(&path, table, meta)?));
            } else {
                let writer = TableWriter::create(&path, table, meta)?;
                shard.tables.push((table, writer));
            }
        }
        Ok(shard)
    }

    /// Appends `rows` of a batch, the first of which is row `first` of the cache.
    pub(crate) fn append(
        &mut self,
        meta: &CacheMeta,
        first: u64,
        batch: &TokenBatch,
        rows: Range<usize>,
    ) -> Result<(), Error> {
        for (table, writer) in &mut self.tables {
            let encoded = encode(*table, meta, first, batch, rows.clone())
                .map_err(|e| writer.error(e.into()))?;
            if let Some(encoded) = encoded {
                writer.write(&encoded)?;
            }
        }
        self.rows += u32::try_from(rows.len()).unwrap_or(u32::MAX);
        if let Some((_, writer)) = &mut self.patches {
            writer.write(first, &batch.patch, rows)?;
        }
        Ok(())
    }

    /// Appends the rows of a shard of `reader`, batch by batch, as they were appended to that shard: the
    /// pages of a file depend on that.
    pub(crate) fn append_shard(&mut self, reader: &CacheReader, shard: usize) -> Result<(), Error> {
        let batch_size = reader.meta().batch_size as usize;
        for (table, writer) in &mut self.tables {
            for batch in reader.table_rows(*table, shard, batch_size)? {
                writer.write(&batch?)?;
            }
        }
        if let Some((table, writer)) = &mut self.patches {
            for batch in reader.table_rows(*table, shard, batch_size)? {
                writer.write_batch(&batch?)?;
            }
        }
        let sources = ShardSources::read(reader.dir(), reader.meta(), shard)?;
        self.sources.extend(sources.files);
        self.rows += reader.meta().shards[shard].rows;
        Ok(())
    }

    /// Ends the files and starts to sync them to the disk.
    pub(crate) fn close(self) -> Result<ClosingShard, Error> {
        let tables = self.tables.into_iter();
        let tables = tables.map(|(table, writer)| Ok((table, writer.close()?)));
        let mut tables = tables.collect::<Result<Vec<_>, Error>>()?;
        if let Some((table, writer)) = self.patches {
            tables.push((table, writer.close()?));
        }
        Ok(ClosingShard {
            rows: self.rows,
            tables,
            sources: self.sources,
            provenance: self.provenance,
        })
    }
}

/// A shard that is written, and may not be synced yet.
pub(crate) struct ClosingShard {
    pub(crate) rows: u32,
    tables: Vec<(Table, ClosingFile)>,
    sources: Vec<SourceFile>,
    provenance: Vec<KeyValue>,
}

impl ClosingShard {
    pub(crate) fn is_on_disk(&self) -> bool {
        self.tables.iter().all(|(_, file)| file.is_on_disk())
    }

    /// Waits until the files are synced, and renames them to those of shard `index` in the folder `dir`.
    pub(crate) fn finish(self, dir: &Path, index: usize) -> Result<Shard, Error> {
        let mut tables = BTreeMap::new();
        let name = shard_file(index);
        for (table, file) in self.tables {
            let folder = dir.join(table.name());
            fs::create_dir_all(&folder).map_err(io_error(&folder, "create the folder"))?;
            let sums = checksums_of(dir, table.name(), &name);
            let file = file.finish(&folder.join(&name), &sums)?;
            tables.insert(table.name().to_string(), file);
            sync_dir(&folder).map_err(io_error(&folder, "sync"))?;
        }
        Ok(Shard {
            rows: self.rows,
            tables,
            sources_sha256: sources::write(dir, index, &self.sources, self.provenance)?,
        })
    }
}

/// Rows of a table; `None` of tokens of single positions, which [`PatchWriter`] encodes.
fn encode(
    table: Table,
    meta: &CacheMeta,
    first: u64,
    batch: &TokenBatch,
    rows: Range<usize>,
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
        Table::Patch | Table::Residual => return Ok(None),
    }
    .map(Some)
}
