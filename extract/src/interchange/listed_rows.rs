//! The rows of an import: what the table says of each, before tokens are read.

use std::path::{Path, PathBuf};

use cache::{SliceMeta, Task};
use common::{counted, hex};
use sha2::{Digest, Sha256};

use super::row_checks::RowChecks;
use super::source::Naming;
use super::tokens::TokenReader;
use crate::Error;
use crate::dataset::{TokenLines, TokenTable, TokenTableOptions, plain_slice};
use crate::split::check_overlaps;

/// The rows of the files in their order.
pub(super) struct ListedRows {
    /// The file that rows are counted in.
    path: PathBuf,
    table: Option<TokenTable>,
    /// For each row of the files its line in the table; `None` for those that are left out. Empty without a table.
    lines: Vec<Option<u32>>,
    /// Samples of the files and their numbers of rows, if each has a file of its own.
    samples: Vec<(String, u64)>,
    count: u64,
}

/// Result of the checks.
pub(super) struct Checked {
    /// Number of the slice of each row that is kept.
    pub(super) slices: Vec<u32>,
    pub(super) samples: u64,
    /// SHA-256 over all rows.
    pub(super) sha256: String,
    pub(super) warnings: Vec<String>,
}

impl ListedRows {
    /// Reads the table, if there is one, and finds the line of each row.
    ///
    /// # Errors
    ///
    /// Errors of the table, and [`Error::Layout`] if it does not fit the rows or there are none.
    pub(super) fn of(
        path: Option<&Path>,
        options: TokenTableOptions<'_>,
        (tokens, naming): (&TokenReader, Naming),
    ) -> Result<ListedRows, Error> {
        let rows = tokens.rows().ok_or(Error::Broken)?;
        let (file, count) = (rows.place().0.to_path_buf(), rows.count());
        if count == 0 || count > u64::from(u32::MAX) {
            return Err(Error::Layout {
                path: file,
                found: counted(count, "row"),
                expected: format!("1 to {}", u32::MAX),
                hint: "the first axis is that of images or slices".to_owned(),
            });
        }
        let table = path
            .map(|path| TokenTable::read(path, options))
            .transpose()?;
        let lines = table.as_ref().map(|table| match &naming {
            Naming::Rows => table.lines(&file, count),
            Naming::Samples(samples) => table.lines_of_samples(samples),
            Naming::Lines(counts) => Ok(repeated(counts)),
        });
        Ok(ListedRows {
            lines: lines.transpose()?.unwrap_or_default(),
            samples: match naming {
                Naming::Samples(samples) => samples,
                Naming::Rows | Naming::Lines(_) => Vec::new(),
            },
            path: file,
            table,
            count,
        })
    }

    /// Warnings of the table, and of rows that it does not name.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let table = self.table.iter().flat_map(|table| table.warnings.clone());
        let left_out = self.lines.iter().filter(|line| line.is_none()).count();
        let left_out = (left_out > 0).then(|| {
            format!(
                "{} of `{}` left out, which the table does not name",
                counted(left_out, "row"),
                self.path.display()
            )
        });
        let empty = self.samples.iter().filter(|(_, rows)| *rows == 0).count();
        let empty = (empty > 0).then(|| format!("{} without a row", counted(empty, "file")));
        let untold = self.table.is_none().then(|| {
            "no `--table`: the rows have no labels, patients and splits; `extract relabel` and `extract split` add \
             them"
                .to_owned()
        });
        table.chain(left_out).chain(empty).chain(untold)
    }

    pub(super) fn task(&self) -> Task {
        let table = self.table.as_ref();
        table.map_or(Task::Unlabelled, |table| table.task)
    }

    pub(super) fn classes(&self) -> Vec<String> {
        let table = self.table.as_ref();
        table.map_or(Vec::new(), |table| table.classes.clone())
    }

    pub(super) fn has_splits(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.has_splits)
    }

    /// Checks all rows.
    ///
    /// # Errors
    ///
    /// [`Error::BadCell`], [`Error::Layout`] for rows that contradict each other, and [`Error::PatientOverlap`].
    pub(super) fn check(&self, allow_patient_overlap: bool) -> Result<Checked, Error> {
        let (mut checks, mut slices) = (RowChecks::default(), Vec::new());
        let mut hash = Sha256::new();
        let mut rows = self.described(&[], 1);
        let is_numbered = rows.are_numbered();
        while let Some(row) = rows.next()? {
            let Some(slice) = row else { continue };
            let number = checks.add(&slice, is_numbered);
            let number = number.map_err(|(found, expected)| self.contradiction(found, expected))?;
            slices.push(number);
            for field in fields(&slice, number) {
                hash.update((field.len() as u64).to_le_bytes());
                hash.update(field.as_bytes());
            }
        }
        let samples = checks.samples();
        let overlaps = checks.patients.overlaps();
        let hint = "correct the column `split`, or leave it out and use `extract split`";
        let warnings = check_overlaps(&overlaps, allow_patient_overlap, hint)?;
        Ok(Checked {
            slices,
            samples,
            sha256: hex(&hash.finalize()),
            warnings: warnings.into_iter().collect(),
        })
    }

    fn contradiction(&self, found: String, expected: &str) -> Error {
        Error::Layout {
            path: self.path.clone(),
            found,
            expected: expected.to_owned(),
            hint: "correct the table; a column `slice` numbers the rows of a sample".to_owned(),
        }
    }

    /// The rows as slices, one after the other; `slices` are the numbers of those that are kept.
    pub(super) fn described<'a>(&'a self, slices: &'a [u32], side: u32) -> DescribedRows<'a> {
        DescribedRows {
            of: self,
            lines: self.table.as_ref().map(TokenTable::reader),
            slices,
            side,
            next: 0,
            kept: 0,
            sample: (0, 0),
        }
    }
}

/// Iterator over the rows of an import.
pub(super) struct DescribedRows<'a> {
    of: &'a ListedRows,
    lines: Option<TokenLines<'a>>,
    slices: &'a [u32],
    side: u32,
    next: u64,
    kept: usize,
    /// Of samples with files of their own, the one of the next row, and the row in it.
    sample: (usize, u64),
}

impl DescribedRows<'_> {
    /// Number of rows that are kept, once they were checked.
    pub(super) fn kept(&self) -> u64 {
        self.slices.len() as u64
    }

    /// Name of the sample of the next row, if the table has none.
    fn name(&mut self) -> String {
        let samples = &self.of.samples;
        while samples
            .get(self.sample.0)
            .is_some_and(|(_, rows)| self.sample.1 == *rows)
        {
            self.sample = (self.sample.0 + 1, 0);
        }
        self.sample.1 += 1;
        let (row, digits) = (self.next, self.of.count.to_string().len());
        let own = samples.get(self.sample.0);
        own.map_or_else(|| format!("{row:0digits$}"), |(sample, _)| sample.clone())
    }

    fn are_numbered(&self) -> bool {
        self.lines.as_ref().is_some_and(TokenLines::has_slices)
    }

    /// The next row, which is `None` in it if the row is left out.
    ///
    /// # Errors
    ///
    /// [`Error::BadCell`].
    pub(super) fn next(&mut self) -> Result<Option<Option<SliceMeta>>, Error> {
        let of = self.of;
        if self.next == of.count {
            return Ok(None);
        }
        let row = self.next;
        let unnamed = self.name();
        self.next += 1;
        let slice = match &self.lines {
            None => SliceMeta {
                image: unnamed.clone(),
                sample: unnamed,
                ..plain_slice()
            },
            Some(lines) => match of.lines[row as usize] {
                None => return Ok(Some(None)),
                Some(line) => lines.slice(line, &unnamed)?,
            },
        };
        let number = self.slices.get(self.kept).copied();
        self.kept += 1;
        Ok(Some(Some(SliceMeta {
            slice: number.unwrap_or(slice.slice),
            height: self.side,
            width: self.side,
            ..slice
        })))
    }
}

/// Lines in order, each as many times as its count says.
fn repeated(counts: &[u64]) -> Vec<Option<u32>> {
    let lines = (0..).zip(counts);
    let lines = lines.flat_map(|(line, count)| (0..*count).map(move |_| Some(line)));
    lines.collect()
}

fn fields(slice: &SliceMeta, number: u32) -> [String; 6] {
    [
        slice.sample.clone(),
        slice.image.clone(),
        slice.patient.clone().unwrap_or_default(),
        number.to_string(),
        slice.split.map_or("", cache::Split::name).to_owned(),
        format!("{:?}", slice.labels),
    ]
}
