//! Parquet: columns of text and numbers, and lists of them, as text.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use cache::ForeignParquet;
use imaging::read::contained;
use parquet::arrow::ProjectionMask;
use parquet::basic::Compression::{SNAPPY, UNCOMPRESSED, ZSTD};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use super::cells::Cells;
use super::{MAX_BYTES, Row, Table};
use crate::Error;

/// Largest number of rows: few bytes can encode many rows.
const MAX_ROWS: i64 = 10_000_000;

/// Bytes of cells beyond [`MAX_BYTES`] that are accepted per byte of the file.
const MAX_RATIO: u64 = 1000;

/// Rows that are unpacked at a time.
const BATCH_ROWS: usize = 256;

/// An empty list: not blank, since it is known to be empty.
const NO_ELEMENT: &str = "|";

/// Reads all columns of a Parquet file that can be shown as text, but those in `left_out`; elements of lists
/// have `|` between them.
///
/// # Errors
///
/// [`Error::Parquet`].
pub(super) fn read(path: &Path, file: File, left_out: &[String]) -> Result<Table, Error> {
    let read = contained(|| table(path, file, left_out)).unwrap_or_else(|| {
        let reason = "the file is damaged, its parser broke down";
        Err(ParquetError::General(reason.to_owned()))
    });
    read.map_err(|source| Error::Parquet {
        path: path.to_path_buf(),
        source,
    })
}

fn table(path: &Path, file: File, left_out: &[String]) -> Result<Table, ParquetError> {
    let limit = file.metadata()?.len().saturating_mul(MAX_RATIO) + MAX_BYTES;
    let reader = ForeignParquet::rows(file)?.with_batch_size(BATCH_ROWS);
    let count = reader.metadata().file_metadata().num_rows();
    if count > MAX_ROWS {
        let reason = format!("it has {count} rows, at most {MAX_ROWS} are read");
        return Err(ParquetError::General(reason));
    }
    let fields = reader.schema().fields().clone();
    let shown: Vec<usize> = (0..fields.len())
        .filter(|&k| is_shown(&fields[k]) && !left_out.contains(fields[k].name()))
        .collect();
    let mask = ProjectionMask::roots(reader.parquet_schema(), shown.iter().copied());
    check_compression(reader.metadata(), &shown)?;
    let headers: Vec<String> = fields.iter().map(|f| f.name().trim().to_owned()).collect();
    let mut unread: Vec<Option<&str>> = vec![Some("holds nested values"); headers.len()];
    shown.iter().for_each(|&column| unread[column] = None);
    let (mut rows, mut bytes): (Vec<Row>, u64) = (Vec::new(), 0);
    for batch in reader.with_projection(mask).build()? {
        let batch = batch?;
        let mut texts = vec![vec![String::new(); headers.len()]; batch.num_rows()];
        for (&column, values) in shown.iter().zip(batch.columns()) {
            let filled = match unread[column] {
                None => fill(&mut texts, column, values),
                Some(_) => Ok(()),
            };
            if let Err(Unfit(reason)) = filled {
                unread[column] = Some(reason);
                rows.iter_mut().for_each(|row| row.cells.clear(column));
                texts.iter_mut().for_each(|row| row[column].clear());
            }
        }
        let sizes = texts.iter().flatten();
        let sizes = sizes.map(|cell| size_of::<String>() + cell.len());
        bytes += sizes.sum::<usize>() as u64;
        for texts in texts {
            let cells = Cells::of(&texts).filter(|_| bytes <= limit);
            let cells = cells.ok_or_else(|| {
                ParquetError::General(format!("its cells take over {limit} bytes"))
            })?;
            let line = rows.len() + 2;
            rows.push(Row { line, cells });
        }
    }
    let mut table = Table::new(path, headers, rows);
    table.unread = unread;
    Ok(table)
}

/// Refuses columns of `shown` whose pages cannot be unpacked.
fn check_compression(metadata: &ParquetMetaData, shown: &[usize]) -> Result<(), ParquetError> {
    let schema = metadata.file_metadata().schema_descr();
    for group in metadata.row_groups() {
        for (leaf, column) in group.columns().iter().enumerate() {
            let is_shown = shown
                .binary_search(&schema.get_column_root_idx(leaf))
                .is_ok();
            let compression = column.compression();
            if is_shown && !matches!(compression, UNCOMPRESSED | SNAPPY | ZSTD(_)) {
                let (path, codec) = (column.column_path().string(), compression.to_string());
                let codec = codec.split('(').next().unwrap_or_default();
                return Err(ParquetError::General(format!(
                    "the column `{path}` is compressed by {codec}, which is not read; zstd and \
                     snappy are"
                )));
            }
        }
    }
    Ok(())
}

/// True if values of this column can be text: single ones, and lists of them.
fn is_shown(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) => {
            !inner.data_type().is_nested()
        }
        single => !single.is_nested(),
    }
}

/// A column that cannot be text, and why.
struct Unfit(&'static str);

impl From<ArrowError> for Unfit {
    fn from(_: ArrowError) -> Unfit {
        Unfit("holds values that are no text")
    }
}

/// Writes the values of a column into rows.
fn fill(rows: &mut [Vec<String>], column: usize, values: &ArrayRef) -> Result<(), Unfit> {
    let is_list = values.data_type().is_nested();
    let text = if is_list {
        DataType::new_list(DataType::Utf8, true)
    } else {
        DataType::Utf8
    };
    let exact = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let values = cast_with_options(values, &text, &exact)?;
    for (k, row) in rows.iter_mut().enumerate() {
        row[column] = match (values.is_null(k), is_list) {
            (true, _) => String::new(),
            (false, false) => values.as_string::<i32>().value(k).trim().to_owned(),
            (false, true) => joined(&values.as_list::<i32>().value(k))?,
        };
    }
    Ok(())
}

/// The elements of a list with `|` between them; those that are null are left out.
fn joined(list: &ArrayRef) -> Result<String, Unfit> {
    let elements = list.as_string::<i32>().iter().flatten().map(str::trim);
    let elements: Vec<&str> = elements.collect();
    match elements.iter().any(|element| element.contains('|')) {
        true => Err(Unfit("holds lists with `|` in an element")),
        false if elements.is_empty() => Ok(NO_ELEMENT.to_owned()),
        false => Ok(elements.join("|")),
    }
}
