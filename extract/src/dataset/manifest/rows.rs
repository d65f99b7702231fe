//! The rows of a manifest as samples.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use cache::Split;
use common::counted;
use imaging::read::{MaskPart, Source};

use super::columns::Columns;
use super::labels::{LabelReader, parsed};
use super::paths::{Named, Paths};
use crate::Error;
use crate::dataset::table::{Row, Table};
use crate::dataset::{Sample, id_of};

/// Turns rows into samples.
pub(super) struct Lister<'a> {
    table: &'a Table,
    columns: &'a Columns,
    labels: LabelReader<'a>,
    root: &'a Path,
    paths: Paths<'a>,
    missing: Vec<String>,
}

/// Contents of a manifest.
pub(super) struct Listed {
    /// The rows of which all files are there.
    pub(super) samples: Vec<Sample>,
    /// The files that are not there.
    pub(super) missing: Vec<String>,
    /// A warning of rows with the same slices.
    pub(super) repeated: Option<String>,
}

impl<'a> Lister<'a> {
    pub(super) fn new(
        table: &'a Table,
        columns: &'a Columns,
        classes: &'a [String],
        root: &'a Path,
    ) -> Result<Lister<'a>, Error> {
        Ok(Lister {
            table,
            columns,
            labels: LabelReader::new(table, &columns.labels, classes),
            root,
            paths: Paths::under(root)?,
            missing: Vec::new(),
        })
    }

    pub(super) fn list(mut self) -> Result<Listed, Error> {
        let mut samples = Vec::with_capacity(self.table.rows.len());
        let mut lines = Vec::with_capacity(self.table.rows.len());
        for row in &self.table.rows {
            let before = self.missing.len();
            let sample = self.sample(row)?;
            if self.missing.len() == before {
                samples.push(sample);
                lines.push(row.line);
            }
        }
        Ok(Listed {
            repeated: self.repeated(&samples, &lines)?,
            samples,
            missing: self.missing,
        })
    }

    /// A warning of slices that several rows name.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if such rows differ in their labels or splits.
    fn repeated(&self, samples: &[Sample], lines: &[usize]) -> Result<Option<String>, Error> {
        let slices = |k: usize| samples[k].slices.clone().unwrap_or(0..=u32::MAX);
        let mut of_image: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        for (k, sample) in samples.iter().enumerate() {
            of_image.entry(sample.image.file()).or_default().push(k);
        }
        let (mut count, mut example) = (0, None);
        for (image, mut rows) in of_image {
            rows.sort_by_key(|&k| *slices(k).start());
            // The row so far with the largest last slice.
            let mut before = rows[0];
            for &k in &rows[1..] {
                if slices(k).start() <= slices(before).end() {
                    let same = |k: usize| (&samples[k].labels, samples[k].split);
                    if same(k) != same(before) {
                        return Err(self.contradiction(image, [lines[before], lines[k]]));
                    }
                    count += 1;
                    example.get_or_insert(image);
                }
                if slices(k).end() > slices(before).end() {
                    before = k;
                }
            }
        }
        Ok(example.map(|image| {
            let rows = counted(count, "row");
            format!(
                "{rows} with slices of other rows, for instance of `{}`",
                image.display()
            )
        }))
    }

    fn contradiction(&self, image: &Path, [one, other]: [usize; 2]) -> Error {
        Error::Layout {
            path: self.table.path.clone(),
            found: format!(
                "other labels, or another split, in line {other} than in line {one} for the same \
                 slices of `{}`",
                image.display()
            ),
            expected: "one row for each slice, or the same in all".to_owned(),
            hint: "delete the row that is wrong; several classes go into one row, in a column \
                   `labels` with `|` between them"
                .to_owned(),
        }
    }

    fn sample(&mut self, row: &Row) -> Result<Sample, Error> {
        let columns = self.columns;
        let cell = |column: Option<usize>| {
            column
                .map(|k| &row.cells[k])
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
            labels: self.labels.of(row)?,
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
        column.map_or(Ok(None), |column| {
            parsed(self.table, row, column, parse, expected)
        })
    }

    /// The file that a cell names, relative to the manifest's folder; `None` for a blank cell.
    fn file(&mut self, row: &Row, column: usize) -> Result<Option<PathBuf>, Error> {
        match &row.cells[column] {
            "" => Ok(None),
            value => self.inner_file(row, value).map(Some),
        }
    }

    fn inner_file(&mut self, row: &Row, value: &str) -> Result<PathBuf, Error> {
        match self.paths.find(value) {
            Named::File(path) => Ok(path),
            Named::Missing => {
                self.missing.push(value.to_owned());
                Ok(PathBuf::from(value))
            }
            Named::Outside => Err(Error::OutsideRoot {
                path: self.table.path.clone(),
                root: self.root.to_path_buf(),
                line: row.line,
                value: value.to_owned(),
            }),
        }
    }
}

fn parse_slices(cell: &str) -> Option<RangeInclusive<u32>> {
    let (first, last) = cell.split_once('-').unwrap_or((cell, cell));
    let number = |text: &str| {
        let text = text.trim();
        text.strip_suffix(".0").unwrap_or(text).parse().ok()
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slice_ranges_round_trip(first in 0u32..9999, length in 0u32..999) {
            let range = first..=first + length;
            prop_assert_eq!(parse_slices(&format!("{}-{}", first, first + length)), Some(range));
            prop_assert_eq!(parse_slices(&first.to_string()), Some(first..=first));
        }
    }
}
