//! Labels from a table.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use cache::{CacheReader, LabelWriter, NewLabels, Relabelled, SliceMeta};

use super::patients::Hidden;
use super::{ROWS, Target, Written, by_sample, check_patients, comparable, other_samples, write};
use crate::Error;
use crate::dataset::{LabelRow, LabelRows, files};
use crate::split::{Key, Names, alike};

/// Rows of a table for each slice.
struct Matched<'a> {
    rows: Vec<&'a LabelRow>,
    /// Whether the cache has hashes of names in the table.
    found_by_hash: bool,
}

/// Gives a cache the labels of the table `path`, whose columns are those of a manifest, with `sample` or
/// `image` as the key. Without labels, the table replaces patients only.
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
    let slices = reader.slices()?;
    let Matched {
        rows,
        found_by_hash,
    } = matched(&table, path, reader, &slices)?;
    let hidden = if table.has_patients {
        Hidden::of(&slices, found_by_hash)?
    } else {
        Hidden::none()
    };
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
    let patient = |slice: &SliceMeta, row: &LabelRow| {
        if table.has_patients {
            hidden.name(row.patient.clone())
        } else {
            slice.patient.clone()
        }
    };
    let mut rest = &rows[..];
    let patients = by_sample(&slices).map(|of| {
        let (here, after) = rest.split_at(of.len());
        rest = after;
        patient(&of[0], here[0])
    });
    let overlap = check_patients(&slices, patients, &target)?;
    let mut writer = LabelWriter::create(reader, target.name, new, target.replace)?;
    for (slices, rows) in slices.chunks(ROWS).zip(rows.chunks(ROWS)) {
        let new = slices.iter().zip(rows).map(|(slice, row)| Relabelled {
            patient: patient(slice, row),
            labels: match &table.labels {
                Some(_) => row.labels.clone(),
                None => slice.labels.clone(),
            },
            mask: None,
        });
        write(&mut writer, &mut written, slices, new.collect())?;
    }
    writer.finish()?;
    written.warnings = table.warnings.into_iter().chain(overlap).collect();
    Ok(written)
}

/// Finds the row of the table for each slice.
fn matched<'a>(
    table: &'a LabelRows,
    path: &Path,
    reader: &CacheReader,
    slices: &[SliceMeta],
) -> Result<Matched<'a>, Error> {
    let name_of = |slice: &SliceMeta| match table.key {
        Key::Image => alike(&slice.image),
        Key::Sample | Key::Patient => alike(&slice.sample),
    };
    let skipped = reader.meta().skipped.iter();
    let skipped: HashSet<String> = skipped.map(|skipped| alike(&skipped.sample)).collect();
    let known = slices.iter().map(name_of).chain(skipped.iter().cloned());
    let names = Names::new(table.key, known.collect());
    let mut rows: HashMap<String, &LabelRow> = HashMap::new();
    let mut found_by_hash = false;
    for row in &table.rows {
        let name = names.meant(&row.name);
        found_by_hash |= name != alike(&row.name);
        let other = rows
            .insert(name, row)
            .filter(|other| (&other.labels, &other.patient) != (&row.labels, &row.patient));
        if let Some(other) = other {
            return Err(Error::Layout {
                path: path.to_path_buf(),
                found: format!(
                    "`{}` with other labels in line {} than in line {}",
                    row.name, row.line, other.line
                ),
                expected: "each sample once".to_owned(),
                hint: "delete the line that is wrong".to_owned(),
            });
        }
    }
    let found: Vec<Option<&LabelRow>> = slices
        .iter()
        .map(|slice| rows.get(&name_of(slice)).copied())
        .collect();
    let missing = slices.iter().zip(&found).filter(|(_, row)| row.is_none());
    let missing: BTreeSet<&str> = missing
        .map(|(slice, _)| match table.key {
            Key::Image => slice.image.as_str(),
            Key::Sample | Key::Patient => slice.sample.as_str(),
        })
        .collect();
    let missing: Vec<String> = missing.into_iter().map(str::to_owned).collect();
    let used: HashSet<usize> = found.iter().flatten().map(|row| row.line).collect();
    let is_unknown =
        |(name, row): &(&String, &&LabelRow)| !used.contains(&row.line) && !skipped.contains(*name);
    let unknown = rows.iter().filter(is_unknown);
    let mut unknown: Vec<&LabelRow> = unknown.map(|(_, row)| *row).collect();
    unknown.sort_by_key(|row| row.line);
    let unknown: Vec<String> = unknown.into_iter().map(|row| row.name.clone()).collect();
    if !missing.is_empty() {
        let found = ("the table does not name", "the table does not name");
        let hint = match unknown.first() {
            Some(other) => format!(
                "the cache has `{}`, and the table has `{other}` in its place: names are those of the column \
                 `sample` or `image` of the cache's `slices`, or the original ones where the key of the \
                 hashes is",
                missing[0]
            ),
            None => "add a line for each, with a blank label where it is not known".to_owned(),
        };
        return Err(other_samples(path, found, &missing, &hint));
    }
    // Images of skipped samples are not known.
    let may_be_skipped = table.key == Key::Image && !reader.meta().skipped.is_empty();
    if !unknown.is_empty() && !may_be_skipped {
        let hint = "delete their lines, or compare the names with the column `sample` or `image` of the \
                    cache's `slices`, in which hashes stand for identifiers of DICOM";
        let found = ("the cache does not have", "the cache does not have");
        return Err(other_samples(path, found, &unknown, hint));
    }
    Ok(Matched {
        rows: found.into_iter().flatten().collect(),
        found_by_hash,
    })
}
