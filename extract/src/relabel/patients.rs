//! Patients in caches that have hashes instead.

use cache::SliceMeta;

use crate::Error;
use crate::pseudonyms::Pseudonyms;

/// Digits of the hash of a name.
const DIGITS: usize = 16;

/// How new patients are written to a cache: as they are, or as hashes.
pub(super) struct Hidden(Option<Pseudonyms>);

impl Hidden {
    /// Patients as they are.
    pub(super) fn none() -> Hidden {
        Hidden(None)
    }

    /// Hashes if the cache has any.
    ///
    /// # Errors
    ///
    /// [`Error::IdKey`].
    pub(super) fn of(has_hashes: bool) -> Result<Hidden, Error> {
        let pseudonyms = has_hashes.then(|| Pseudonyms::of_user(false));
        Ok(Hidden(pseudonyms.transpose()?))
    }

    /// The patient in the cache; hashes, which a table copied from a cache has, stay.
    pub(super) fn name(&self, patient: Option<String>) -> Option<String> {
        let patient = patient?;
        match &self.0 {
            Some(pseudonyms) if !is_hash(&patient) => Some(pseudonyms.name(&patient)),
            _ => Some(patient),
        }
    }
}

/// Whether the patient of a row or a part of its names is a hash.
pub(super) fn is_hidden(slice: &SliceMeta) -> bool {
    let patient = slice.patient.as_deref();
    patient.is_some_and(is_hash) || has_hash(&slice.sample) || has_hash(&slice.image)
}

/// Whether a part of a path is or has a hash.
fn has_hash(path: &str) -> bool {
    let mut parts = path.split(|c: char| !c.is_ascii_alphanumeric());
    parts.any(is_hash)
}

fn is_hash(name: &str) -> bool {
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    name.len() == DIGITS && name.bytes().all(is_digit)
}
