//! Writer of the tokens of single positions of a shard: of patches, or of all positions.
//!
//! They are nearly all of a cache, so they are copied from the backbone's memory into pages, without
//! Arrow arrays in between. The file equals that of Arrow's writer for the same rows, byte for byte.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::data_type::{
    ByteArray, DataType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};

use crate::error::parquet_error;
use crate::hashing_file::{ClosingFile, HashingFile, Name};
use crate::patch_tokens::PatchTokens;
use crate::schema::Table;
use crate::table_writer::properties;
use crate::{CacheMeta, Error, PatchDtype};

/// Writes the table of patch tokens of a shard.
pub(crate) struct PatchWriter {
    name: Name,
    file: SerializedFileWriter<HashingFile>,
    /// Greatest number of rows in a row group.
    group_rows: usize,
    /// Rows that are not written yet: their numbers and, layer by layer, their tokens.
    numbers: Vec<i64>,
    layers: Vec<Vec<FixedLenByteArray>>,
    dtype: PatchDtype,
}

impl PatchWriter {
    pub(crate) fn create(
        path: &Path,
        table: Table,
        meta: &CacheMeta,
    ) -> Result<PatchWriter, Error> {
        let name = Name::of(path);
        let schema = table.schema(meta);
        let mut properties = properties(table, meta);
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let group_rows = properties.max_row_group_row_count().unwrap_or(1);
        let sink = name.create()?;
        let open = || {
            let schema = ArrowSchemaConverter::new().convert(&schema)?;
            SerializedFileWriter::new(sink, schema.root_schema_ptr(), Arc::new(properties))
        };
        let file = open().map_err(parquet_error(&name.part, "write"))?;
        Ok(PatchWriter {
            name,
            file,
            group_rows,
            numbers: Vec::new(),
            layers: vec![Vec::new(); meta.layers as usize],
            dtype: meta.patch_dtype,
        })
    }

    /// Appends rows of `layers`, oldest first; the first is row `number` of the cache.
    pub(crate) fn write(
        &mut self,
        mut number: u64,
        layers: &[PatchTokens],
        rows: std::ops::Range<usize>,
    ) -> Result<(), Error> {
        for row in rows {
            self.numbers.push(number.cast_signed());
            for (column, layer) in self.layers.iter_mut().zip(layers) {
                column.push(layer.encoded_as(row, self.dtype));
            }
            number += 1;
            if self.numbers.len() == self.group_rows {
                self.write_group()?;
            }
        }
        Ok(())
    }

    /// Appends rows of another file of patch tokens.
    pub(crate) fn write_batch(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let numbers = rows.column(0).as_primitive::<UInt64Type>().values();
        for (row, number) in numbers.iter().enumerate() {
            self.numbers.push(number.cast_signed());
            for (column, layer) in self.layers.iter_mut().zip(&rows.columns()[1..]) {
                let tokens = layer.as_fixed_size_binary().value(row);
                column.push(ByteArray::from(tokens.to_vec()).into());
            }
            if self.numbers.len() == self.group_rows {
                self.write_group()?;
            }
        }
        Ok(())
    }

    pub(crate) fn close(mut self) -> Result<ClosingFile, Error> {
        if !self.numbers.is_empty() {
            self.write_group()?;
        }
        let sink = self.file.into_inner();
        let sink = sink.map_err(parquet_error(&self.name.part, "write"))?;
        self.name.close(sink)
    }

    fn write_group(&mut self) -> Result<(), Error> {
        let mut write = || {
            let mut group = self.file.next_row_group()?;
            write_column::<Int64Type>(&mut group, &self.numbers)?;
            for column in &self.layers {
                write_column::<FixedLenByteArrayType>(&mut group, column)?;
            }
            group.close()
        };
        write().map_err(parquet_error(&self.name.part, "write"))?;
        self.numbers.clear();
        self.layers.iter_mut().for_each(Vec::clear);
        Ok(())
    }
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, HashingFile>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let missing = || ParquetError::General("more columns than the schema has".into());
    let mut column = group.next_column()?.ok_or_else(missing)?;
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}
