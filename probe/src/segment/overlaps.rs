//! Overlaps of volumes, read from the tables that [`write_volumes`](super::write_volumes) writes.

use std::path::Path;

use arrow::array::{Array, AsArray, Float64Array, StringArray, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};
use arrow::record_batch::RecordBatch;

use crate::error::FileError;
use crate::error::{Cause, Error};
use crate::metrics::weights::Weights;

/// Overlaps of volumes.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlaps {
    /// Names of the classes except background.
    pub names: Vec<String>,
    /// The volumes.
    pub volumes: Vec<Overlap>,
}

/// Overlap of a volume, by class except background.
#[derive(Clone, Debug, PartialEq)]
pub struct Overlap {
    /// The sample.
    pub sample: String,
    /// The patient, where known.
    pub patient: Option<String>,
    /// Dice coefficients; `None` if a class is neither in the masks nor predicted.
    pub dice: Vec<Option<f64>>,
    /// Pixels in the masks.
    pub truth: Vec<u64>,
    /// Pixels that are predicted.
    pub predicted: Vec<u64>,
}

impl Overlap {
    /// The patient, or else the sample.
    pub fn cluster(&self) -> &str {
        self.patient.as_deref().unwrap_or(&self.sample)
    }

    /// The mean Dice coefficient of the classes that have one.
    pub fn mean(&self) -> Option<f64> {
        mean(self.dice.iter().copied())
    }

    /// Pixels in both the masks and the prediction.
    fn both(&self, class: usize) -> f64 {
        let all = (self.truth[class] + self.predicted[class]) as f64;
        (self.dice[class].unwrap_or(0.0) * all / 2.0).round()
    }
}

impl Overlaps {
    /// The measure `dice_macro` of weighted volumes (the mean over classes of the mean over volumes), or
    /// `dice_pooled` (the mean over classes of all pixels together).
    pub fn dice(&self, measure: &str, weights: &Weights) -> Option<f64> {
        let classes = 0..self.names.len();
        if measure == "dice_pooled" {
            mean(classes.map(|class| self.pooled(class, weights)))
        } else {
            mean(classes.map(|class| self.of_class(class, weights)))
        }
    }

    fn of_class(&self, class: usize, weights: &Weights) -> Option<f64> {
        let (mut sum, mut count) = (0.0, 0.0);
        for (at, volume) in self.volumes.iter().enumerate() {
            if let Some(dice) = volume.dice[class] {
                let weight = f64::from(weights.of(at));
                sum += weight * dice;
                count += weight;
            }
        }
        (count > 0.0).then(|| sum / count)
    }

    fn pooled(&self, class: usize, weights: &Weights) -> Option<f64> {
        let (mut both, mut all) = (0.0, 0.0);
        for (at, volume) in self.volumes.iter().enumerate() {
            let weight = f64::from(weights.of(at));
            both += weight * volume.both(class);
            all += weight * (volume.truth[class] + volume.predicted[class]) as f64;
        }
        (all > 0.0).then(|| 2.0 * both / all)
    }
}

fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let (sum, count) = values
        .flatten()
        .fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// Reads a table of volumes.
///
/// # Errors
///
/// [`FileError::Input`] if there is no such file, it is damaged, or volumes do not have the same classes.
pub fn read_volumes(path: &Path) -> Result<Overlaps, Error> {
    read(path).map_err(|source| {
        Error::File(FileError::Input {
            path: path.into(),
            source,
        })
    })
}

fn read(path: &Path) -> Result<Overlaps, Cause> {
    let (batch, _) = cache::read_table(path).map_err(|error| match error {
        cache::Error::Io { source, .. } => Cause::from(source),
        cache::Error::Parquet { source, .. } => Cause::from(source),
        other => Cause::from(other),
    })?;
    let table = Table(&batch);
    let [samples, patients, classes] =
        ["sample", "patient", "class"].map(|name| table.strings(name));
    let (samples, patients, classes) = (samples?, patients?, classes?);
    let (dice, truth, predicted) = (
        table.dice()?,
        table.counts("true_pixels")?,
        table.counts("predicted_pixels")?,
    );
    if samples.null_count() + classes.null_count() > 0 {
        return Err("a row has no sample or no class".into());
    }
    let rows: Vec<usize> = (0..batch.num_rows()).collect();
    let mut overlaps = Overlaps {
        names: Vec::new(),
        volumes: Vec::new(),
    };
    for rows in rows.chunk_by(|&a, &b| samples.value(a) == samples.value(b)) {
        let names: Vec<String> = rows
            .iter()
            .map(|&row| classes.value(row).to_owned())
            .collect();
        if overlaps.volumes.is_empty() {
            overlaps.names = names;
        } else if overlaps.names != names {
            return Err("volumes have different classes".into());
        }
        let first = rows[0];
        let patient = patients
            .is_valid(first)
            .then(|| patients.value(first).to_owned());
        overlaps.volumes.push(Overlap {
            sample: samples.value(first).to_owned(),
            patient,
            dice: rows
                .iter()
                .map(|&row| dice.is_valid(row).then(|| dice.value(row)))
                .collect(),
            truth: rows.iter().map(|&row| truth.value(row)).collect(),
            predicted: rows.iter().map(|&row| predicted.value(row)).collect(),
        });
    }
    Ok(overlaps)
}

/// A table of volumes, of any content.
struct Table<'a>(&'a RecordBatch);

impl Table<'_> {
    fn column(&self, name: &str) -> Result<&dyn Array, String> {
        let column = self.0.column_by_name(name).map(AsRef::as_ref);
        column.ok_or_else(|| format!("the column `{name}` is missing"))
    }

    fn strings(&self, name: &str) -> Result<&StringArray, String> {
        let column = self.column(name)?.as_string_opt::<i32>();
        column.ok_or_else(|| other_type(name))
    }

    fn dice(&self) -> Result<&Float64Array, String> {
        let column = self.column("dice")?.as_primitive_opt::<Float64Type>();
        let column = column.ok_or_else(|| other_type("dice"))?;
        if column
            .iter()
            .flatten()
            .any(|dice| !(0.0..=1.0).contains(&dice))
        {
            return Err("found a Dice coefficient that is not between 0 and 1".into());
        }
        Ok(column)
    }

    fn counts(&self, name: &str) -> Result<&UInt64Array, String> {
        let column = self.column(name)?.as_primitive_opt::<UInt64Type>();
        let column = column.ok_or_else(|| other_type(name))?;
        // Sums of pixels stay whole numbers in f64.
        if column
            .iter()
            .any(|count| count.is_none_or(|count| count > 1 << 52))
        {
            return Err(format!(
                "the column `{name}` has a row that is no number of pixels"
            ));
        }
        Ok(column)
    }
}

fn other_type(column: &str) -> String {
    format!("the column `{column}` has another type")
}
