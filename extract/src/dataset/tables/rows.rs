//! The rows of a table, grouped by their images.

use std::collections::{HashMap, HashSet};

use cache::Labels;

use crate::Error;
use crate::dataset::label_table::{LabelTable, Merge, braces};
use crate::dataset::manifest::parse_state;
use crate::dataset::table::{Row, Table};

/// Name that stands for all columns that are not used.
const ALL: &str = "*";

/// The rows of a table, and the columns that the card names.
pub(super) struct Rows<'a> {
    table: &'a Table,
    described: &'a LabelTable,
    class_index: HashMap<&'a str, usize>,
    image: Pattern<'a>,
    patient: Option<usize>,
    reader: Option<usize>,
    labels: LabelColumns,
    /// Columns with the values of rows to keep.
    keep: Vec<(usize, &'a [String])>,
}

/// An image and its labels.
pub(super) struct LabelledImage {
    /// Its path below the root, or `**/` and its name.
    pub(super) image: String,
    /// True if any of its rows is one to keep.
    pub(super) is_kept: bool,
    pub(super) patient: Option<String>,
    pub(super) labels: Labels,
}

/// The columns that labels are from.
enum LabelColumns {
    /// One that names a class.
    Class(usize),
    /// One that names any number of classes.
    Classes(usize),
    /// One for each class, in their order.
    States(Vec<usize>),
}

impl LabelColumns {
    fn find(table: &Table, described: &LabelTable, classes: &[String]) -> Result<Self, Error> {
        if let Some(name) = &described.label {
            return table.required(&[name]).map(LabelColumns::Class);
        }
        if let Some(name) = &described.labels {
            return table.required(&[name]).map(LabelColumns::Classes);
        }
        let columns = classes.iter().map(|class| table.required(&[class]));
        columns.collect::<Result<_, _>>().map(LabelColumns::States)
    }
}

impl<'a> Rows<'a> {
    pub(super) fn of(
        table: &'a Table,
        described: &'a LabelTable,
        classes: &'a [String],
    ) -> Result<Rows<'a>, Error> {
        let optional = |name: &Option<String>| {
            let column = name.as_ref().map(|name| table.required(&[name]));
            column.transpose()
        };
        let keep = described.keep.iter().map(|(column, values)| {
            let column = table.required(&[column])?;
            Ok((column, values.as_slice()))
        });
        Ok(Rows {
            table,
            described,
            class_index: classes.iter().map(String::as_str).zip(0..).collect(),
            image: Pattern::of(&described.image, table)?,
            patient: optional(&described.patient)?,
            reader: optional(&described.reader)?,
            labels: LabelColumns::find(table, described, classes)?,
            keep: keep.collect::<Result<_, Error>>()?,
        })
    }

    /// Warnings of cells that are read as blank, and of columns that are neither used nor ignored.
    pub(super) fn warnings(&self) -> Result<Vec<String>, Error> {
        let mut used: Vec<usize> = self.image.parts.iter().map(|(_, column)| *column).collect();
        used.extend(self.patient.into_iter().chain(self.reader));
        used.extend(self.keep.iter().map(|(column, _)| *column));
        match &self.labels {
            LabelColumns::Class(column) | LabelColumns::Classes(column) => used.push(*column),
            LabelColumns::States(columns) => used.extend(columns),
        }
        let mut warnings: Vec<String> = self.table.blanked(&used).collect();
        if !self.described.ignore.iter().any(|name| name == ALL) {
            for name in &self.described.ignore {
                used.extend(self.table.column(&[name])?);
            }
            warnings.extend(self.table.unused(&used));
        }
        Ok(warnings)
    }

    /// The images that rows name, in the order of their first rows.
    ///
    /// # Errors
    ///
    /// [`Error::BadCell`] for a label that is not known, an image or a reader that is named again, and
    /// an image of two patients.
    pub(super) fn by_image(&self) -> Result<Vec<LabelledImage>, Error> {
        let mut places = HashMap::new();
        let mut images: Vec<LabelledImage> = Vec::new();
        let mut labels: Vec<Vec<Labels>> = Vec::new();
        let mut readers = HashSet::new();
        for row in &self.table.rows {
            let image = self.image.path(self.table, row)?;
            let place = *places.entry(image.clone()).or_insert(images.len());
            if place == images.len() {
                labels.push(Vec::new());
                images.push(LabelledImage {
                    image,
                    is_kept: false,
                    patient: self.patient(row),
                    labels: Labels::Unlabelled,
                });
            } else {
                self.check_repeated(row, &images[place])?;
            }
            if let Some(column) = self.reader
                && !readers.insert((place, &row.cells[column]))
            {
                let expected = "a reader who has no other row of this image";
                return Err(self.table.bad_cell(row, column, expected));
            }
            if self.is_kept(row) {
                images[place].is_kept = true;
                labels[place].push(self.labels(row)?);
            }
        }
        let merge = self.described.merge.unwrap_or(Merge::Max);
        for (image, labels) in images.iter_mut().zip(labels) {
            image.labels = merge.merged(&labels);
        }
        Ok(images)
    }

    /// Refuses a row of an image that has one, if rows are not merged or it is of another patient.
    fn check_repeated(&self, row: &Row, image: &LabelledImage) -> Result<(), Error> {
        if self.described.merge.is_none() {
            let expected = "an image that no other row names, or `merge` in the card";
            return Err(self.table.bad_cell(row, self.image.parts[0].1, expected));
        }
        match self.patient {
            Some(column) if self.patient(row) != image.patient => {
                let expected = "the same patient in all rows of an image";
                Err(self.table.bad_cell(row, column, expected))
            }
            _ => Ok(()),
        }
    }

    fn patient(&self, row: &Row) -> Option<String> {
        let cell = &row.cells[self.patient?];
        (!cell.is_empty()).then(|| cell.to_owned())
    }

    fn is_kept(&self, row: &Row) -> bool {
        let mut keep = self.keep.iter();
        keep.all(|(column, values)| values.iter().any(|value| *value == row.cells[*column]))
    }

    fn labels(&self, row: &Row) -> Result<Labels, Error> {
        match &self.labels {
            LabelColumns::Class(column) => {
                let word = &row.cells[*column];
                let class = (!word.is_empty()).then(|| self.class(row, *column, word));
                let class = class.transpose()?.flatten();
                Ok(Labels::Single(class.map(|class| class as u32)))
            }
            LabelColumns::Classes(column) if row.cells[*column].is_empty() => {
                Ok(Labels::Multi(vec![None; self.class_index.len()]))
            }
            LabelColumns::Classes(column) => {
                let mut states = vec![Some(0); self.class_index.len()];
                for word in words(&row.cells[*column]) {
                    if let Some(class) = self.class(row, *column, word)? {
                        states[class] = Some(1);
                    }
                }
                Ok(Labels::Multi(states))
            }
            LabelColumns::States(columns) => {
                let states = columns.iter().map(|column| self.state(row, *column));
                states.collect::<Result<_, _>>().map(Labels::Multi)
            }
        }
    }

    /// The class that a word means; `None` if the card ignores it.
    fn class(&self, row: &Row, column: usize, word: &str) -> Result<Option<usize>, Error> {
        let class = self.class_index.get(self.value(word)).copied();
        if class.is_none() && !self.described.ignore_other_labels {
            let expected = "a class of the card, or what its `values` list";
            return Err(self.table.bad_cell(row, column, expected));
        }
        Ok(class)
    }

    fn state(&self, row: &Row, column: usize) -> Result<Option<i8>, Error> {
        match self.value(&row.cells[column]) {
            "" => Ok(None),
            value => parse_state(value)
                .map(Some)
                .ok_or_else(|| self.table.bad_cell(row, column, "1, 0, -1 or blank")),
        }
    }

    fn value<'b>(&'b self, cell: &'b str) -> &'b str {
        self.described.values.get(cell).map_or(cell, String::as_str)
    }
}

/// The names between bars, or in a list as Python writes it (names with commas in them come apart).
fn words(cell: &str) -> impl Iterator<Item = &str> {
    let list = cell
        .strip_prefix('[')
        .and_then(|cell| cell.strip_suffix(']'));
    let (text, separator) = list.map_or((cell, '|'), |list| (list, ','));
    let words = text.split(separator).map(move |word| match list {
        Some(_) => word.trim().trim_matches(['\'', '"']).trim(),
        None => word.trim(),
    });
    words.filter(|word| !word.is_empty())
}

/// A path with columns in braces.
struct Pattern<'a> {
    /// Texts, each with the column that follows it.
    parts: Vec<(&'a str, usize)>,
    end: &'a str,
}

impl<'a> Pattern<'a> {
    fn of(pattern: &'a str, table: &Table) -> Result<Pattern<'a>, Error> {
        let (parts, end) = braces(pattern).unwrap_or_default();
        let parts = parts.into_iter();
        let parts = parts.map(|(text, column)| Ok((text, table.required(&[column])?)));
        Ok(Pattern {
            parts: parts.collect::<Result<_, Error>>()?,
            end,
        })
    }

    /// The path of a row's image.
    fn path(&self, table: &Table, row: &Row) -> Result<String, Error> {
        let mut path = String::new();
        for (text, column) in &self.parts {
            let cell = &row.cells[*column];
            if cell.is_empty() {
                return Err(table.bad_cell(row, *column, "the path or the id of an image"));
            }
            path.extend([text, cell]);
        }
        path.push_str(self.end);
        Ok(path)
    }
}
