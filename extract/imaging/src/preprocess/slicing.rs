//! Planes of slices.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Plane in which a volume is cut into slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Slicing {
    /// Stored slices: a NIfTI along its third axis, rows along the first and columns along the second; a
    /// DICOM series slice by slice. Nothing is reoriented.
    #[default]
    StoredKXy,
    /// Stored array, along the second axis of a NIfTI.
    StoredJXz,
    /// Stored array, along the first axis of a NIfTI.
    StoredIYz,
    /// From inferior to superior, the patient's right on the left, anterior at the top.
    Axial,
    /// From posterior to anterior, the patient's right on the left, superior at the top.
    Coronal,
    /// From the patient's left to right, anterior on the left, superior at the top.
    Sagittal,
}

impl Slicing {
    /// Whether it is a plane of the patient rather than of the stored array.
    pub fn is_of_patient(self) -> bool {
        matches!(self, Slicing::Axial | Slicing::Coronal | Slicing::Sagittal)
    }
}

impl fmt::Display for Slicing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Slicing::StoredKXy => "stored-k-xy",
            Slicing::StoredJXz => "stored-j-xz",
            Slicing::StoredIYz => "stored-i-yz",
            Slicing::Axial => "axial",
            Slicing::Coronal => "coronal",
            Slicing::Sagittal => "sagittal",
        })
    }
}
