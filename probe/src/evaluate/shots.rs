//! Options of few-shot evaluations.

use clap::ValueEnum;
use serde::Serialize;

/// Numbers of examples, and of draws of each number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FewShot {
    /// Numbers of shots; `None` for all examples.
    pub(crate) shots: Vec<Option<usize>>,
    /// Random draws of each number.
    pub(crate) repeats: usize,
    /// Unit of a random draw.
    pub(crate) draw: Draw,
}

/// Unit of a random draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Draw {
    /// Patients (samples, if no patients are known), with all of their images
    #[default]
    Patients,
    /// Examples of any patient, as in DINOv2's evaluation
    Examples,
}
