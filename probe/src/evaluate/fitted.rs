//! Result of fitting a probe.

use cache::Split;
use serde_json::{Map, Value};

use crate::head::SavedHead;
use crate::metrics::measures::Thresholds;
use crate::scores::Scores;

/// A probe with one setting, fitted.
pub(crate) struct Fitted {
    /// Short description for people: `k=20`.
    pub(crate) setting: String,
    /// Options and chosen values, for the record.
    pub(crate) params: Map<String, Value>,
    /// Scores `[N, C]` of the evaluated part.
    pub(crate) scores: Scores,
    /// Thresholds chosen on `val`; `None` if there is no `val`.
    pub(crate) thresholds: Option<Thresholds>,
    /// Number of examples that the model was fitted to.
    pub(crate) n_train: usize,
    /// Whether this setting was chosen; `None` if there was no choice.
    pub(crate) choice: Option<Choice>,
    pub(crate) warnings: Vec<String>,
    /// Model for `probe predict`, if it can be saved.
    pub(crate) head: Option<SavedHead>,
}

/// Outcome of the choice between settings for one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) is_chosen: bool,
    pub(crate) on: Split,
}

/// Differences of values up to this may come from rounding.
pub(super) const ROUNDING: f64 = 1e-12;

/// Index of the largest value; of values that are equal up to rounding, the first. `None` if none is
/// defined.
pub(crate) fn best(values: &[Option<f64>]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, &value) in values.iter().enumerate() {
        if let Some(value) =
            value.filter(|&value| best.is_none_or(|(_, most)| value > most + ROUNDING))
        {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

/// The chosen one of several settings; the first if none is.
pub(crate) fn chosen(mut fitted: Vec<Fitted>) -> Fitted {
    let is_chosen = |fitted: &Fitted| fitted.choice.is_some_and(|choice| choice.is_chosen);
    let chosen = fitted.iter().position(is_chosen);
    fitted.swap_remove(chosen.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_values_that_differ_by_rounding_is_best() {
        let rounded = 0.1 + 0.2;
        assert!(rounded > 0.3);
        assert_eq!(best(&[None, Some(0.3), Some(rounded), Some(0.2)]), Some(1));
        assert_eq!(best(&[Some(0.3), Some(rounded + 1e-9)]), Some(1));
        assert_eq!(best(&[None]), None);
    }
}
