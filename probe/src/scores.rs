//! Scores of classes, and whether they are probabilities.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

/// Scores `[N, C]` of `N` cases for `C` classes, higher for more probable classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// `[N, C]`.
    pub values: Array2<f64>,
    /// Meaning of the values.
    pub kind: ScoreKind,
}

/// Meaning of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreKind {
    /// Probabilities, or shares of votes, from 0 to 1.
    #[default]
    Probability,
    /// Signed distances from a decision boundary, as scikit-learn's `decision_function`.
    DecisionValue,
}

impl Scores {
    /// Scores that are probabilities.
    pub fn probabilities(values: Array2<f64>) -> Scores {
        Scores {
            values,
            kind: ScoreKind::Probability,
        }
    }
}

impl ScoreKind {
    /// Whether scores are probabilities.
    pub(crate) fn is_probability(&self) -> bool {
        *self == ScoreKind::Probability
    }

    /// Score from which a class is predicted as present if no threshold was chosen.
    pub fn threshold(self) -> f64 {
        match self {
            ScoreKind::Probability => 0.5,
            ScoreKind::DecisionValue => 0.0,
        }
    }

    /// Name of [`threshold`](Self::threshold) as a rule in records.
    pub(crate) fn threshold_rule(self) -> &'static str {
        match self {
            ScoreKind::Probability => "0.5",
            ScoreKind::DecisionValue => "0",
        }
    }
}
