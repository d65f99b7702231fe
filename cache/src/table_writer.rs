//! Writer of one table of a shard, and its Parquet settings.

use std::path::Path;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::error::parquet_error;
use crate::hashing_file::{ClosingFile, HashingFile, Name};
use crate::schema::{Table, picture_bytes};
use crate::{CacheMeta, Error, provenance};

/// Bytes of a column in a row group of tensors or pictures; larger groups are read more slowly.
const ROW_GROUP_BYTES: usize = 4 << 20;

/// The same for tokens of single positions. Training shuffles row groups, and slices of one volume are similar, so few
/// of them should be in one group.
const PATCH_ROW_GROUP_BYTES: usize = 1 << 20;

/// Writer of one table of a shard, under a temporary name until it is closed.
pub(crate) struct TableWriter {
    name: Name,
    writer: ArrowWriter<HashingFile>,
}

impl TableWriter {
    pub(crate) fn create(
        path: &Path,
        table: Table,
        meta: &CacheMeta,
    ) -> Result<TableWriter, Error> {
        let name = Name::of(path);
        let sink = name.create()?;
        let writer = ArrowWriter::try_new(sink, table.schema(meta), Some(properties(table, meta)))
            .map_err(parquet_error(&name.part, "write"))?;
        Ok(TableWriter { name, writer })
    }

    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        self.writer
            .write(rows)
            .map_err(parquet_error(&self.name.part, "write"))
    }

    pub(crate) fn close(self) -> Result<ClosingFile, Error> {
        let sink = self.writer.into_inner();
        let sink = sink.map_err(parquet_error(&self.name.part, "write"))?;
        self.name.close(sink)
    }

    pub(crate) fn error(&self, source: ParquetError) -> Error {
        parquet_error(&self.name.part, "write")(source)
    }
}

pub(crate) fn properties(table: Table, meta: &CacheMeta) -> WriterProperties {
    let provenance = provenance::of(meta, Some(table));
    let builder = WriterProperties::builder()
        .set_created_by("slicebank".into())
        .set_key_value_metadata(Some(provenance).filter(|pairs| !pairs.is_empty()));
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let columns = (1..=meta.layers).filter_map(|layer| table.tensor_bytes(meta, layer));
    let group_rows = |limit: usize, bytes: usize| Some((limit / bytes.max(1)).max(1));
    match columns.max() {
        // A row a page: single rows are read without their neighbours, and kept in memory without them.
        Some(bytes) if table.is_of_positions() => builder
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_write_batch_size(1)
            .set_data_page_row_count_limit(1)
            .set_max_row_group_row_count(group_rows(PATCH_ROW_GROUP_BYTES, bytes)),
        Some(bytes) => builder
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(group_rows(ROW_GROUP_BYTES, bytes)),
        // A page ends with the mask that fills it: 64 large ones are more than a page may hold.
        None if table == Table::Mask => builder
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_compression(zstd)
            .set_write_batch_size(1)
            .set_max_row_group_row_count(Some(64)),
        None if table == Table::Picture => builder
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_compression(zstd)
            .set_max_row_group_row_count(group_rows(ROW_GROUP_BYTES, picture_bytes(meta))),
        None => builder.set_compression(zstd),
    }
    .build()
}
