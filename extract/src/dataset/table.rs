//! Small tables of text, from CSV or Parquet.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use cache::MaskClass;
use flate2::bufread::MultiGzDecoder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;

use crate::Error;
use crate::read::contained;

/// Most rows that are read of a Parquet file: few bytes can stand for many of them.
const MAX_ROWS: i64 = 10_000_000;

/// Most bytes that all cells of a Parquet file may take, and how many more for each of its own;
/// most that a gzipped CSV file may unpack to.
const MAX_BYTES: u64 = 256 << 20;
const MAX_RATIO: u64 = 1000;

/// How much of a CSV file is looked at to see its first line.
const MAX_HEADER: usize = 64 << 10;

/// Longest name of a class, in characters.
pub(super) const MAX_NAME: usize = 1000;

/// How many characters of a cell a message shows.
const SHOWN: usize = 100;

/// Rows of a Parquet file that are unpacked at a time.
const BATCH_ROWS: usize = 256;

/// A table in memory; all cells are trimmed text, blank where there is no value.
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) headers: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One row of a table.
pub(crate) struct Row {
    /// Where it stands in the file, counted from 1 with the header.
    pub(crate) line: usize,
    /// One cell per header.
    pub(crate) cells: Vec<String>,
}

impl Table {
    /// Reads Parquet if the name ends with `.parquet`, else CSV (UTF-8, with or without a byte
    /// order mark, LF or CRLF; commas, semicolons or tabs between fields), gzipped if it ends with
    /// `.gz`.
    pub(crate) fn read(path: &Path) -> Result<Table, Error> {
        // A pipe would be waited for without end.
        if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
            let path = path.to_path_buf();
            return Err(Error::NotRegular { path });
        }
        if path
            .extension()
            .is_some_and(|ext| ext.eq_ignore_ascii_case("parquet"))
        {
            let file = File::open(path).map_err(Error::io(path))?;
            let read = contained(|| read_parquet(path, file)).unwrap_or_else(|| {
                let reason = "the file is damaged, its parser broke down";
                Err(ParquetError::General(reason.to_owned()))
            });
            read.map_err(|source| Error::Parquet {
                path: path.to_path_buf(),
                source,
            })
        } else {
            read_csv(path)
        }
    }

    /// The first column that has one of these names, in whatever case.
    pub(crate) fn column(&self, names: &[&str]) -> Option<usize> {
        let position = |name: &&str| {
            self.headers
                .iter()
                .position(|h| h.eq_ignore_ascii_case(name))
        };
        names.iter().find_map(position)
    }

    /// The same, if it must be there.
    pub(crate) fn required(&self, names: &[&str]) -> Result<usize, Error> {
        self.column(names).ok_or_else(|| Error::MissingColumn {
            path: self.path.clone(),
            column: names.join("` or `"),
            found: self.headers.join("`, `"),
        })
    }

    /// An error about a cell.
    pub(crate) fn bad_cell(&self, row: &Row, column: usize, expected: impl Into<String>) -> Error {
        Error::BadCell {
            path: self.path.clone(),
            line: row.line,
            column: self.headers[column].clone(),
            value: clipped(&row.cells[column]),
            expected: expected.into(),
        }
    }

    /// An error about a cell that must name one class and may name several: `mend` says how.
    pub(crate) fn several_classes(&self, row: &Row, column: usize, mend: &str) -> Error {
        let (line, name) = (row.line, &self.headers[column]);
        Error::Layout {
            path: self.path.clone(),
            found: format!(
                "`{}` as the {name} in line {line}",
                clipped(&row.cells[column])
            ),
            expected: "the name of one class".to_owned(),
            hint: format!("if these are several classes, {mend}"),
        }
    }

    /// Refuses a cell in which a name is too long to be that of a class.
    pub(crate) fn check_names(
        &self,
        row: &Row,
        column: usize,
        names: &[&str],
    ) -> Result<(), Error> {
        match names.iter().any(|name| is_too_long(name)) {
            true => Err(self.bad_cell(
                row,
                column,
                format!("names of at most {MAX_NAME} characters"),
            )),
            false => Ok(()),
        }
    }
}

/// Whether a class cannot have this name.
pub(super) fn is_too_long(name: &str) -> bool {
    name.chars().nth(MAX_NAME).is_some()
}

/// The beginning of a text that may be long.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn read_csv(path: &Path) -> Result<Table, Error> {
    let wrong = |source| Error::Csv {
        path: path.to_path_buf(),
        source,
    };
    let mut text = text_of(path)?;
    let start = text.fill_buf().map_err(Error::io(path))?;
    refuse_utf16(path, start)?;
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(start))
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(text);
    let headers = reader.headers().map_err(wrong)?;
    let mut headers: Vec<String> = headers
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    drop_blank_ends(&mut headers, 0);
    let mut rows = Vec::new();
    for record in reader.records() {
        rows.push(csv_row(path, &record.map_err(wrong)?, headers.len())?);
    }
    Ok(Table {
        path: path.to_path_buf(),
        headers,
        rows,
    })
}

/// The text of a CSV file, unpacked if the name ends with `.gz`.
fn text_of(path: &Path) -> Result<Box<dyn BufRead>, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    if path
        .extension()
        .is_none_or(|ext| !ext.eq_ignore_ascii_case("gz"))
    {
        return Ok(Box::new(BufReader::with_capacity(MAX_HEADER, file)));
    }
    let mut text = Vec::new();
    let unpacked = MultiGzDecoder::new(BufReader::new(file)).take(MAX_BYTES + 1);
    let read = BufReader::new(unpacked).read_to_end(&mut text);
    read.map_err(|error| Error::damaged(path, format!("it cannot be unpacked: {error}")))?;
    match text.len() as u64 > MAX_BYTES {
        true => Err(Error::TooLarge {
            path: path.to_path_buf(),
            found: format!("over {MAX_BYTES} bytes of text"),
            limit: format!("{MAX_BYTES} bytes"),
        }),
        false => Ok(Box::new(Cursor::new(text))),
    }
}

fn refuse_utf16(path: &Path, start: &[u8]) -> Result<(), Error> {
    match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(Error::Layout {
            path: path.to_path_buf(),
            found: "UTF-16 text".to_owned(),
            expected: "UTF-8".to_owned(),
            hint: "save it as UTF-8; in Excel the kind of file is `CSV UTF-8`".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What is between the fields of the first line: a comma if there is one outside quotes, else
/// whichever there is more of, semicolons or tabs.
fn delimiter(start: &[u8]) -> u8 {
    let line = start
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let unquoted: Vec<&[u8]> = line.split(|byte| *byte == b'"').step_by(2).collect();
    let count = |wanted: u8| {
        let bytes = unquoted.iter().copied().flatten();
        bytes.filter(|byte| **byte == wanted).count()
    };
    match (count(b','), count(b';'), count(b'\t')) {
        (0, 0, 0) | (1.., _, _) => b',',
        (0, semicolons, tabs) if semicolons >= tabs => b';',
        (0, _, _) => b'\t',
    }
}

/// Drops blank fields at the end while there are more than `least`: some programs end each line
/// with a comma, some only the header or only the rows.
fn drop_blank_ends(fields: &mut Vec<String>, least: usize) {
    while fields.len() > least && fields.last().is_some_and(String::is_empty) {
        fields.pop();
    }
}

fn csv_row(path: &Path, record: &csv::StringRecord, expected: usize) -> Result<Row, Error> {
    let line = record.position().map_or(0, csv::Position::line) as usize;
    let mut cells: Vec<String> = record.iter().map(str::to_owned).collect();
    drop_blank_ends(&mut cells, expected);
    if cells.len() != expected {
        let (path, found) = (path.to_path_buf(), cells.len());
        return Err(Error::RaggedRow {
            path,
            line,
            found,
            expected,
        });
    }
    Ok(Row { line, cells })
}

fn read_parquet(path: &Path, file: File) -> Result<Table, ParquetError> {
    let limit = file.metadata()?.len().saturating_mul(MAX_RATIO) + MAX_BYTES;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS);
    let count = reader.metadata().file_metadata().num_rows();
    if count > MAX_ROWS {
        let reason = format!("it has {count} rows, at most {MAX_ROWS} are read");
        return Err(ParquetError::General(reason));
    }
    let fields = reader.schema().fields();
    let headers = fields
        .iter()
        .map(|field| field.name().trim().to_owned())
        .collect();
    let mut rows = Vec::new();
    let mut bytes = 0;
    for batch in reader.build()? {
        let start = rows.len();
        append_rows(&mut rows, &batch?)?;
        let cells = rows[start..].iter().flat_map(|row: &Row| &row.cells);
        let sizes = cells.map(|cell| size_of::<String>() + cell.len());
        bytes += sizes.sum::<usize>() as u64;
        if bytes > limit {
            let reason = format!("its cells take over {limit} bytes");
            return Err(ParquetError::General(reason));
        }
    }
    Ok(Table {
        path: path.to_path_buf(),
        headers,
        rows,
    })
}

fn append_rows(rows: &mut Vec<Row>, batch: &RecordBatch) -> Result<(), ParquetError> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| cast(column, &DataType::Utf8));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for k in 0..batch.num_rows() {
        let cell = |column: &dyn Array| match column.is_null(k) {
            true => String::new(),
            false => column.as_string::<i32>().value(k).trim().to_owned(),
        };
        let cells = columns.iter().map(|column| cell(column.as_ref())).collect();
        rows.push(Row {
            line: rows.len() + 2,
            cells,
        });
    }
    Ok(())
}

/// Reads which name each value in the masks has: the columns `value` and `name`; 0 is left out.
pub(super) fn read_mask_classes(path: &Path) -> Result<Vec<MaskClass>, Error> {
    let table = Table::read(path)?;
    let (value, name) = (table.required(&["value"])?, table.required(&["name"])?);
    let mut classes = BTreeMap::new();
    for row in &table.rows {
        let number: Option<u16> = row.cells[value].parse().ok();
        let number = number.filter(|number| !classes.contains_key(number));
        let number =
            number.ok_or_else(|| table.bad_cell(row, value, "a number in 0..=65535, each once"))?;
        table.check_names(row, name, &[&row.cells[name]])?;
        classes.insert(number, row.cells[name].clone());
    }
    let classes = classes.into_iter().filter(|(value, _)| *value != 0);
    Ok(classes
        .map(|(value, name)| MaskClass { value, name })
        .collect())
}

#[cfg(test)]
mod tests;
