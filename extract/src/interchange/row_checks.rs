//! Checks of the rows of an import.

use std::collections::{HashMap, HashSet};

use cache::{SliceMeta, Split};

use crate::split::PatientSplits;

/// Checks of rows in their order: no slice of a sample is named twice, and a sample is in one split and of one
/// patient.
#[derive(Default)]
pub(super) struct RowChecks {
    samples: HashMap<Box<str>, Seen>,
    slices: HashSet<(u32, u32)>,
    /// Splits of the patients.
    pub(super) patients: PatientSplits,
}

struct Seen {
    number: u32,
    next: u32,
    split: Option<Split>,
    patient: Option<Box<str>>,
}

impl RowChecks {
    /// Checks a row, and returns the number of its slice: that of the table, else the next one of its sample.
    ///
    /// # Errors
    ///
    /// The fault: what was found, and what was expected.
    pub(super) fn add(
        &mut self,
        slice: &SliceMeta,
        is_numbered: bool,
    ) -> Result<u32, (String, &'static str)> {
        let number = self.samples.len() as u32;
        let seen = self
            .samples
            .entry(slice.sample.as_str().into())
            .or_insert_with(|| Seen {
                number,
                next: 0,
                split: slice.split,
                patient: slice.patient.as_deref().map(Box::from),
            });
        if seen.split != slice.split || seen.patient.as_deref() != slice.patient.as_deref() {
            let found = format!(
                "another split or patient of `{}` than in a row before",
                slice.sample
            );
            return Err((found, "the same split and patient in all rows of a sample"));
        }
        let of = if is_numbered { slice.slice } else { seen.next };
        seen.next += 1;
        if !self.slices.insert((seen.number, of)) {
            let found = format!("slice {of} of `{}` a second time", slice.sample);
            return Err((found, "each slice of a sample once"));
        }
        if let (Some(patient), Some(split)) = (&slice.patient, slice.split) {
            self.patients.add(patient, split);
        }
        Ok(of)
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> u64 {
        self.samples.len() as u64
    }
}
