//! Patients of DICOM files.

use std::collections::BTreeSet;

use super::layers::Layers;
use super::notes::Notes;
use super::series::Entry;

/// Note about all samples if they have one PatientID.
const ONE_PATIENT: &str = "samples with one PatientID, which are one patient (if they are several: list them for `--dataset manifest` with a column `patient`, or give `--allow-patient-overlap`)";

/// Note about samples without a PatientID that are grouped by study or folder.
const BY_STUDY: &str =
    "samples without a PatientID, grouped to patients by study, or volumes by folder";

/// Source of patients.
pub(super) enum Patients {
    /// PatientID, else StudyInstanceUID, else for volumes the folder.
    ByAttribute,
    /// The first folder below those of splits and classes; folders of two classes are two patients.
    ByFolder,
}

impl Patients {
    /// PatientID, unless it is the same (or missing) in several folders: some anonymisers write one for
    /// all patients.
    pub(super) fn of(entries: &[Entry], layers: &Layers, notes: &mut Notes) -> Patients {
        let ids: BTreeSet<_> = entries
            .iter()
            .filter_map(|entry| entry.patient.as_ref())
            .collect();
        let folders = entries
            .iter()
            .filter_map(|entry| layers.patient_folder(entry.path()));
        let folders: BTreeSet<_> = folders.collect();
        if ids.len() > 1 || folders.len() < 2 {
            if ids.len() == 1 && entries.len() > 1 {
                entries
                    .iter()
                    .for_each(|entry| notes.add(ONE_PATIENT, &entry.id));
            }
            let has_other =
                |entry: &&Entry| entry.patient.is_none() && by_attribute(entry).is_some();
            let others = entries.iter().filter(has_other);
            others.for_each(|entry| notes.add(BY_STUDY, &entry.id));
            return Patients::ByAttribute;
        }
        let is_blank = entries.iter().any(|entry| entry.patient.is_none());
        let why = match (ids.is_empty(), is_blank) {
            (true, _) => "folders as patients, because no file has a PatientID",
            (_, true) => {
                "folders as patients, because PatientID is the same in all files that have one"
            }
            (_, false) => "folders as patients, because PatientID is the same in all files",
        };
        folders
            .into_iter()
            .for_each(|folder| notes.add(why, folder));
        Patients::ByFolder
    }

    pub(super) fn patient(&self, entry: &Entry, layers: &Layers) -> Option<String> {
        match self {
            Patients::ByAttribute => by_attribute(entry),
            Patients::ByFolder => layers.patient_folder(entry.path()),
        }
    }
}

fn by_attribute(entry: &Entry) -> Option<String> {
    let study = || entry.study.clone();
    entry
        .patient
        .clone()
        .or_else(study)
        .or_else(|| entry.folder())
}
