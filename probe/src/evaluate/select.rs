//! By what the best of several settings is told.

use serde::Serialize;

use super::Task;
use crate::Error;
use crate::metrics::measures::Scored;
use crate::targets::Targets;

/// What the best of several settings is best in, on the part that is chosen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The macro mean of the AUROC, as in the study.
    #[default]
    Auroc,
    /// The share of cases whose class has the highest score, as in DINOv2's evaluation: for exclusive
    /// classes.
    Accuracy,
}

impl Select {
    /// The name of the measure in records, behind `val_`.
    pub(super) fn measure(self) -> &'static str {
        match self {
            Select::Auroc => "auroc_macro",
            Select::Accuracy => "accuracy",
        }
    }

    /// Refuses accuracy where classes are not exclusive.
    pub(super) fn check(self, task: &Task<'_>) -> Result<(), Error> {
        let is_single_label = matches!(task.examples.targets, Targets::Single(_));
        if self == Select::Accuracy && !is_single_label {
            return Err(Error::SelectAccuracy {
                path: task.reader.dir().into(),
            });
        }
        Ok(())
    }

    /// How good scores are; `None` where that is not defined.
    pub(super) fn of(self, scored: &Scored, undefined_auroc: Option<f64>) -> Option<f64> {
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
