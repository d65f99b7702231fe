//! Datasets with hashed patients and ids.

use common::counted;

use super::Dataset;
use crate::pseudonyms::Pseudonyms;

impl Dataset {
    /// Replaces patients and ids of all samples; [`Pseudonyms::path`] describes the ids. Gives a warning if
    /// identifiers are left in paths.
    pub fn hide(&mut self, pseudonyms: Pseudonyms) -> Option<String> {
        let pseudonyms = pseudonyms.with_known(self.dicom_ids.iter().flatten());
        let mut left = Vec::new();
        for sample in &mut self.samples {
            sample.id = pseudonyms.path(&sample.id);
            let Some(patient) = sample.patient.take() else {
                continue;
            };
            sample.patient = Some(pseudonyms.name(&patient));
            let mut files = sample.image.files().iter();
            if files.any(|file| {
                let path = file.to_string_lossy().replace('\\', "/");
                pseudonyms.is_left_in(&patient, &path)
            }) {
                left.push(sample.id.as_str());
            }
        }
        let warning = left.first().map(|first| {
            format!(
                "PatientID is part of a longer name of a folder or file in {}, for instance `{first}`, and \
                 is kept there: `--mask-paths` hides all names",
                counted(left.len(), "sample")
            )
        });
        self.pseudonyms = Some(pseudonyms);
        warning
    }
}
