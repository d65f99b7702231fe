//! A table of labels without images: for slices that are in a cache already.

use std::path::Path;

use cache::{Labels, Task};

use super::columns::{IMAGE, PATIENT};
use super::labels::{LabelReader, LabelSource};
use super::{found_classes, listed_classes};
use crate::Error;
use crate::dataset::table::Table;
use crate::split::Key;

/// Names of the column of samples.
const SAMPLE: [&str; 2] = ["sample", "id"];

/// The rows of a table of labels.
pub(crate) struct LabelRows {
    /// Kind of the names in the rows.
    pub(crate) key: Key,
    /// Kind and classes of the labels; `None` if the table has only patients.
    pub(crate) labels: Option<(Task, Vec<String>)>,
    /// Whether the table has patients.
    pub(crate) has_patients: bool,
    /// Its rows.
    pub(crate) rows: Vec<LabelRow>,
    /// Warnings for the user.
    pub(crate) warnings: Vec<String>,
}

/// A row of a table of labels.
pub(crate) struct LabelRow {
    /// Line in the file, counted from 1 with the header.
    pub(crate) line: usize,
    /// Name of a sample or path of an image.
    pub(crate) name: String,
    /// The patient, if known.
    pub(crate) patient: Option<String>,
    /// The labels.
    pub(crate) labels: Labels,
}

impl LabelRows {
    /// Reads the table `path`: a column `sample` or `image`; a column `label`, a column `labels` with bars
    /// between names, or `label_columns`; and maybe a column `patient`. The classes have the order of `known`
    /// if they are among them, else that of `classes.txt` beside the table, else the natural order.
    ///
    /// # Errors
    ///
    /// Those of [`Table::read`], [`Error::MissingColumn`], [`Error::BadCell`], and [`Error::Layout`] if
    /// there is nothing to read.
    pub(crate) fn read(
        path: &Path,
        label_columns: &[String],
        known: &[String],
    ) -> Result<LabelRows, Error> {
        let table = Table::read(path)?;
        let (key, name) = match table.column(&SAMPLE)? {
            Some(column) => (Key::Sample, column),
            None => (
                Key::Image,
                table.column(&IMAGE)?.map_or_else(|| no_key(&table), Ok)?,
            ),
        };
        let patient = table.agreed(&PATIENT)?;
        let source = LabelSource::find(&table, label_columns, false)?;
        if table.rows.is_empty() || source == LabelSource::Nothing && patient.is_none() {
            return Err(nothing(&table));
        }
        let columns = source.columns().iter().chain(&patient).copied();
        let used: Vec<usize> = columns.chain([name]).collect();
        table.refuse_line_breaks(&used)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let classes = match &source {
            LabelSource::Columns(_) => label_columns.to_vec(),
            LabelSource::Single(column) | LabelSource::Joined(column) => {
                let found = found_classes(&table, &source, *column);
                if found.iter().all(|class| known.contains(class)) {
                    known.to_vec()
                } else {
                    listed_classes(folder)?.unwrap_or(found)
                }
            }
            LabelSource::Nothing | LabelSource::Mask => Vec::new(),
        };
        let reader = LabelReader::new(&table, &source, &classes);
        let filled = |cell: &str| (!cell.is_empty()).then(|| cell.to_owned());
        let rows = table.rows.iter().map(|row| {
            Ok(LabelRow {
                line: row.line,
                name: filled(&row.cells[name])
                    .ok_or_else(|| table.bad_cell(row, name, "the name of a sample or an image"))?,
                patient: patient.and_then(|column| filled(&row.cells[column])),
                labels: reader.of(row)?,
            })
        });
        let rows = rows.collect::<Result<_, Error>>()?;
        let warnings = table.warnings(&used).into_iter();
        let has_labels = source != LabelSource::Nothing;
        Ok(LabelRows {
            key,
            has_patients: patient.is_some(),
            rows,
            warnings: warnings
                .chain(source.warning(&table).filter(|_| has_labels))
                .collect(),
            labels: has_labels.then(|| (source.task(), classes)),
        })
    }
}

fn no_key(table: &Table) -> Result<usize, Error> {
    table.required(&["sample", "image"])
}

fn nothing(table: &Table) -> Error {
    Error::Layout {
        path: table.path.clone(),
        found: if table.rows.is_empty() {
            "a header and no rows".to_owned()
        } else {
            format!("the columns `{}`", table.headers.join("`, `"))
        },
        expected: "a row for each sample, with a column `label`, `labels` or `patient`".to_owned(),
        hint: "name columns of 1, 0 and -1 with `--label-columns`".to_owned(),
    }
}
