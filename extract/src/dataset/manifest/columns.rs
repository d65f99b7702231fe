//! The columns of a manifest.

use super::labels::LabelSource;
use crate::Error;
use crate::dataset::LayoutOptions;
use crate::dataset::table::Table;

/// Names of the column of images.
pub(super) const IMAGE: [&str; 6] = ["image", "path", "file_name", "filepath", "filename", "img"];

/// Names of the column of patients.
pub(super) const PATIENT: [&str; 5] = [
    "patient",
    "patient_id",
    "subject",
    "subject_id",
    "PatientID",
];

/// The places of the columns that are there.
pub(super) struct Columns {
    pub(super) image: usize,
    pub(super) mask: Option<usize>,
    pub(super) labels: LabelSource,
    pub(super) slices: Option<usize>,
    pub(super) patient: Option<usize>,
    pub(super) split: Option<usize>,
    pub(super) id: Option<usize>,
}

impl Columns {
    pub(super) fn find(table: &Table, options: &LayoutOptions) -> Result<Columns, Error> {
        let mask = table.column(&["mask", "seg", "label_path", "mask_path"])?;
        Ok(Columns {
            image: table.required(&IMAGE)?,
            mask,
            labels: LabelSource::find(table, &options.label_columns, mask.is_some())?,
            slices: table.column(&["slices", "slice"])?,
            patient: table.agreed(&PATIENT)?,
            split: table.column(&["split"])?,
            id: table.column(&["id"])?,
        })
    }

    /// All of them.
    pub(super) fn used(&self) -> Vec<usize> {
        let others = [self.mask, self.slices, self.patient, self.split, self.id];
        let others = others.into_iter().flatten();
        let labels = self.labels.columns().iter().copied();
        std::iter::once(self.image)
            .chain(others)
            .chain(labels)
            .collect()
    }
}
