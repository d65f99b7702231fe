//! Labels from a table.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use cache::{CacheReader, LabelWriter, NewLabels, Relabelled, SliceMeta};

use super::patients::{Hidden, is_hidden};
use super::{Target, Written, comparable, other_samples};
use crate::Error;
use crate::dataset::{LabelRow, LabelRows, files};
use crate::split::{Key, Names, PatientSplits, alike, check_overlaps};

/// Gives a cache the labels of the table `path`, whose columns are those of a manifest, with `sample` or
/// `image` as the key. Without labels, the table replaces patients only.
///
/// The rows of the cache are read shard by shard, several times: they take more memory than the table.
///
/// # Errors
///
/// Errors of the table, [`Error::Layout`] if it does not name exactly the samples of the cache,
/// [`Error::PatientOverlap`], and errors of [`LabelWriter`].
pub fn by_table(
    reader: &CacheReader,
    path: &Path,
    label_columns: &[String],
    target: Target<'_>,
) -> Result<Written, Error> {
    let meta = reader.meta();
    let table = LabelRows::read(path, label_columns, &meta.classes)?;
    let (task, classes) = match &table.labels {
        Some((task, classes)) => (*task, classes.clone()),
        None => (meta.task, meta.classes.clone()),
    };
    let new = NewLabels {
        made_by: format!("table:{}", files::name(path)),
        task,
        classes,
        masks: None,
    };
    let mut written = Written {
        changed: comparable(reader, &new),
        ..Written::new(&new)
    };
    let matching = Matching::of(&table, path, reader)?;
    let hidden = if table.has_patients {
        Hidden::of(matching.has_hashes)?
    } else {
        Hidden::none()
    };
    let patient = |slice: &SliceMeta, row: &LabelRow| {
        if table.has_patients {
            hidden.name(row.patient.clone())
        } else {
            slice.patient.clone()
        }
    };
    let mut patients = PatientSplits::default();
    let rows = matching.rows(reader, |slice, row| {
        if let (Some(patient), Some(split)) = (patient(slice, row), slice.split) {
            patients.add(&patient, split);
        }
    })?;
    let hint = "correct the column `patient` of the table that `--labels` names";
    let overlap = check_overlaps(&patients.overlaps(), target.allow_patient_overlap, hint)?;
    let writer = LabelWriter::create(reader, (target.name, target.replace), new, target.staging)?;
    let mut rows = rows.into_iter();
    writer.write(|slice| {
        let row = rows.next().ok_or(Error::Broken)?;
        let row = &table.rows[row as usize];
        let labels = match &table.labels {
            Some(_) => row.labels.clone(),
            None => slice.labels.clone(),
        };
        written.count(&slice.labels, &labels);
        Ok::<_, Error>(Relabelled {
            patient: patient(slice, row),
            labels,
            mask: None,
        })
    })?;
    written.warnings = table.warnings.into_iter().chain(overlap).collect();
    Ok(written)
}

/// Rows of a table by the names that they have in a cache.
struct Matching<'a> {
    table: &'a LabelRows,
    path: &'a Path,
    rows: HashMap<Box<str>, u32>,
    /// Names of samples that the extraction skipped.
    skipped: HashSet<String>,
    /// Whether the cache has hashes of names or patients.
    has_hashes: bool,
}

impl<'a> Matching<'a> {
    fn of(
        table: &'a LabelRows,
        path: &'a Path,
        reader: &CacheReader,
    ) -> Result<Matching<'a>, Error> {
        let skipped = reader.meta().skipped.iter();
        let skipped: HashSet<String> = skipped.map(|skipped| alike(&skipped.sample)).collect();
        let (mut known, mut has_hashes) = (skipped.clone(), false);
        for slices in reader.slices_by_shard() {
            for slice in &slices? {
                has_hashes |= is_hidden(slice);
                known.insert(alike(name_of(table.key, slice)));
            }
        }
        let names = Names::new(table.key, known);
        let mut rows: HashMap<Box<str>, u32> = HashMap::new();
        for (index, row) in (0..).zip(&table.rows) {
            let name = names.meant(&row.name);
            has_hashes |= name != alike(&row.name);
            let other = rows.insert(name.into(), index);
            let other = other.map(|other| &table.rows[other as usize]);
            let other = other
                .filter(|other| (&other.labels, &other.patient) != (&row.labels, &row.patient));
            if let Some(other) = other {
                return Err(named_twice(path, row, other));
            }
        }
        Ok(Matching {
            table,
            path,
            rows,
            skipped,
            has_hashes,
        })
    }

    /// The index of each slice's row in the table. `found` is called for each slice.
    ///
    /// # Errors
    ///
    /// [`Error::Layout`] if slices have no row, or rows no slice.
    fn rows(
        &self,
        reader: &CacheReader,
        mut found: impl FnMut(&SliceMeta, &LabelRow),
    ) -> Result<Vec<u32>, Error> {
        let (table, mut rows) = (self.table, Vec::new());
        let mut is_used = vec![false; table.rows.len()];
        let mut missing = BTreeSet::new();
        for slices in reader.slices_by_shard() {
            for slice in &slices? {
                let name = name_of(table.key, slice);
                let Some(&row) = self.rows.get(&*alike(name)) else {
                    missing.insert(name.to_owned());
                    continue;
                };
                is_used[row as usize] = true;
                found(slice, &table.rows[row as usize]);
                rows.push(row);
            }
        }
        let unknown = self.rows.iter().filter(|(name, row)| {
            !is_used[**row as usize] && !self.skipped.contains(name.as_ref())
        });
        let mut unknown: Vec<u32> = unknown.map(|(_, row)| *row).collect();
        unknown.sort_unstable();
        let unknown = unknown.into_iter();
        let unknown: Vec<&str> = unknown
            .map(|row| table.rows[row as usize].name.as_str())
            .collect();
        if !missing.is_empty() {
            let missing: Vec<String> = missing.into_iter().collect();
            return Err(not_named(self.path, &missing, unknown.first().copied()));
        }
        // Images of skipped samples are not known.
        let may_be_skipped = table.key == Key::Image && !reader.meta().skipped.is_empty();
        if !unknown.is_empty() && !may_be_skipped {
            let hint = "delete their lines, or compare the names with the column `sample` or `image` of the \
                        cache's `slices`, in which hashes stand for identifiers of DICOM";
            let found = ("the cache does not have", "the cache does not have");
            let unknown: Vec<String> = unknown.into_iter().map(str::to_owned).collect();
            return Err(other_samples(self.path, found, &unknown, hint));
        }
        Ok(rows)
    }
}

/// The name of a slice in a column of such names.
fn name_of(key: Key, slice: &SliceMeta) -> &str {
    match key {
        Key::Image => &slice.image,
        Key::Sample | Key::Patient => &slice.sample,
    }
}

fn named_twice(path: &Path, row: &LabelRow, other: &LabelRow) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: format!(
            "`{}` with other labels in line {} than in line {}",
            row.name, row.line, other.line
        ),
        expected: "each sample once".to_owned(),
        hint: "delete the line that is wrong".to_owned(),
    }
}

/// An error about samples without a row; `other` is the first row without a sample.
fn not_named(path: &Path, missing: &[String], other: Option<&str>) -> Error {
    let found = ("the table does not name", "the table does not name");
    let hint = match other {
        Some(other) => format!(
            "the cache has `{}`, and the table has `{other}` in its place: names are those of the column \
             `sample` or `image` of the cache's `slices`, or the original ones where the key of the \
             hashes is",
            missing[0]
        ),
        None => "add a line for each, with a blank label where it is not known".to_owned(),
    };
    other_samples(path, found, missing, &hint)
}
