//! Measures of volumes as a table.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use common::files::write_whole;
use parquet::arrow::ArrowWriter;

use super::volume::{MEASURES, Measure, Volume};
use crate::error::{Cause, Error};
use crate::metrics::overlap::Confusion;

/// Writes a Parquet file with a row for each volume and class except background: `sample`, `patient`,
/// `class`, `dice`, `iou`, `hd95_penalised_mm`, `hd95_mm`, `true_pixels` and `predicted_pixels`.
///
/// # Errors
///
/// [`Error::Output`] if the file cannot be written.
pub fn write_volumes(volumes: &[Volume], names: &[String], path: &Path) -> Result<(), Error> {
    let failed = |source: Cause| Error::Output {
        path: path.into(),
        source,
    };
    let bytes = to_parquet(volumes, names).map_err(failed)?;
    write_whole(path, &bytes).map_err(|error| failed(error.into()))
}

fn to_parquet(volumes: &[Volume], names: &[String]) -> Result<Vec<u8>, Cause> {
    let rows: Vec<(&Volume, usize)> = volumes
        .iter()
        .flat_map(|volume| (1..names.len()).map(move |class| (volume, class)))
        .collect();
    let measure = |measure: Measure| -> ArrayRef {
        Arc::new(Float64Array::from_iter(
            rows.iter().map(|(v, c)| measure(v, *c)),
        ))
    };
    let count = |count: fn(&Confusion, usize) -> u64| -> ArrayRef {
        let counts = rows
            .iter()
            .map(|(volume, class)| count(&volume.counts, *class));
        Arc::new(UInt64Array::from_iter_values(counts))
    };
    let samples = rows.iter().map(|(volume, _)| &volume.sample);
    let patients = rows.iter().map(|(volume, _)| volume.patient.as_ref());
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("sample", Arc::new(StringArray::from_iter_values(samples))),
        ("patient", Arc::new(StringArray::from_iter(patients))),
        (
            "class",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(_, class)| &names[*class]),
            )),
        ),
    ];
    columns.extend(MEASURES.map(|(name, of)| (name, measure(of))));
    columns.push(("true_pixels", count(Confusion::truth)));
    columns.push(("predicted_pixels", count(Confusion::predicted)));
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
