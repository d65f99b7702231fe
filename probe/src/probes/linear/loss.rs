//! Training losses of heads, and their gradients.

use clap::ValueEnum;
use ndarray::{ArrayView2, ArrayViewMut2};
use serde::Serialize;

use crate::targets::Targets;

/// Training loss, by the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Cross entropy of the softmax over classes, the mean over examples.
    CrossEntropy,
    /// Cross entropy of the sigmoid of one output, that of the second of two classes; the mean over examples.
    Binary,
    /// Cross entropy of the sigmoid of each class; 0 for unknown targets.
    MultiLabel(Reduction),
}

/// Reduction of the losses of examples and classes to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Mean over examples and classes
    Mean,
    /// Sum over examples of the mean over classes, as in the study's code
    Sum,
}

impl Loss {
    /// Loss of a task with `classes` classes.
    pub fn of(targets: &Targets, classes: usize, reduction: Reduction) -> Loss {
        match targets {
            Targets::Single(_) if classes == 2 => Loss::Binary,
            Targets::Single(_) => Loss::CrossEntropy,
            Targets::Multi(_) => Loss::MultiLabel(reduction),
        }
    }

    /// Number of outputs of a head, `O`.
    pub fn outputs(self, classes: usize) -> usize {
        match self {
            Loss::Binary => 1,
            Loss::CrossEntropy | Loss::MultiLabel(_) => classes,
        }
    }

    /// The loss of a part of a batch of `batch` examples: replaces the logits `[B, O]` of the part's examples `rows` by the
    /// gradient, and returns the part's share.
    pub(crate) fn part(
        self,
        mut logits: ArrayViewMut2<'_, f32>,
        targets: &Targets,
        rows: &[usize],
        batch: usize,
    ) -> f64 {
        let share = match self {
            Loss::MultiLabel(Reduction::Sum) => 1.0,
            Loss::CrossEntropy | Loss::Binary | Loss::MultiLabel(Reduction::Mean) => {
                rows.len() as f64 / batch as f64
            }
        };
        let value = self.value(logits.view(), targets, rows);
        self.gradient(logits.view_mut(), targets, rows);
        logits.mapv_inplace(|g| g * share as f32);
        value * share
    }

    /// The loss of the logits `[B, O]` of the examples `rows`.
    fn value(self, logits: ArrayView2<'_, f32>, targets: &Targets, rows: &[usize]) -> f64 {
        // -log(sigmoid(z)) or -log(1 - sigmoid(z)).
        let binary = |z: f32, is: bool| {
            let z = f64::from(if is { -z } else { z });
            z.max(0.0) + (-z.abs()).exp().ln_1p()
        };
        let (batch, outputs) = logits.dim();
        let places = (0..batch).flat_map(|e| (0..outputs).map(move |o| (e, o)));
        match (self, targets) {
            (Loss::CrossEntropy, Targets::Single(labels)) => {
                let losses = logits.outer_iter().zip(rows).map(|(z, &row)| {
                    let most = f64::from(z.fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
                    let total: f64 = z.iter().map(|&z| (f64::from(z) - most).exp()).sum();
                    most + total.ln() - f64::from(z[labels[row] as usize])
                });
                losses.sum::<f64>() / batch as f64
            }
            (Loss::Binary, Targets::Single(labels)) => {
                let losses = places.map(|(e, o)| binary(logits[[e, o]], labels[rows[e]] == 1));
                losses.sum::<f64>() / batch as f64
            }
            (Loss::MultiLabel(reduction), Targets::Multi(present)) => {
                let losses = places.map(|(e, o)| {
                    let target = present[[rows[e], o]];
                    target.map_or(0.0, |is| binary(logits[[e, o]], is))
                });
                let sum = losses.sum::<f64>() / outputs as f64;
                match reduction {
                    Reduction::Mean => sum / batch as f64,
                    Reduction::Sum => sum,
                }
            }
            _ => unreachable!("a loss of another task than the targets'"),
        }
    }

    /// Replaces the logits `[B, O]` of the examples `rows` by the gradient with respect to them.
    pub(super) fn gradient(
        self,
        logits: ArrayViewMut2<'_, f32>,
        targets: &Targets,
        rows: &[usize],
    ) {
        match (self, targets) {
            (Loss::CrossEntropy, Targets::Single(labels)) => softmax(logits, labels, rows),
            (Loss::Binary, Targets::Single(labels)) => {
                let batch = rows.len() as f32;
                sigmoid(logits, 1.0 / batch, |example, _| {
                    Some(labels[rows[example]] == 1)
                });
            }
            (Loss::MultiLabel(reduction), Targets::Multi(present)) => {
                let (batch, classes) = logits.dim();
                let scale = match reduction {
                    Reduction::Mean => 1.0 / (batch * classes) as f32,
                    Reduction::Sum => 1.0 / classes as f32,
                };
                sigmoid(logits, scale, |example, class| {
                    present[[rows[example], class]]
                });
            }
            (Loss::CrossEntropy | Loss::Binary, Targets::Multi(_))
            | (Loss::MultiLabel(_), Targets::Single(_)) => {
                unreachable!("a loss of another task than the targets'")
            }
        }
    }
}

/// `(softmax(z) - y) / B`.
fn softmax(mut logits: ArrayViewMut2<'_, f32>, labels: &[u32], rows: &[usize]) {
    let scale = 1.0 / rows.len() as f32;
    for (mut z, &row) in logits.outer_iter_mut().zip(rows) {
        let most = z.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        z.mapv_inplace(|value| (value - most).exp());
        let total = z.sum();
        z.mapv_inplace(|value| value / total * scale);
        z[labels[row] as usize] -= scale;
    }
}

/// `(sigmoid(z) - y) * scale`, and 0 where `y` is not known.
fn sigmoid(
    mut logits: ArrayViewMut2<'_, f32>,
    scale: f32,
    target: impl Fn(usize, usize) -> Option<bool>,
) {
    for (example, mut row) in logits.outer_iter_mut().enumerate() {
        for (output, z) in row.iter_mut().enumerate() {
            *z = target(example, output).map_or(0.0, |target| {
                let target = f32::from(u8::from(target));
                (1.0 / (1.0 + (-*z).exp()) - target) * scale
            });
        }
    }
}
