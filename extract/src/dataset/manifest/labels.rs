//! Labels in the rows of a table.

use std::collections::{HashMap, HashSet};

use cache::{Labels, Task};
use common::text::clipped;

use crate::Error;
use crate::dataset::files;
use crate::dataset::table::{Row, Table};

/// Source of the labels.
#[derive(PartialEq, Eq)]
pub(super) enum LabelSource {
    Nothing,
    Single(usize),
    Joined(usize),
    Columns(Vec<usize>),
    Mask,
}

impl LabelSource {
    pub(super) fn find(
        table: &Table,
        label_columns: &[String],
        mask: bool,
    ) -> Result<LabelSource, Error> {
        if !label_columns.is_empty() {
            let columns = label_columns.iter().map(|name| table.required(&[name]));
            return columns.collect::<Result<_, _>>().map(LabelSource::Columns);
        }
        if let Some(column) = table.column(&["labels"])? {
            return Ok(LabelSource::Joined(column));
        }
        Ok(match table.agreed(&["label", "class", "target", "y"])? {
            Some(column) => LabelSource::Single(column),
            None if mask => LabelSource::Mask,
            None => LabelSource::Nothing,
        })
    }

    pub(super) fn task(&self) -> Task {
        match self {
            LabelSource::Nothing => Task::Unlabelled,
            LabelSource::Single(_) => Task::SingleLabel,
            LabelSource::Joined(_) | LabelSource::Columns(_) | LabelSource::Mask => {
                Task::MultiLabel
            }
        }
    }

    /// A warning if there are no labels, or names may have another separator.
    pub(super) fn warning(&self, table: &Table) -> Option<String> {
        let name = files::name(&table.path);
        match self {
            LabelSource::Nothing => Some(format!(
                "`{name}`: no column `label`, `labels` or `mask`, and no `--label-columns`: the \
                 samples have no labels"
            )),
            LabelSource::Joined(column) => {
                let cells = || table.rows.iter().map(|row| &row.cells[*column]);
                let other = cells().find(|cell| cell.contains([',', ';']))?;
                (!cells().any(|cell| cell.contains('|'))).then(|| {
                    format!(
                        "`{name}`: names in the column `labels` are separated by `|`, which no cell \
                         contains: `{}` is one class",
                        clipped(other)
                    )
                })
            }
            _ => None,
        }
    }

    /// The columns that are read.
    pub(super) fn columns(&self) -> &[usize] {
        match self {
            LabelSource::Nothing | LabelSource::Mask => &[],
            LabelSource::Single(column) | LabelSource::Joined(column) => {
                std::slice::from_ref(column)
            }
            LabelSource::Columns(columns) => columns,
        }
    }

    /// The class names in a cell: at most one, or those between bars.
    pub(super) fn names<'a>(&self, cell: &'a str) -> Vec<&'a str> {
        let parts: Vec<&str> = match self {
            LabelSource::Joined(_) => cell.split('|').map(str::trim).collect(),
            _ => vec![cell],
        };
        parts.into_iter().filter(|name| !name.is_empty()).collect()
    }
}

/// Reader of the labels in rows.
pub(super) struct LabelReader<'a> {
    table: &'a Table,
    source: &'a LabelSource,
    class_index: HashMap<&'a str, usize>,
    class_count: usize,
}

impl<'a> LabelReader<'a> {
    pub(super) fn new(
        table: &'a Table,
        source: &'a LabelSource,
        classes: &'a [String],
    ) -> LabelReader<'a> {
        let index = classes.iter().enumerate();
        LabelReader {
            table,
            source,
            class_index: index.map(|(k, name)| (name.as_str(), k)).collect(),
            class_count: classes.len(),
        }
    }

    /// The labels in a row.
    pub(super) fn of(&self, row: &Row) -> Result<Labels, Error> {
        let unknown = || Labels::Multi(vec![None; self.class_count]);
        match self.source {
            LabelSource::Nothing => Ok(Labels::Unlabelled),
            LabelSource::Mask => Ok(unknown()),
            LabelSource::Single(column) => {
                let classes = self.named_classes(row, *column)?;
                Ok(Labels::Single(classes.first().map(|class| *class as u32)))
            }
            LabelSource::Joined(column) if row.cells[*column].is_empty() => Ok(unknown()),
            LabelSource::Joined(column) => {
                let mut labels = vec![Some(0); self.class_count];
                let classes = self.named_classes(row, *column)?;
                classes
                    .into_iter()
                    .for_each(|class| labels[class] = Some(1));
                Ok(Labels::Multi(labels))
            }
            LabelSource::Columns(columns) => {
                let expected = "1, 0, -1 or blank";
                let label =
                    |column: &usize| parsed(self.table, row, *column, parse_state, expected);
                columns
                    .iter()
                    .map(label)
                    .collect::<Result<_, _>>()
                    .map(Labels::Multi)
            }
        }
    }

    fn named_classes(&self, row: &Row, column: usize) -> Result<Vec<usize>, Error> {
        let names = self.source.names(&row.cells[column]);
        self.table.check_names(row, column, &names)?;
        let expected = if names.iter().any(|name| is_negative(name)) {
            NO_NEGATIVE
        } else if has_twice(&names) {
            "each class once (a column of 1 and 0 for each class is named by `--label-columns`)"
        } else {
            let classes = names.iter().map(|name| self.class_index.get(name).copied());
            if let Some(classes) = classes.collect() {
                return Ok(classes);
            }
            if names.iter().any(|name| is_several(name)) {
                return Err(self.table.several_classes(row, column, SEVERAL));
            }
            "a class that `classes.txt` names"
        };
        Err(self.table.bad_cell(row, column, expected))
    }
}

/// The value of a cell; `None` if it is blank.
pub(super) fn parsed<T>(
    table: &Table,
    row: &Row,
    column: usize,
    parse: fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, Error> {
    let cell = &row.cells[column];
    if cell.is_empty() {
        return Ok(None);
    }
    let value = parse(cell).ok_or_else(|| table.bad_cell(row, column, expected))?;
    Ok(Some(value))
}

/// Hint for a cell with several classes where one is expected, or with a list as Python prints it.
const SEVERAL: &str = "name the column `labels` and put `|` between them; if it is one, list it in \
                       `classes.txt` beside the manifest";

/// True if a name is several, unless a list of classes has it: `a|b`, or `['a', 'b']` as Python
/// writes a list.
pub(in crate::dataset) fn is_several(name: &str) -> bool {
    name.contains('|') || name.starts_with('[') && name.ends_with(']')
}

/// Expected value of a cell with a negative number instead of a class.
pub(in crate::dataset) const NO_NEGATIVE: &str = "the name of a class, blank where it is not \
    known (columns of 1, 0 and -1 are named by `--label-columns`)";

pub(in crate::dataset) fn is_negative(name: &str) -> bool {
    name.parse::<f64>().is_ok_and(|number| number < 0.0)
}

fn has_twice(names: &[&str]) -> bool {
    let mut seen = HashSet::new();
    !names.iter().all(|name| seen.insert(name))
}

/// True if a class is present, as 1, 0 and -1, or words for the first two.
pub(in crate::dataset) fn parse_state(cell: &str) -> Option<i8> {
    match cell.parse::<f32>() {
        Ok(1.0) => Some(1),
        Ok(0.0) => Some(0),
        Ok(-1.0) => Some(-1),
        Ok(_) => None,
        Err(_) => cell.to_ascii_lowercase().parse().ok().map(bool::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_may_be_written_as_floats_or_words() {
        let cells = ["1", "0.0", "-1.0", "True", "false", "2", "yes"];
        let expected = [Some(1), Some(0), Some(-1), Some(1), Some(0), None, None];
        assert_eq!(cells.map(parse_state), expected);
    }
}
