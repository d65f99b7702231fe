//! Patch tokens of single rows, in any order, a row group at a time.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use half::f16;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use crate::meta::io_error;
use crate::read::{parquet_error, wrong_row};
use crate::schema::{self, Table};
use crate::{CacheReader, Error};

/// Reads the patch tokens of chosen layers. Memory does not depend on the size of the cache.
#[derive(Debug)]
pub struct PatchReader {
    shards: Vec<(PathBuf, ArrowReaderMetadata)>,
    columns: Vec<String>,
    groups: Vec<Group>,
}

/// Rows that lie together in a file and are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    shard: usize,
    group: usize,
    /// Their numbers in the cache.
    pub rows: Range<usize>,
}

impl CacheReader {
    /// A reader of the patch tokens of `layers`; layer 1 is the last block.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no patch tokens or has no such layer, and
    /// [`Error::Io`] or [`Error::Parquet`] if a shard cannot be read.
    pub fn patches(&self, layers: &[u32]) -> Result<PatchReader, Error> {
        for &layer in layers {
            self.check_layer(Table::Patch, layer)?;
        }
        let (mut shards, mut groups, mut first) = (Vec::new(), Vec::new(), 0);
        for shard in 0..self.meta().shards.len() {
            let path = self.path(Table::Patch, shard);
            let file = File::open(&path).map_err(io_error(&path, "open"))?;
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
            let metadata = metadata.map_err(parquet_error(&path))?;
            for (group, of) in metadata.metadata().row_groups().iter().enumerate() {
                let rows = first..first + of.num_rows() as usize;
                first = rows.end;
                groups.push(Group { shard, group, rows });
            }
            shards.push((path, metadata));
        }
        Ok(PatchReader {
            shards,
            columns: layers.iter().map(|&l| Table::Patch.column(l)).collect(),
            groups,
        })
    }
}

impl PatchReader {
    /// All groups, in the order of their rows.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The wanted rows of a group: the row's number, and its tokens, each layer `[P, D]`, one after the
    /// other in the order in which layers were asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Parquet`] or [`Error::Shard`] if the shard cannot be read or holds other
    /// rows.
    pub fn read(
        &self,
        group: &Group,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<(usize, Vec<f16>)>, Error> {
        let (path, metadata) = &self.shards[group.shard];
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let names = ["row"].into_iter().chain(self.columns.iter().map(|c| &**c));
        let mask = ProjectionMask::columns(builder.parquet_schema(), names);
        let batches = builder
            .with_row_groups(vec![group.group])
            .with_projection(mask)
            .with_batch_size(group.rows.len())
            .build()
            .map_err(parquet_error(path))?;
        let (mut found, mut row) = (Vec::new(), group.rows.start);
        for batch in batches {
            let batch = batch.map_err(|error| parquet_error(path)(error.into()))?;
            let columns = self.columns.iter().map(|name| batch.column_by_name(name));
            let columns: Vec<_> = columns
                .flatten()
                .map(AsArray::as_fixed_size_binary)
                .collect();
            for (at, &number) in batch
                .column(0)
                .as_primitive::<UInt64Type>()
                .values()
                .iter()
                .enumerate()
            {
                if number != row as u64 {
                    return Err(wrong_row(path, number, row as u64));
                }
                if is_wanted(row) {
                    found.push((row, schema::decode_halves(&columns, at)));
                }
                row += 1;
            }
        }
        Ok(found)
    }
}
