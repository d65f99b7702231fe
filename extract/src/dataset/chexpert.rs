//! CheXpert: 224,316 chest radiographs, with findings mined from reports; val and test labelled by
//! radiologists.

mod images;
mod tables;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};
use common::text::slashed;
use imaging::read::Source;

use self::images::Images;
use self::tables::{Columns, TABLES, find_tables};
use super::examples::examples;
use super::files::{Tree, name};
use super::missing::Gap;
use super::table::{Row, Table};
use super::{Dataset, DatasetCard, LayoutOptions, Sample, Uncertain, id_of};
use crate::Error;

/// The findings of the competition, in their official order.
const COMPETITION: [&str; 5] = [
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Pleural Effusion",
];

/// The projections that `AP/PA` can hold.
const VIEWS: [&str; 4] = ["AP", "PA", "LL", "RL"];

/// Lists the frontal images that the tables name, train before val before test and each in the
/// order of its table.
///
/// An image is found by the part of its path from `patient00001/` on, because the part before it differs
/// between the tables and the copies of the files. A blank label is 0, as in the study; -1 becomes
/// `options.uncertain`. Also uses `classes`, `options.views` and `options.allow_missing`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    check_views(root, &card.options)?;
    let tree = Tree::walk_for(root, is_needed)?;
    let tables = find_tables(root, &tree)?;
    let names: Vec<&Path> = tables.iter().map(|(table, _)| table.as_path()).collect();
    let images = Images::of(&tree, &names);
    let classes = if card.classes.is_empty() {
        COMPETITION.map(str::to_owned).to_vec()
    } else {
        card.classes.clone()
    };
    let mut lister = Lister {
        images: &images,
        options: &card.options,
        named: HashSet::new(),
        absent: Vec::new(),
        warnings: images.warnings(),
    };
    let mut samples = Vec::new();
    for (table, split) in &tables {
        let table = Table::read(&root.join(table))?;
        let columns = Columns::find(&table, &classes)?;
        lister.append(&mut samples, &table, &columns, *split)?;
    }
    let mut warnings = lister.warnings;
    warnings.extend(tree.warning());
    warnings.extend(missing_splits(&tables));
    let unnamed = images.without(&lister.named);
    if let Some(gap) = Gap::of_tables(&names, &lister.absent, &unnamed, &tree) {
        warnings.push(gap.settle(root, card.options.allow_missing, samples.len())?);
    }
    if samples.is_empty() {
        return Err(nothing_kept(root, &names, &card.options));
    }
    Ok(Dataset {
        warnings,
        ..Dataset::new(&images.root, Task::MultiLabel, classes, samples)
    })
}

/// True if a path is one of a patient's, or may be a table's.
fn is_needed(path: &Path) -> bool {
    let mut tables = TABLES.iter().flat_map(|(_, names)| *names);
    let is_table = tables.any(|table| *table == name(path));
    is_table || images::suffix(&format!("{}/", slashed(path))).is_some()
}

fn missing_splits(tables: &[(PathBuf, Split)]) -> Vec<String> {
    let is_there = |split| tables.iter().any(|(_, found)| *found == split);
    let missing = TABLES.iter().filter(|(split, _)| !is_there(*split));
    let warning = |(split, names): &(Split, &[&str])| {
        let (split, table) = (split.name(), names[0]);
        format!("no `{table}`, so no split `{split}`")
    };
    missing.map(warning).collect()
}

fn check_views(root: &Path, options: &LayoutOptions) -> Result<(), Error> {
    let known = |view: &&String| VIEWS.iter().any(|known| known.eq_ignore_ascii_case(view));
    match options.views.iter().find(|view| !known(view)) {
        None => Ok(()),
        Some(view) => Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!("`{view}` among the `views` of the dataset's card"),
            expected: format!("`{}`", VIEWS.join("`, `")),
            hint: "correct `views` in the card; without it, all frontal images are taken"
                .to_owned(),
        }),
    }
}

fn nothing_kept(root: &Path, tables: &[&Path], options: &LayoutOptions) -> Error {
    let tables: Vec<String> = tables.iter().map(|t| t.display().to_string()).collect();
    let views = if options.views.is_empty() {
        "frontal".to_owned()
    } else {
        options.views.join(" or ")
    };
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("no {views} image in {}", examples(&tables)),
        expected: "at least one".to_owned(),
        hint: "check that the tables are complete, and `views` in the card".to_owned(),
    }
}

/// Turns lines into samples.
struct Lister<'a> {
    images: &'a Images,
    options: &'a LayoutOptions,
    /// The images that lines have named.
    named: HashSet<&'a str>,
    /// Those that are not there.
    absent: Vec<String>,
    warnings: Vec<String>,
}

impl Lister<'_> {
    /// Appends the images of a table that are kept.
    fn append(
        &mut self,
        samples: &mut Vec<Sample>,
        table: &Table,
        columns: &Columns,
        split: Split,
    ) -> Result<(), Error> {
        if columns.view.is_none() && !self.options.views.is_empty() {
            self.warnings.push(format!(
                "`{}` has no column for the views {}; all frontal images are read",
                table.path.display(),
                self.options.views.join(" or ")
            ));
        }
        for row in &table.rows {
            let of_row = self.samples(table, columns, row)?.into_iter();
            samples.extend(of_row.map(|sample| Sample {
                split: Some(split),
                ..sample
            }));
        }
        Ok(())
    }

    /// The images of a line that are kept: of a study, any number; else one or none.
    fn samples(
        &mut self,
        table: &Table,
        columns: &Columns,
        row: &Row,
    ) -> Result<Vec<Sample>, Error> {
        let images = self.images;
        let path = row.cells[columns.path].replace('\\', "/");
        let key = images::suffix(&path).ok_or_else(|| {
            table.bad_cell(row, columns.path, "a path with `patient00001/study1` in it")
        })?;
        let found = if columns.is_study {
            images.of_study(key)
        } else {
            images.get(key).into_iter().collect()
        };
        if found.is_empty() && self.is_kept(table, columns, row, key)? {
            self.absent.push(key.to_owned());
        }
        let mut samples = Vec::with_capacity(found.len());
        for (key, image) in found {
            if !self.named.insert(key) {
                let expected = "an image that no other line names";
                return Err(table.bad_cell(row, columns.path, expected));
            }
            if self.is_kept(table, columns, row, key)? {
                samples.push(Sample {
                    id: id_of(Path::new(key)),
                    patient: key.split('/').next().map(str::to_owned),
                    labels: self.labels(table, columns, row)?,
                    ..Sample::of_image(Source::File(image.clone()))
                });
            }
        }
        Ok(samples)
    }

    /// True if the image is frontal and of a view that is asked for.
    fn is_kept(
        &self,
        table: &Table,
        columns: &Columns,
        row: &Row,
        key: &str,
    ) -> Result<bool, Error> {
        let is_frontal = match columns.frontal.map(|k| (k, &row.cells[k])) {
            Some((_, "Frontal")) => true,
            Some((_, "Lateral")) => false,
            Some((k, _)) => return Err(table.bad_cell(row, k, "`Frontal` or `Lateral`")),
            None => !key.contains("lateral"),
        };
        let views = &self.options.views;
        let has_view = match columns.view.map(|k| &row.cells[k]) {
            Some(view) => views.iter().any(|wanted| wanted.eq_ignore_ascii_case(view)),
            None => true,
        };
        Ok(is_frontal && (views.is_empty() || has_view))
    }

    fn labels(&self, table: &Table, columns: &Columns, row: &Row) -> Result<Labels, Error> {
        let state = |&column: &usize| {
            let state = state(&row.cells[column], self.options.uncertain);
            state.ok_or_else(|| table.bad_cell(row, column, "1, 0, -1 or blank"))
        };
        let states = columns.classes.iter().map(state);
        states.collect::<Result<_, _>>().map(Labels::Multi)
    }
}

/// The label in a cell; `None` if the cell is invalid.
fn state(cell: &str, uncertain: Uncertain) -> Option<Option<i8>> {
    if cell.is_empty() {
        return Some(Some(0));
    }
    match cell.parse::<f32>().ok()? {
        1.0 => Some(Some(1)),
        0.0 => Some(Some(0)),
        -1.0 => Some(match uncertain {
            Uncertain::Zeros => Some(0),
            Uncertain::Ones => Some(1),
            Uncertain::Keep => Some(-1),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
