//! What a fitted probe gives.

use cache::Split;
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value};

use crate::head::SavedHead;
use crate::metrics::measures::Thresholds;
use crate::targets::Targets;

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

/// Where the largest of some values is, of equal ones the first; `None` if none is defined.
pub(crate) fn best(values: &[Option<f64>]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, &value) in values.iter().enumerate() {
        if let Some(value) = value.filter(|&value| best.is_none_or(|(_, most)| value > most)) {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

/// Probabilities of `classes` classes `[N, C]` out of logits `[N, O]`: sigmoids of classes that are
/// not exclusive, or of all if `by_sigmoid`; of two exclusive classes the sigmoid of the one logit and
/// what it leaves; else a softmax.
pub(crate) fn probabilities(
    logits: ArrayView2<'_, f32>,
    targets: &Targets,
    classes: usize,
    by_sigmoid: bool,
) -> Array2<f64> {
    let logits = logits.mapv(f64::from);
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    match targets {
        Targets::Single(_) if logits.ncols() == 1 => {
            Array2::from_shape_fn((logits.nrows(), classes), |(row, class)| {
                let z = logits[[row, 0]];
                sigmoid(if class == 0 { -z } else { z })
            })
        }
        Targets::Single(_) if !by_sigmoid => softmax(logits),
        Targets::Single(_) | Targets::Multi(_) => logits.mapv_into(sigmoid),
    }
}

fn softmax(mut logits: Array2<f64>) -> Array2<f64> {
    for mut row in logits.rows_mut() {
        let most = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        row.mapv_inplace(|z| (z - most).exp());
        let total = row.sum();
        row /= total;
    }
    logits
}
