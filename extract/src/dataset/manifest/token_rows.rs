//! A table that describes the rows of an array: for embeddings that another program computed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;

use cache::{Labels, SliceMeta, Split, Task};
use common::counted;

use super::columns::{IMAGE, PATIENT};
use super::labels::{LabelReader, LabelSource, parsed};
use super::{found_classes, listed_classes};
use crate::Error;
use crate::dataset::table::{Row, Table};
use crate::dataset::{examples, files, id_of};

/// Names of the column of samples: volumes, slides or images.
const SAMPLE: [&str; 6] = ["sample", "id", "volume", "slide_id", "slide", "wsi_id"];

/// Name that the tables of Patho-Bench have for patients.
const CASE: &str = "case_id";

/// Name that the manifests of eva have for images.
const ORIGIN: &str = "origin";

/// Choices of how a table is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenTableOptions<'a> {
    /// Columns with one class each: 1, 0, -1 or blank.
    pub(crate) label_columns: &'a [String],
    /// Column with the number of each line's row in the array, from 0; `None` if they are in order.
    pub(crate) row_column: Option<&'a str>,
    /// Columns that are not read, since they hold the embeddings.
    pub(crate) left_out: &'a [String],
    /// Column that names the file with the embeddings of each line.
    pub(crate) file_column: Option<&'a str>,
    /// Whether labels are numbers of the classes that `classes.txt` lists, from 0, if it is there.
    pub(crate) numbered_classes: bool,
}

/// A table with a line for each row of an array, or for each sample.
pub(crate) struct TokenTable {
    /// Kind of the labels.
    pub(crate) task: Task,
    /// Names of the classes.
    pub(crate) classes: Vec<String>,
    /// Words for the classes in the table.
    words: Vec<String>,
    /// Whether there is a column of splits.
    pub(crate) has_splits: bool,
    /// Warnings for the user.
    pub(crate) warnings: Vec<String>,
    table: Table,
    columns: Columns,
}

struct Columns {
    sample: Option<usize>,
    image: Option<usize>,
    slice: Option<usize>,
    patient: Option<usize>,
    split: Option<usize>,
    row: Option<usize>,
    file: Option<usize>,
    labels: LabelSource,
}

impl TokenTable {
    /// Reads the table `path`. Labels are those of a manifest: columns that the options name, else a column
    /// `labels` with bars between names, else `label`. The classes have the order of `classes.txt` beside the
    /// table, else the natural one.
    ///
    /// # Errors
    ///
    /// Those of [`Table::read`], [`Error::MissingColumn`], and [`Error::Layout`] if there is no row.
    pub(crate) fn read(path: &Path, options: TokenTableOptions<'_>) -> Result<TokenTable, Error> {
        let table = Table::read_without(path, options.left_out)?;
        let named = |name: Option<&str>| name.map(|name| table.required(&[name])).transpose();
        let patient = table.agreed(&PATIENT)?;
        let image = table.column(&IMAGE)?;
        let columns = Columns {
            sample: table.column(&SAMPLE)?,
            image: image.map_or_else(|| table.column(&[ORIGIN]), |image| Ok(Some(image)))?,
            slice: table.column(&["slice"])?,
            patient: patient.map_or_else(|| table.column(&[CASE]), |column| Ok(Some(column)))?,
            split: table.column(&["split"])?,
            row: named(options.row_column)?,
            file: named(options.file_column)?,
            labels: LabelSource::find(&table, options.label_columns, false)?,
        };
        if table.rows.is_empty() {
            return Err(no_rows(path));
        }
        let used = columns.used();
        table.refuse_line_breaks(&used)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let listed = listed_classes(folder.unwrap_or(Path::new(".")))?;
        let classes = match &columns.labels {
            LabelSource::Columns(_) => options.label_columns.to_vec(),
            LabelSource::Single(column) | LabelSource::Joined(column) => {
                listed.unwrap_or_else(|| found_classes(&table, &columns.labels, *column))
            }
            LabelSource::Nothing | LabelSource::Mask => Vec::new(),
        };
        let words = if options.numbered_classes {
            (0..classes.len()).map(|class| class.to_string()).collect()
        } else {
            classes.clone()
        };
        let is_left_out = |column: &usize| options.left_out.contains(&table.headers[*column]);
        let left_out = (0..table.headers.len()).filter(is_left_out);
        let mut warnings =
            table.warnings(&used.iter().copied().chain(left_out).collect::<Vec<_>>());
        warnings.extend(columns.labels.warning(&table));
        Ok(TokenTable {
            task: columns.labels.task(),
            classes,
            words,
            has_splits: columns.split.is_some(),
            warnings,
            table,
            columns,
        })
    }

    /// Number of lines.
    pub(crate) fn len(&self) -> usize {
        self.table.rows.len()
    }

    /// For each of the `count` rows of the array `path`, its line in the table, if it has one.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if the numbers of rows differ, and [`Error::BadCell`] for a row that the array does not
    /// have, or a second line of one.
    pub(crate) fn lines(&self, path: &Path, count: u64) -> Result<Vec<Option<u32>>, Error> {
        let Some(column) = self.columns.row else {
            if self.len() as u64 != count {
                return Err(self.other_count(path, count));
            }
            return Ok((0..count as u32).map(Some).collect());
        };
        let mut lines = vec![None; usize::try_from(count).unwrap_or(usize::MAX)];
        for (line, row) in (0..).zip(&self.table.rows) {
            let number: Option<usize> = row.cells[column].parse().ok();
            let place = number.and_then(|number| lines.get_mut(number));
            let expected = format!("a row of {count}, from 0, each once");
            let place = place.filter(|place| place.is_none());
            *place.ok_or_else(|| self.table.bad_cell(row, column, expected))? = Some(line);
        }
        Ok(lines)
    }

    fn other_count(&self, path: &Path, count: u64) -> Error {
        Error::Layout {
            path: self.table.path.clone(),
            found: counted(self.len(), "row"),
            expected: format!("{count}, one for each row of `{}`", files::name(path)),
            hint: "if a column has the row of the array that each line is about, from 0, name it with \
                   `--row-column`"
                .to_owned(),
        }
    }

    /// For each row of these samples, which have these numbers of rows, its line in the table. Lines of other
    /// samples are not used.
    ///
    /// # Errors
    ///
    /// [`Error::MissingColumn`] without a column of samples or images, [`Error::BadCell`] for a blank one or a second
    /// line of a sample, and [`Error::Layout`] for samples without a line.
    pub(crate) fn lines_of_samples(
        &self,
        samples: &[(String, u64)],
    ) -> Result<Vec<Option<u32>>, Error> {
        let column = match self.columns.sample.or(self.columns.image) {
            Some(column) => column,
            None => self.table.required(&["sample"])?,
        };
        let (mut known, mut stems) = (HashMap::with_capacity(self.len()), HashMap::new());
        for (line, row) in (0..).zip(&self.table.rows) {
            let name = &row.cells[column];
            if name.is_empty() || known.insert(name, line).is_some() {
                let expected = "the name of a sample, each once";
                return Err(self.table.bad_cell(row, column, expected));
            }
            // Without the ending of the slide or image.
            let stem = Path::new(name).file_stem().and_then(OsStr::to_str);
            stems.insert(stem.unwrap_or(name), line);
        }
        let mut lines = Vec::new();
        let mut missing = Vec::new();
        for (sample, rows) in samples {
            match known
                .get(sample.as_str())
                .or_else(|| stems.get(sample.as_str()))
            {
                Some(line) => lines.extend((0..*rows).map(|_| Some(*line))),
                None => missing.push(sample.clone()),
            }
        }
        if missing.is_empty() {
            Ok(lines)
        } else {
            Err(not_named(&self.table.path, &missing))
        }
    }

    /// The files with the embeddings of all lines, as the table names them.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        let column = self.columns.file;
        let rows = self.table.rows.iter();
        rows.filter_map(move |row| Some(&row.cells[column?]))
    }

    /// A reader of single lines.
    pub(crate) fn reader(&self) -> TokenLines<'_> {
        TokenLines {
            of: self,
            labels: LabelReader::new(&self.table, &self.columns.labels, &self.words),
        }
    }
}

impl Columns {
    fn used(&self) -> Vec<usize> {
        let places = [
            self.sample,
            self.image,
            self.slice,
            self.patient,
            self.split,
            self.row,
            self.file,
        ];
        let labels = self.labels.columns().iter().copied();
        places.into_iter().flatten().chain(labels).collect()
    }
}

/// Reader of the lines of a [`TokenTable`].
pub(crate) struct TokenLines<'a> {
    of: &'a TokenTable,
    labels: LabelReader<'a>,
}

impl TokenLines<'_> {
    /// The row that a line describes, with height and width 1. `unnamed` names its sample if the table does not.
    ///
    /// # Errors
    ///
    /// [`Error::BadCell`].
    pub(crate) fn slice(&self, line: u32, unnamed: &str) -> Result<SliceMeta, Error> {
        let (table, columns) = (&self.of.table, &self.of.columns);
        let row = &table.rows[line as usize];
        let image = cell(row, columns.image);
        let sample = match (cell(row, columns.sample), image) {
            (Some(sample), _) => sample.to_owned(),
            (None, Some(image)) => id_of(Path::new(image)),
            (None, None) => unnamed.to_owned(),
        };
        let parse = |cell: &str| cell.parse().ok();
        let number = columns
            .slice
            .map(|column| parsed(table, row, column, parse, "the number of a slice, from 0"));
        let split = columns
            .split
            .map(|column| parsed(table, row, column, Split::parse, "train, val or test"));
        Ok(SliceMeta {
            image: image.unwrap_or(&sample).to_owned(),
            sample,
            patient: cell(row, columns.patient).map(str::to_owned),
            slice: number.transpose()?.flatten().unwrap_or(0),
            split: split.transpose()?.flatten(),
            labels: self.labels.of(row)?,
            ..plain_slice()
        })
    }

    /// Whether slices have numbers.
    pub(crate) fn has_slices(&self) -> bool {
        self.of.columns.slice.is_some()
    }
}

/// A slice without a name and labels.
pub(crate) fn plain_slice() -> SliceMeta {
    SliceMeta {
        sample: String::new(),
        image: String::new(),
        patient: None,
        slice: 0,
        view: 0,
        split: None,
        labels: Labels::Unlabelled,
        height: 1,
        width: 1,
        spacing_mm: None,
        placement: None,
    }
}

fn cell(row: &Row, column: Option<usize>) -> Option<&str> {
    column
        .map(|column| &row.cells[column])
        .filter(|cell| !cell.is_empty())
}

fn no_rows(path: &Path) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: "a header and no rows".to_owned(),
        expected: "a row for each row of the array, or for each sample".to_owned(),
        hint: "check that the table is complete".to_owned(),
    }
}

/// An error about samples without a line in the table `path`.
fn not_named(path: &Path, samples: &[String]) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: format!(
            "no row for {}: {}",
            counted(samples.len(), "sample"),
            examples(samples)
        ),
        expected: "a row for each sample, by the name of its file without the ending".to_owned(),
        hint: "add a row for each, with a blank label where it is not known".to_owned(),
    }
}
