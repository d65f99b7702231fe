//! Solutions of problems, and models of them.

use ndarray::{Array1, Array2};

/// Number of examples that a basis is computed from; at least 4 times the number of features.
pub(super) const SAMPLE: usize = 8192;

/// A fitted model: `logits = weight x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Inverse of the strength of the penalty.
    pub c: f64,
    /// `[O, F]`.
    pub weight: Array2<f64>,
    /// `[O]`; infinite for classes that no or all examples have.
    pub bias: Array1<f64>,
    /// Value of the objective, summed over problems. Large data use products in f32, so that about five digits
    /// are correct if classes are separable.
    pub loss: f64,
    /// Maximum number of evaluations of loss and gradient of a problem.
    pub evaluations: usize,
    /// Whether the minimum was reached, to about 1e-7 of the loss.
    pub converged: bool,
}

/// Minimum of a problem at a `C`.
#[derive(Clone, Debug)]
pub(super) struct Solution {
    /// `[F, K]`.
    pub(super) weight: Array2<f64>,
    /// `[K]`.
    pub(super) bias: Array1<f64>,
    pub(super) loss: f64,
    pub(super) evaluations: usize,
    pub(super) converged: bool,
}

pub(super) fn penalty<'a>(weights: impl Iterator<Item = &'a f64>, c: f64) -> f64 {
    weights.map(|weight| weight * weight).sum::<f64>() / (2.0 * c)
}
