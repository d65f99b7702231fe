//! Small tables of text, from CSV or Parquet.

mod cells;
mod csv;
mod parquet;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use cache::MaskClass;
use common::text::clipped;
use common::{FileError, counted};

use self::cells::Cells;
use super::examples::examples;
use crate::Error;

/// Largest size of a table's text, and of the cells of a Parquet file of any size, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Longest name of a class, in characters.
pub(super) const MAX_NAME: usize = 1000;

/// Words for a missing value, in any case.
const BLANKS: [&str; 7] = ["nan", "-nan", "n/a", "#n/a", "na", "<na>", "null"];

/// Index columns that programs add.
const INDEX_COLUMNS: [&str; 2] = ["__index_level_", "Unnamed: "];

/// A table in memory; all cells are trimmed text, blank where there is no value.
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) headers: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// For each column the reason why it was not read, if so.
    unread: Vec<Option<&'static str>>,
    /// For each column the number of cells with one of [`BLANKS`], and the first of them.
    blanked: Vec<(usize, String)>,
}

/// One row of a table.
pub(crate) struct Row {
    /// Line in the file, counted from 1 with the header.
    pub(crate) line: usize,
    /// One cell per header.
    pub(crate) cells: Cells,
}

impl Table {
    /// Reads Parquet, detected by content, else CSV: UTF-8 or UTF-16, LF, CRLF or CR, gzipped or not;
    /// separated by commas, semicolons or tabs, or by the character in a first line `sep=`.
    ///
    /// Cells with words for a missing value ([`BLANKS`]) are blank. In a column of numbers, whole numbers
    /// written as `1.0` are read as `1`: programs write them so if a cell of the column is blank.
    pub(crate) fn read(path: &Path) -> Result<Table, Error> {
        Table::read_without(path, &[])
    }

    /// The same without the cells of some columns of a Parquet file, which are blank.
    pub(crate) fn read_without(path: &Path, left_out: &[String]) -> Result<Table, Error> {
        // Reading a pipe could block forever.
        if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
            let path = path.to_path_buf();
            return Err(FileError::NotRegular { path }.into());
        }
        let mut file = File::open(path).map_err(Error::io(path))?;
        let mut start = Vec::new();
        let sniffed = (&file).take(4).read_to_end(&mut start);
        sniffed.map_err(Error::io(path))?;
        file.rewind().map_err(Error::io(path))?;
        let mut table = match &start[..] {
            b"PAR1" | b"PARE" => parquet::read(path, file, left_out)?,
            _ => csv::read(path, file)?,
        };
        for column in 0..table.headers.len() {
            table.blank_out(column);
            table.cut_fractions(column);
        }
        Ok(table)
    }

    fn new(path: &Path, headers: Vec<String>, rows: Vec<Row>) -> Table {
        Table {
            path: path.to_path_buf(),
            unread: vec![None; headers.len()],
            blanked: vec![(0, String::new()); headers.len()],
            headers,
            rows,
        }
    }

    fn blank_out(&mut self, column: usize) {
        let cells = self.rows.iter_mut().map(|row| &mut row.cells);
        for cells in cells.filter(|cells| is_blank(&cells[column])) {
            let (count, first) = &mut self.blanked[column];
            *count += 1;
            if *count == 1 {
                cells[column].clone_into(first);
            }
            cells.clear(column);
        }
    }

    fn cut_fractions(&mut self, column: usize) {
        if are_numbers(self.rows.iter().map(|row| &row.cells[column])) {
            for row in &mut self.rows {
                let whole = whole_number(&row.cells[column]).map(str::len);
                if let Some(bytes) = whole {
                    row.cells.cut(column, bytes);
                }
            }
        }
    }

    /// The first column with one of these names, in any case.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if two columns have the name, or the column's cells could not be read.
    pub(crate) fn column(&self, names: &[&str]) -> Result<Option<usize>, Error> {
        let named = |name: &&str| {
            let headers = self.headers.iter().enumerate();
            let found = headers.filter(|(_, header)| header.eq_ignore_ascii_case(name));
            found.map(|(column, _)| column).collect::<Vec<_>>()
        };
        let found = names.iter().map(named).find(|found| !found.is_empty());
        let refused = |found: String, expected: &str, hint: &str| Error::Layout {
            path: self.path.clone(),
            found,
            expected: expected.to_owned(),
            hint: hint.to_owned(),
        };
        match found.as_deref() {
            None => Ok(None),
            Some(&[column]) => match self.unread[column] {
                None => Ok(Some(column)),
                Some(reason) => Err(refused(
                    format!("that the column `{}` {reason}", self.headers[column]),
                    "text, numbers, or lists of them",
                    "write the values that are needed to a column of their own",
                )),
            },
            Some(several) => Err(refused(
                format!(
                    "{} named `{}`",
                    counted(several.len(), "column"),
                    self.headers[several[0]]
                ),
                "one",
                "rename or delete those that are not meant",
            )),
        }
    }

    /// As [`column`](Self::column), but an error if columns with several of these names have other cells: which is
    /// meant is not known.
    pub(crate) fn agreed(&self, names: &[&str]) -> Result<Option<usize>, Error> {
        let Some(column) = self.column(names)? else {
            return Ok(None);
        };
        let named = |header: &str| names.iter().any(|name| header.eq_ignore_ascii_case(name));
        for other in 0..self.headers.len() {
            if other == column || !named(&self.headers[other]) || self.unread[other].is_some() {
                continue;
            }
            let row = self
                .rows
                .iter()
                .find(|row| row.cells[column] != row.cells[other]);
            if let Some(row) = row {
                return Err(self.disagreeing(row, [column, other]));
            }
        }
        Ok(Some(column))
    }

    /// An error about two columns of one meaning with different cells.
    fn disagreeing(&self, row: &Row, columns: [usize; 2]) -> Error {
        let [(a, first), (b, second)] =
            columns.map(|column| (&self.headers[column], clipped(&row.cells[column])));
        Error::Layout {
            path: self.path.clone(),
            found: format!(
                "`{first}` as `{a}` and `{second}` as `{b}` in line {}",
                row.line
            ),
            expected: "the same, since both names have one meaning".to_owned(),
            hint: "rename or delete the column that is not meant".to_owned(),
        }
    }

    /// As [`column`](Self::column), but an error if there is no such column.
    pub(crate) fn required(&self, names: &[&str]) -> Result<usize, Error> {
        self.column(names)?.ok_or_else(|| Error::MissingColumn {
            path: self.path.clone(),
            column: names.join("` or `"),
            found: self.headers.clone(),
        })
    }

    /// Warnings of a table of which these columns are used.
    pub(crate) fn warnings(&self, used: &[usize]) -> Vec<String> {
        self.blanked(used).chain(self.unused(used)).collect()
    }

    /// Warnings of cells in these columns that are read as blank.
    pub(super) fn blanked(&self, columns: &[usize]) -> impl Iterator<Item = String> {
        let name = super::files::name(&self.path);
        columns.iter().filter_map(move |&column| {
            let (count, first) = &self.blanked[column];
            let (cells, header) = (counted(*count, "cell"), &self.headers[column]);
            (*count > 0).then(|| {
                format!("`{name}`: {cells} of the column `{header}` read as blank (`{first}`)")
            })
        })
    }

    /// A warning of columns that are not among `used`, and have other cells than these.
    pub(super) fn unused(&self, used: &[usize]) -> Option<String> {
        let is_index = |header: &str| INDEX_COLUMNS.iter().any(|start| header.starts_with(start));
        let repeats = |column: usize, used: usize| {
            let mut rows = self.rows.iter();
            rows.all(|row| row.cells[column] == row.cells[used])
        };
        let is_used = |column: usize| {
            used.iter()
                .any(|&used| column == used || repeats(column, used))
        };
        let unused = (0..self.headers.len()).filter(|column| !is_used(*column));
        let unused = unused.map(|column| self.headers[column].clone());
        let unused: Vec<String> = unused.filter(|h| !h.is_empty() && !is_index(h)).collect();
        let name = super::files::name(&self.path);
        (!unused.is_empty())
            .then(|| format!("`{name}`: columns that are not used: {}", examples(&unused)))
    }

    /// Refuses line breaks in the cells of columns: usually a quote was not closed.
    pub(crate) fn refuse_line_breaks(&self, columns: &[usize]) -> Result<(), Error> {
        let expected = "text without a line break (is a quote in front of it not closed?)";
        for row in &self.rows {
            let is_broken = |column: &&usize| row.cells[**column].contains(['\n', '\r']);
            if let Some(column) = columns.iter().find(is_broken) {
                return Err(self.bad_cell(row, *column, expected));
            }
        }
        Ok(())
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

    /// An error about a cell with several classes instead of one; `fix` says how to give several.
    pub(crate) fn several_classes(&self, row: &Row, column: usize, fix: &str) -> Error {
        let (line, name) = (row.line, &self.headers[column]);
        Error::Layout {
            path: self.path.clone(),
            found: format!(
                "`{}` as the {name} in line {line}",
                clipped(&row.cells[column])
            ),
            expected: "the name of one class".to_owned(),
            hint: format!("if these are several classes, {fix}"),
        }
    }

    /// Refuses a cell in which a name is too long to be that of a class.
    pub(crate) fn check_names(
        &self,
        row: &Row,
        column: usize,
        names: &[&str],
    ) -> Result<(), Error> {
        if names.iter().any(|name| is_too_long(name)) {
            Err(self.bad_cell(
                row,
                column,
                format!("names of at most {MAX_NAME} characters"),
            ))
        } else {
            Ok(())
        }
    }
}

/// True if a class cannot have this name.
pub(super) fn is_too_long(name: &str) -> bool {
    name.chars().nth(MAX_NAME).is_some()
}

/// True if a cell says that there is no value.
pub(super) fn is_blank(cell: &str) -> bool {
    BLANKS.iter().any(|blank| cell.eq_ignore_ascii_case(blank))
}

/// Removes the fraction of whole numbers, if all non-blank `names` are decimal numbers.
pub(super) fn whole_numbers(names: &mut [String]) {
    if are_numbers(names.iter().map(String::as_str)) {
        for name in names {
            if let Some(whole) = whole_number(name).map(str::to_owned) {
                *name = whole;
            }
        }
    }
}

/// Whether all non-blank cells are decimal numbers.
fn are_numbers<'a>(mut cells: impl Iterator<Item = &'a str>) -> bool {
    let are_digits =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    cells.all(|cell| {
        let digits = cell.strip_prefix('-').unwrap_or(cell);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        cell.is_empty() || are_digits(whole) && are_digits(fraction)
    })
}

/// A whole number without its fraction of zeros; `None` if there is none.
fn whole_number(cell: &str) -> Option<&str> {
    cell.trim_end_matches('0').strip_suffix('.')
}

/// Reads the names of mask values: the columns `value` and `name`; 0 is skipped.
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
        if row.cells[name].is_empty() {
            return Err(table.bad_cell(row, name, "a name for the value"));
        }
        classes.insert(number, row.cells[name].to_owned());
    }
    let classes = classes.into_iter().filter(|(value, _)| *value != 0);
    Ok(classes
        .map(|(value, name)| MaskClass { value, name })
        .collect())
}

#[cfg(test)]
mod tests;
