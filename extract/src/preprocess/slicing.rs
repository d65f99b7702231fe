//! How volumes are cut into slices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// How a volume is cut into slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Slicing {
    /// As the file is stored: a NIfTI along its third axis, rows along the first and columns along
    /// the second; a DICOM series slice by slice. Nothing is reoriented.
    #[default]
    StoredKXy,
    /// As stored, along the second axis of a NIfTI.
    StoredJXz,
    /// As stored, along the first axis of a NIfTI.
    StoredIYz,
    /// From inferior to superior, the patient's right on the left, anterior at the top.
    Axial,
    /// From posterior to anterior, the patient's right on the left, superior at the top.
    Coronal,
    /// From the patient's left to right, anterior on the left, superior at the top.
    Sagittal,
}

impl Slicing {
    /// Every way there is.
    pub const ALL: [Slicing; 6] = [
        Slicing::StoredKXy,
        Slicing::StoredJXz,
        Slicing::StoredIYz,
        Slicing::Axial,
        Slicing::Coronal,
        Slicing::Sagittal,
    ];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Slicing::StoredKXy => "stored-k-xy",
            Slicing::StoredJXz => "stored-j-xz",
            Slicing::StoredIYz => "stored-i-yz",
            Slicing::Axial => "axial",
            Slicing::Coronal => "coronal",
            Slicing::Sagittal => "sagittal",
        }
    }
}

impl FromStr for Slicing {
    type Err = Error;

    fn from_str(word: &str) -> Result<Slicing, Error> {
        let found = Slicing::ALL.into_iter().find(|way| way.name() == word);
        found.ok_or_else(|| Error::BadSlicing {
            word: word.to_owned(),
            known: Slicing::ALL.map(Slicing::name).join("`, `"),
        })
    }
}

impl fmt::Display for Slicing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for Slicing {
    type Error = Error;

    fn try_from(word: String) -> Result<Slicing, Error> {
        word.parse()
    }
}

impl From<Slicing> for String {
    fn from(way: Slicing) -> String {
        way.name().to_owned()
    }
}
