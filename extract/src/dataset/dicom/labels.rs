//! Labels, from folders or from a table.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use cache::{Labels, Task};
use common::text::slashed;

use super::layers::Layers;
use super::notes::Notes;
use super::series::Entry;
use crate::Error;
use crate::dataset::manifest::{NO_NEGATIVE, is_negative, is_several, parse_state};
use crate::dataset::table::{Row, Table};
use crate::dataset::{DatasetCard, natural_order};

/// Key columns of a table.
const KEYS: [(&str, Key); 4] = [
    ("SeriesInstanceUID", |entry| {
        entry.series.clone().into_iter().collect()
    }),
    ("StudyInstanceUID", |entry| {
        entry.study.clone().into_iter().collect()
    }),
    ("PatientID", |entry| {
        entry.patient.clone().into_iter().collect()
    }),
    ("path", paths),
];

/// Names of a sample; the first one in the table is used.
type Key = fn(&Entry) -> Vec<String>;

/// The sample's files and their folders, innermost first.
fn paths(entry: &Entry) -> Vec<String> {
    let files = entry.image.files().iter().map(PathBuf::as_path);
    let folders = entry.path().ancestors().skip(1);
    files.chain(folders).map(slashed).collect()
}

/// A path as [`paths`] writes it.
fn plain_path(cell: &str) -> String {
    let parts = cell.split(['/', '\\']);
    let parts: Vec<&str> = parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    parts.join("/")
}

/// Gives labels to samples.
pub(super) struct Labeller<'a> {
    layers: &'a Layers<'a>,
    table: Option<Keyed>,
    classes: Vec<String>,
}

/// The labels in a table, by the key of its rows.
struct Keyed {
    key: Key,
    labels: HashMap<String, Labels>,
    used: HashSet<String>,
    blank: Labels,
    /// Warnings of the table.
    warnings: Vec<String>,
}

impl<'a> Labeller<'a> {
    /// Reads the table of the card, if it has one.
    ///
    /// # Errors
    ///
    /// Those of [`Table::read`], [`Error::MissingColumn`] and [`Error::BadCell`].
    pub(super) fn of(
        root: &Path,
        card: &DatasetCard,
        layers: &'a Layers<'a>,
    ) -> Result<Labeller<'a>, Error> {
        let mut classes = layers.classes().to_vec();
        let table = match &card.options.manifest {
            Some(table) => {
                let table = Table::read(&root.join(table))?;
                Some(Keyed::of(
                    &table,
                    &card.options.label_columns,
                    &mut classes,
                )?)
            }
            None => None,
        };
        Ok(Labeller {
            layers,
            table,
            classes,
        })
    }

    pub(super) fn labels(&mut self, entry: &Entry, notes: &mut Notes) -> Labels {
        let (labels, blank) = match &mut self.table {
            Some(table) => (table.labels(entry), table.blank.clone()),
            None if self.classes.is_empty() => return Labels::Unlabelled,
            None => {
                let class = self.layers.class(entry.path());
                (
                    class.map(|class| Labels::Single(Some(class))),
                    Labels::Single(None),
                )
            }
        };
        labels.unwrap_or_else(|| {
            notes.add("samples without a label", entry.id.as_str());
            blank
        })
    }

    /// Warnings of the table.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.table
            .as_ref()
            .map_or(Vec::new(), |table| table.warnings.clone())
    }

    /// The kind of the labels and the names of the classes; notes unused rows.
    pub(super) fn finish(self, notes: &mut Notes) -> (Task, Vec<String>) {
        let task = match &self.table {
            Some(table) => {
                table.note_unused(notes);
                match table.blank {
                    Labels::Multi(_) => Task::MultiLabel,
                    _ => Task::SingleLabel,
                }
            }
            None if self.classes.is_empty() => Task::Unlabelled,
            None => Task::SingleLabel,
        };
        (task, self.classes)
    }
}

impl Keyed {
    /// Labels come from `columns`, else from the column `label`, whose names are the classes
    /// unless those are known.
    fn of(table: &Table, columns: &[String], classes: &mut Vec<String>) -> Result<Keyed, Error> {
        let names = KEYS.map(|(name, _)| name);
        let column = table.required(&names)?;
        let key = KEYS
            .iter()
            .find(|(name, _)| table.headers[column].eq_ignore_ascii_case(name));
        let key = key.map_or(KEYS[0].1, |(_, key)| *key);
        let source = LabelColumns::find(table, columns, classes)?;
        let mut all = source.columns().to_vec();
        all.push(column);
        table.refuse_line_breaks(&all)?;
        let mut labels: HashMap<String, Labels> = HashMap::new();
        let is_path = table.headers[column].eq_ignore_ascii_case("path");
        for row in &table.rows {
            let found = source.labels(table, row, classes)?;
            let name = if is_path {
                plain_path(&row.cells[column])
            } else {
                row.cells[column].to_owned()
            };
            match labels.entry(name) {
                Slot::Vacant(slot) => {
                    slot.insert(found);
                }
                Slot::Occupied(slot) if *slot.get() == found => {}
                Slot::Occupied(_) => {
                    let expected = "the same labels in all lines that name it";
                    return Err(table.bad_cell(row, column, expected));
                }
            }
        }
        Ok(Keyed {
            key,
            labels,
            used: HashSet::new(),
            warnings: table.warnings(&all),
            blank: match columns.len() {
                0 => Labels::Single(None),
                count => Labels::Multi(vec![None; count]),
            },
        })
    }

    fn labels(&mut self, entry: &Entry) -> Option<Labels> {
        let names = (self.key)(entry);
        let name = names
            .into_iter()
            .find(|name| self.labels.contains_key(name))?;
        let labels = self.labels.get(&name).cloned();
        self.used.insert(name);
        labels
    }

    fn note_unused(&self, notes: &mut Notes) {
        let unused = self.labels.keys().filter(|key| !self.used.contains(*key));
        let unused: BTreeSet<&String> = unused.collect();
        for key in unused {
            notes.add("lines of the table without an image", key.as_str());
        }
    }
}

/// Columns of labels.
enum LabelColumns {
    /// The name of a class.
    Single(usize),
    /// For each class whether it is present.
    Multi(Vec<usize>),
}

impl LabelColumns {
    /// The columns `named`, or else `label`; fills in the classes.
    fn find(
        table: &Table,
        named: &[String],
        classes: &mut Vec<String>,
    ) -> Result<LabelColumns, Error> {
        if named.is_empty() {
            let column = table.required(&["label", "class", "target"])?;
            if classes.is_empty() {
                *classes = names_in(table, column);
            }
            return Ok(LabelColumns::Single(column));
        }
        *classes = named.to_vec();
        let columns = named.iter().map(|name| table.required(&[name.as_str()]));
        columns.collect::<Result<_, _>>().map(LabelColumns::Multi)
    }

    fn columns(&self) -> &[usize] {
        match self {
            LabelColumns::Single(column) => std::slice::from_ref(column),
            LabelColumns::Multi(columns) => columns,
        }
    }

    fn labels(&self, table: &Table, row: &Row, classes: &[String]) -> Result<Labels, Error> {
        match self {
            LabelColumns::Single(column) => single(table, row, *column, classes),
            LabelColumns::Multi(columns) => multi(table, row, columns),
        }
    }
}

fn names_in(table: &Table, column: usize) -> Vec<String> {
    let cells = table.rows.iter().map(|row| row.cells[column].to_owned());
    // One with a bar in it is several, unless the card says that it is a name.
    let names = cells.filter(|cell| !cell.is_empty() && !is_several(cell));
    let names: BTreeSet<String> = names.collect();
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by(|a, b| natural_order(a, b));
    names
}

fn single(table: &Table, row: &Row, column: usize, classes: &[String]) -> Result<Labels, Error> {
    let cell = &row.cells[column];
    table.check_names(row, column, &[cell])?;
    if is_negative(cell) {
        return Err(table.bad_cell(row, column, NO_NEGATIVE));
    }
    let index = classes.iter().position(|class| class == cell);
    match index.and_then(|index| u32::try_from(index).ok()) {
        None if is_several(cell) => Err(table.several_classes(
            row,
            column,
            "give each a column and name them in `label_columns`; if it is one, list it in \
             `classes` of the card",
        )),
        None if !cell.is_empty() => {
            Err(table.bad_cell(row, column, "one of the classes in the card"))
        }
        index => Ok(Labels::Single(index)),
    }
}

fn multi(table: &Table, row: &Row, columns: &[usize]) -> Result<Labels, Error> {
    let state = |&column: &usize| match &row.cells[column] {
        "" => Ok(None),
        cell => match parse_state(cell) {
            None => Err(table.bad_cell(row, column, "1, 0, -1 or blank")),
            state => Ok(state),
        },
    };
    columns
        .iter()
        .map(state)
        .collect::<Result<_, _>>()
        .map(Labels::Multi)
}
