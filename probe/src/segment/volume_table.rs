//! Measures of volumes as a table, in memory and as Parquet.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray, UInt64Array};
use arrow::datatypes::{Float64Type, UInt64Type};
use arrow::record_batch::RecordBatch;
use common::files::write_whole;
use parquet::arrow::ArrowWriter;

use super::volume::{MEASURES, Volume};
use crate::error::FileError;
use crate::error::{Cause, Error};

/// Measures of volumes by class, without background.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeTable {
    /// Names of the `C` classes.
    pub names: Vec<String>,
    /// The volumes.
    pub volumes: Vec<VolumeRow>,
}

/// Measures of a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct VolumeRow {
    /// The sample.
    pub sample: String,
    /// The patient, where known.
    pub patient: Option<String>,
    /// Values `[C]` of each measure: Dice, IoU, penalised HD95 and HD95 in mm. `None` if undefined.
    pub values: [Vec<Option<f64>>; MEASURES.len()],
    /// Pixels `[C]` in the masks.
    pub true_pixels: Vec<u64>,
    /// Predicted pixels `[C]`.
    pub predicted_pixels: Vec<u64>,
}

impl VolumeRow {
    /// Name of the patient, or of the sample if no patient is known.
    pub(crate) fn cluster(&self) -> &str {
        self.patient.as_deref().unwrap_or(&self.sample)
    }
}

impl VolumeTable {
    /// The table of volumes; `names` begin with the background.
    pub(crate) fn of(volumes: &[Volume], names: &[String]) -> VolumeTable {
        let classes = 1..names.len();
        let row = |volume: &Volume| VolumeRow {
            sample: volume.sample.clone(),
            patient: volume.patient.clone(),
            values: MEASURES
                .map(|(_, of)| classes.clone().map(|class| of(volume, class)).collect()),
            true_pixels: classes
                .clone()
                .map(|class| volume.counts.truth(class))
                .collect(),
            predicted_pixels: classes
                .clone()
                .map(|class| volume.counts.predicted(class))
                .collect(),
        };
        VolumeTable {
            names: names[1..].to_vec(),
            volumes: volumes.iter().map(row).collect(),
        }
    }

    /// The volumes of several tables, which have the same classes.
    pub(crate) fn join(tables: Vec<VolumeTable>) -> VolumeTable {
        let names = tables.first().map(|table| table.names.clone());
        VolumeTable {
            names: names.unwrap_or_default(),
            volumes: tables.into_iter().flat_map(|table| table.volumes).collect(),
        }
    }

    /// Writes a Parquet file with a row for each volume and class: `sample`, `patient`, `class`, `dice`,
    /// `iou`, `hd95_penalised_mm`, `hd95_mm`, `true_pixels` and `predicted_pixels`.
    ///
    /// # Errors
    ///
    /// [`FileError::Output`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let failed = |source: Cause| {
            Error::File(FileError::Output {
                path: path.into(),
                source,
            })
        };
        let bytes = self.to_parquet().map_err(failed)?;
        write_whole(path, &bytes).map_err(|error| failed(error.into()))
    }

    fn to_parquet(&self) -> Result<Vec<u8>, Cause> {
        let classes = 0..self.names.len();
        let rows = self.volumes.iter();
        let rows: Vec<(&VolumeRow, usize)> = rows
            .flat_map(|volume| classes.clone().map(move |class| (volume, class)))
            .collect();
        let count = |count: fn(&VolumeRow) -> &Vec<u64>| -> ArrayRef {
            let counts = rows.iter().map(|(volume, class)| count(volume)[*class]);
            Arc::new(UInt64Array::from_iter_values(counts))
        };
        let samples = rows.iter().map(|(volume, _)| &volume.sample);
        let patients = rows.iter().map(|(volume, _)| volume.patient.as_ref());
        let names = rows.iter().map(|(_, class)| &self.names[*class]);
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("sample", Arc::new(StringArray::from_iter_values(samples))),
            ("patient", Arc::new(StringArray::from_iter(patients))),
            ("class", Arc::new(StringArray::from_iter_values(names))),
        ];
        for (at, (name, _)) in MEASURES.iter().enumerate() {
            let values = rows.iter().map(|(volume, class)| volume.values[at][*class]);
            columns.push((name, Arc::new(Float64Array::from_iter(values))));
        }
        columns.push(("true_pixels", count(|row| &row.true_pixels)));
        columns.push(("predicted_pixels", count(|row| &row.predicted_pixels)));
        let is_nullable =
            |name: &str| name == "patient" || MEASURES.iter().any(|(known, _)| *known == name);
        let columns = columns
            .into_iter()
            .map(|(name, column)| (name, column, is_nullable(name)));
        let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(bytes)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`] if there is no such file, or it is damaged.
    pub fn read(path: &Path) -> Result<VolumeTable, Error> {
        read(path).map_err(|source| {
            Error::File(FileError::Input {
                path: path.into(),
                source,
            })
        })
    }
}

fn read(path: &Path) -> Result<VolumeTable, Cause> {
    let (batch, _) = cache::read_table(path)?;
    let column = |name: &str| {
        let column = batch.column_by_name(name);
        column.ok_or_else(|| format!("the column `{name}` is missing"))
    };
    let text = |name: &str| {
        let column = column(name)?.as_string_opt::<i32>();
        column.ok_or_else(|| other_type(name))
    };
    let (samples, patients, classes) = (text("sample")?, text("patient")?, text("class")?);
    let count = |name: &str| {
        let column = column(name)?.as_primitive_opt::<UInt64Type>();
        column.ok_or_else(|| other_type(name))
    };
    let (truth, predicted) = (count("true_pixels")?, count("predicted_pixels")?);
    let mut measures = Vec::new();
    for (name, _) in MEASURES {
        let column = column(name)?.as_primitive_opt::<Float64Type>();
        measures.push(column.ok_or_else(|| other_type(name))?);
    }
    let mut names: Vec<String> = Vec::new();
    let mut volumes: Vec<VolumeRow> = Vec::new();
    for row in 0..batch.num_rows() {
        let (sample, class) = (samples.value(row), classes.value(row));
        if volumes.last().is_none_or(|volume| volume.sample != sample) {
            let patient = patients
                .is_valid(row)
                .then(|| patients.value(row).to_owned());
            volumes.push(VolumeRow {
                sample: sample.to_owned(),
                patient,
                values: Default::default(),
                true_pixels: Vec::new(),
                predicted_pixels: Vec::new(),
            });
        }
        if volumes.len() == 1 {
            names.push(class.to_owned());
        }
        let is_first = volumes.len() == 1;
        let Some(volume) = volumes.last_mut() else {
            continue;
        };
        if !is_first && names.get(volume.true_pixels.len()).map(String::as_str) != Some(class) {
            return Err(format!("row {row} has the class `{class}` out of order").into());
        }
        for (values, column) in volume.values.iter_mut().zip(&measures) {
            values.push(column.is_valid(row).then(|| column.value(row)));
        }
        volume.true_pixels.push(truth.value(row));
        volume.predicted_pixels.push(predicted.value(row));
    }
    let is_whole = |volume: &VolumeRow| volume.true_pixels.len() == names.len();
    if !volumes.iter().all(is_whole) {
        return Err("a volume lacks classes".into());
    }
    Ok(VolumeTable { names, volumes })
}

fn other_type(column: &str) -> String {
    format!("the column `{column}` has another type")
}
