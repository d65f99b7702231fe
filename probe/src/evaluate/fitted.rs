//! What a fitted probe gives.

use cache::Split;
use ndarray::Array2;
use serde_json::{Map, Value};

use crate::head::SavedHead;
use crate::metrics::measures::Thresholds;

/// A probe with one setting, fitted.
pub(crate) struct Fitted {
    /// What sets it apart from others of the probe, for people: `k=20`.
    pub(crate) setting: String,
    pub(crate) params: Map<String, Value>,
    /// Scores of the evaluated part, `[N, C]`.
    pub(crate) scores: Array2<f64>,
    /// From the part that was chosen on; `None` if there is none.
    pub(crate) thresholds: Option<Thresholds>,
    pub(crate) n_train: usize,
    pub(crate) choice: Option<Choice>,
    pub(crate) warnings: Vec<String>,
    pub(crate) head: Option<SavedHead>,
}

/// How a setting fared among several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) is_chosen: bool,
    pub(crate) on: Split,
}

/// Differences of values that rounding alone may make.
pub(super) const ROUNDING: f64 = 1e-12;

/// Where the largest of some values is, of equal ones (but for rounding) the first; `None` if none is
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
    fn of_values_that_rounding_alone_tells_apart_the_first_is_best() {
        let rounded = 0.1 + 0.2;
        assert!(rounded > 0.3);
        assert_eq!(best(&[None, Some(0.3), Some(rounded), Some(0.2)]), Some(1));
        assert_eq!(best(&[Some(0.3), Some(rounded + 1e-9)]), Some(1));
        assert_eq!(best(&[None]), None);
    }
}
