//! The rows of a manifest as samples.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use cache::{Labels, Split};

use super::columns::{Columns, LabelSource};
use crate::Error;
use crate::dataset::files::inner_path;
use crate::dataset::table::{Row, Table};
use crate::dataset::{Sample, id_of};
use crate::read::{MaskPart, Source};

/// Turns rows into samples.
pub(super) struct Lister<'a> {
    table: &'a Table,
    columns: &'a Columns,
    class_index: HashMap<&'a str, usize>,
    class_count: usize,
    folder: &'a Path,
    /// The folder without links.
    real_folder: PathBuf,
    /// Whether folders seen so far lie in `real_folder`.
    inside: HashMap<PathBuf, bool>,
    missing: Vec<String>,
}

impl<'a> Lister<'a> {
    pub(super) fn new(
        table: &'a Table,
        columns: &'a Columns,
        classes: &'a [String],
        folder: &'a Path,
    ) -> Result<Lister<'a>, Error> {
        Ok(Lister {
            table,
            columns,
            class_index: classes
                .iter()
                .enumerate()
                .map(|(k, name)| (name.as_str(), k))
                .collect(),
            class_count: classes.len(),
            folder,
            real_folder: folder.canonicalize().map_err(Error::io(folder))?,
            inside: HashMap::new(),
            missing: Vec::new(),
        })
    }

    /// The rows of which all files are there, and the files that are not.
    pub(super) fn samples(mut self) -> Result<(Vec<Sample>, Vec<String>), Error> {
        let mut samples = Vec::with_capacity(self.table.rows.len());
        for row in &self.table.rows {
            let before = self.missing.len();
            let sample = self.sample(row)?;
            if self.missing.len() == before {
                samples.push(sample);
            }
        }
        Ok((samples, self.missing))
    }

    fn sample(&mut self, row: &Row) -> Result<Sample, Error> {
        let columns = self.columns;
        let cell = |column: Option<usize>| {
            column
                .map(|k| row.cells[k].as_str())
                .filter(|cell| !cell.is_empty())
        };
        let image = self.file(row, columns.image)?;
        let image = image.ok_or_else(|| {
            self.table
                .bad_cell(row, columns.image, "the path of an image")
        })?;
        let id = match (cell(columns.id), cell(columns.slices)) {
            (Some(id), _) => id.to_owned(),
            (None, Some(slices)) => format!("{}#{slices}", id_of(&image)),
            (None, None) => id_of(&image),
        };
        let patient = cell(columns.patient).map(str::to_owned);
        // Ranges of one volume are of one patient, whoever that is.
        Ok(Sample {
            id,
            mask: self.mask(row)?,
            slices: self.parsed(row, columns.slices, parse_slices, "`17` or `0-18`")?,
            patient: patient.or_else(|| cell(columns.slices).map(|_| id_of(&image))),
            split: self.parsed(row, columns.split, Split::parse, "train, val or test")?,
            labels: self.labels(row)?,
            ..Sample::of_image(Source::File(image))
        })
    }

    /// The label map; with bars between them, binary masks that become 1, 2, ….
    fn mask(&mut self, row: &Row) -> Result<Vec<MaskPart>, Error> {
        let Some(column) = self.columns.mask else {
            return Ok(Vec::new());
        };
        let names = row.cells[column].split('|').map(str::trim);
        let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        let mut parts = Vec::with_capacity(names.len());
        for (name, value) in names.iter().zip(1..) {
            parts.push(MaskPart {
                source: Source::File(self.inner_file(row, name)?),
                value: (names.len() > 1).then_some(value),
            });
        }
        Ok(parts)
    }

    fn parsed<T>(
        &self,
        row: &Row,
        column: Option<usize>,
        parse: fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Error> {
        match column {
            Some(column) if !row.cells[column].is_empty() => parse(&row.cells[column])
                .map(Some)
                .ok_or_else(|| self.table.bad_cell(row, column, expected)),
            _ => Ok(None),
        }
    }

    fn labels(&self, row: &Row) -> Result<Labels, Error> {
        let unknown = || Labels::Multi(vec![None; self.class_count]);
        match &self.columns.labels {
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
                let label = |column: &usize| self.parsed(row, Some(*column), parse_state, expected);
                columns
                    .iter()
                    .map(label)
                    .collect::<Result<_, _>>()
                    .map(Labels::Multi)
            }
        }
    }

    fn named_classes(&self, row: &Row, column: usize) -> Result<Vec<usize>, Error> {
        let names = self.columns.labels.names(&row.cells[column]);
        self.table.check_names(row, column, &names)?;
        let classes = names.iter().map(|name| self.class_index.get(name).copied());
        classes.collect::<Option<_>>().ok_or_else(|| {
            match names.iter().any(|name| name.contains('|')) {
                true => self.table.several_classes(
                    row,
                    column,
                    "name the column `labels`; if it is one, list it in `classes.txt` beside the \
                     manifest",
                ),
                false => self
                    .table
                    .bad_cell(row, column, "a class that `classes.txt` names"),
            }
        })
    }

    /// The file that a cell names, relative to the manifest's folder; `None` for a blank cell.
    fn file(&mut self, row: &Row, column: usize) -> Result<Option<PathBuf>, Error> {
        match row.cells[column].as_str() {
            "" => Ok(None),
            value => self.inner_file(row, value).map(Some),
        }
    }

    fn inner_file(&mut self, row: &Row, value: &str) -> Result<PathBuf, Error> {
        let outside = || Error::OutsideRoot {
            path: self.table.path.clone(),
            line: row.line,
            value: value.to_owned(),
        };
        let path = inner_path(value).ok_or_else(outside)?;
        let full = self.folder.join(&path);
        if !full.exists() {
            self.missing.push(value.to_owned());
        } else if !self.is_inside(&full) {
            return Err(outside());
        }
        Ok(path)
    }

    /// Whether `file` is in the folder even if links are followed; asks once for each parent.
    fn is_inside(&mut self, file: &Path) -> bool {
        let really_inside = |path: &Path| {
            path.canonicalize()
                .is_ok_and(|path| path.starts_with(&self.real_folder))
        };
        let parent = file.parent().unwrap_or(self.folder);
        if file.is_symlink() {
            return really_inside(file);
        }
        if let Some(inside) = self.inside.get(parent) {
            return *inside;
        }
        let inside = really_inside(parent);
        self.inside.insert(parent.to_path_buf(), inside);
        inside
    }
}

fn parse_slices(cell: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = cell.split_once('-').unwrap_or((cell, cell));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// Whether a class is present, as 1, 0 and -1, or words for the first two.
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn states_may_be_written_as_floats_or_words() {
        let cells = ["1", "0.0", "-1.0", "True", "false", "2", "yes"];
        let expected = [Some(1), Some(0), Some(-1), Some(1), Some(0), None, None];
        assert_eq!(cells.map(parse_state), expected);
    }

    proptest! {
        #[test]
        fn slice_ranges_round_trip(first in 0u32..9999, length in 0u32..999) {
            let range = first..=first + length;
            prop_assert_eq!(parse_slices(&format!("{}-{}", first, first + length)), Some(range));
            prop_assert_eq!(parse_slices(&first.to_string()), Some(first..=first));
        }
    }
}
