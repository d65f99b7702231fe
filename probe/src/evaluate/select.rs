//! Measure by which the best of several settings is chosen.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::task::Task;
use crate::Error;
use crate::metrics::measures::Scored;

/// Measure by which the best of several settings is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Select {
    /// Macro AUROC, as in the study
    #[default]
    Auroc,
    /// Accuracy, as in DINOv2's evaluation: exclusive classes only
    Accuracy,
}

impl Select {
    /// Name of the measure in records, after `val_`.
    pub(crate) fn measure(self) -> &'static str {
        match self {
            Select::Auroc => "auroc_macro",
            Select::Accuracy => "accuracy",
        }
    }

    /// Checks that classes are exclusive if accuracy is the measure.
    pub(crate) fn check(self, task: &Task<'_>) -> Result<(), Error> {
        if self == Select::Accuracy && !task.is_single_label() {
            return Err(Error::SelectAccuracy {
                path: task.reader.dir().into(),
            });
        }
        Ok(())
    }

    /// Value of the measure; `None` if it is not defined.
    pub(crate) fn of(self, scored: &Scored, undefined_auroc: Option<f64>) -> Option<f64> {
        match self {
            Select::Auroc => scored.auroc_macro(undefined_auroc),
            Select::Accuracy => {
                let right = scored.single.as_ref()?.right();
                let count = right.iter().filter(|&&right| right).count();
                Some(count as f64 / right.len() as f64)
            }
        }
    }
}
