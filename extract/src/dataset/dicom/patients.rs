//! Who the patients are.

use std::collections::BTreeSet;

use super::layers::Layers;
use super::notes::Notes;
use super::series::Entry;

/// Said of every sample where no two have another PatientID.
const ONE_PATIENT: &str = "samples that all have one PatientID, and so are of one patient (if they are of several: list them for `--dataset manifest` with a column `patient`, or give `--allow-patient-overlap`)";

/// What tells patients apart.
pub(super) enum Patients {
    /// PatientID.
    ByAttribute,
    /// The first folder below those of splits and classes.
    ByFolder,
}

impl Patients {
    /// PatientID, unless it is the same (or missing) in several folders: some programs that make
    /// files anonymous write one for all.
    pub(super) fn of(entries: &[Entry], layers: &Layers, notes: &mut Notes) -> Patients {
        let ids: BTreeSet<_> = entries
            .iter()
            .filter_map(|entry| entry.patient.as_ref())
            .collect();
        let folders = entries
            .iter()
            .filter_map(|entry| layers.first_below(entry.path()));
        let folders: BTreeSet<_> = folders.collect();
        if ids.len() > 1 || folders.len() < 2 {
            if ids.len() == 1 && entries.len() > 1 {
                entries
                    .iter()
                    .for_each(|entry| notes.add(ONE_PATIENT, &entry.id));
            }
            return Patients::ByAttribute;
        }
        for folder in folders {
            notes.add(
                "folders taken for patients, since PatientID is the same in all",
                folder,
            );
        }
        Patients::ByFolder
    }

    pub(super) fn patient(&self, entry: &Entry, layers: &Layers) -> Option<String> {
        match self {
            Patients::ByAttribute => entry.patient.clone(),
            Patients::ByFolder => layers.first_below(entry.path()),
        }
    }
}
