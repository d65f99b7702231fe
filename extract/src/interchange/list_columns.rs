//! Columns of lists in Parquet files.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float16Type, Float32Type, Float64Type, Schema};
use cache::ForeignParquet;
use imaging::read::contained;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;

use super::npy::one_of;
use super::numbers::Kind;
use super::rows::{Rows, row_numbers};
use crate::Error;

/// Rows that are unpacked at a time.
const BATCH_ROWS: usize = 256;

/// Rows of a column of lists, or of binary values in half precision.
pub(super) struct ListColumn {
    path: PathBuf,
    name: String,
    reader: ParquetRecordBatchReader,
    count: u64,
    shape: Vec<usize>,
    batch: Option<ArrayRef>,
    /// Row in the batch.
    at: usize,
    next: u64,
}

impl ListColumn {
    /// Opens the column `wanted`, or one with a usual name, or the only one of lists of numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Parquet`], and [`Error::Layout`] if no column is meant or its first row has no numbers.
    pub(super) fn open(path: &Path, wanted: Option<&str>) -> Result<ListColumn, Error> {
        let builder = builder(path)?;
        let schema = builder.schema().clone();
        let names: Vec<String> = columns(&schema).map(|field| field.name().clone()).collect();
        let name = one_of(path, &names, wanted)?;
        let place = schema.index_of(&name).map_err(|error| wrong(path, error))?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), [place]);
        let count = builder.metadata().file_metadata().num_rows();
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| parquet_error(path, error))?;
        let mut column = ListColumn {
            path: path.to_path_buf(),
            name,
            reader,
            count: u64::try_from(count).unwrap_or(0),
            shape: Vec::new(),
            batch: None,
            at: 0,
            next: 0,
        };
        column.fill()?;
        let first = column.batch.as_ref().filter(|batch| !batch.is_empty());
        let width = first.map(|batch| numbers(batch, 0, 1.0).map(|numbers| numbers.len()));
        let width = width.flatten().ok_or_else(|| column.odd("no numbers"))?;
        row_numbers(path, Some(&column.name), &[width])?;
        column.shape = vec![width];
        Ok(column)
    }

    /// Reads the next batch.
    fn fill(&mut self) -> Result<(), Error> {
        let next = contained(|| self.reader.next());
        let next = next.ok_or_else(|| Error::damaged(&self.path, "its parser broke down"))?;
        let batch = next.transpose().map_err(|error| wrong(&self.path, error))?;
        self.batch = batch.map(|batch| batch.column(0).clone());
        self.at = 0;
        Ok(())
    }

    fn odd(&self, found: &str) -> Error {
        Error::Layout {
            path: self.path.clone(),
            found: format!("{found} in row {} (from 0) of `{}`", self.next, self.name),
            expected: match self.shape[..] {
                [width] => format!("{width} numbers, as in the first row"),
                _ => "lists of numbers".to_owned(),
            },
            hint: "leave out rows without an embedding, here and in the table".to_owned(),
        }
    }
}

impl Rows for ListColumn {
    fn count(&self) -> u64 {
        self.count
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn place(&self) -> (&Path, u64) {
        (&self.path, self.next)
    }

    fn read(&mut self, scale: f64, out: &mut Vec<f32>) -> Result<(), Error> {
        let length = |batch: &ArrayRef| batch.len();
        if self.batch.as_ref().map_or(0, length) == self.at {
            self.fill()?;
        }
        let batch = self.batch.as_ref().filter(|batch| batch.len() > self.at);
        let batch = batch.ok_or_else(|| Error::damaged(&self.path, "it ends too early"))?;
        let row = numbers(batch, self.at, scale);
        let row = row.ok_or_else(|| self.odd("a missing value"))?;
        if row.len() != self.shape[0] {
            return Err(self.odd(&format!("{} numbers", row.len())));
        }
        out.extend(row);
        self.at += 1;
        self.next += 1;
        Ok(())
    }
}

/// Names of the columns that can be embeddings.
///
/// # Errors
///
/// [`Error::Parquet`].
pub(super) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let builder = builder(path)?;
    let fields = columns(builder.schema());
    Ok(fields.map(|field| field.name().clone()).collect())
}

fn columns(schema: &Schema) -> impl Iterator<Item = &Field> {
    let fields = schema.fields().iter().map(AsRef::as_ref);
    fields.filter(|field: &&Field| match field.data_type() {
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            inner.data_type().is_floating()
        }
        DataType::FixedSizeBinary(_) => true,
        _ => false,
    })
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<ForeignParquet>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let opened = contained(|| ForeignParquet::rows(file));
    opened
        .unwrap_or_else(|| Err(ParquetError::General("its parser broke down".to_owned())))
        .map_err(|error| parquet_error(path, error))
}

/// The numbers of a row; `None` if one is missing.
fn numbers(column: &ArrayRef, row: usize, scale: f64) -> Option<Vec<f32>> {
    if column.is_null(row) {
        return None;
    }
    let list = match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(row),
        DataType::LargeList(_) => column.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
        _ => {
            let mut out = Vec::new();
            let bytes = column.as_fixed_size_binary().value(row);
            Kind::F16.little_endian().decode(bytes, scale, &mut out);
            return Some(out);
        }
    };
    if list.null_count() > 0 {
        return None;
    }
    let (kind, bytes) = match list.data_type() {
        DataType::Float16 => (
            Kind::F16,
            native(list.as_primitive::<Float16Type>().values()),
        ),
        DataType::Float32 => (
            Kind::F32,
            native(list.as_primitive::<Float32Type>().values()),
        ),
        _ => {
            let list = cast(&list, &DataType::Float64).ok()?;
            (
                Kind::F64,
                native(list.as_primitive::<Float64Type>().values()),
            )
        }
    };
    let mut out = Vec::with_capacity(list.len());
    let encoding = super::numbers::Encoding {
        kind,
        is_big_endian: cfg!(target_endian = "big"),
    };
    encoding.decode(&bytes, scale, &mut out);
    Some(out)
}

/// The bytes of numbers in memory.
fn native<T: bytemuck::NoUninit>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

fn wrong(path: &Path, error: arrow::error::ArrowError) -> Error {
    parquet_error(path, ParquetError::General(error.to_string()))
}

fn parquet_error(path: &Path, source: ParquetError) -> Error {
    Error::Parquet {
        path: path.to_path_buf(),
        source,
    }
}
