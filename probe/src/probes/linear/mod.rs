//! Linear heads over frozen features: a whole grid is trained at the same time, in one pass over the data.
//!
//! As in DINOv2's evaluation and in the study (appendix B.2): stochastic gradient descent with momentum
//! and a learning rate that falls to 0 along a cosine. Heads of different learning rates and inputs are
//! trained side by side. Axes: `N` examples, `B` examples of a batch, `F` features, `C` classes, `O`
//! outputs of a head (1 for two exclusive classes, else `C`).

mod batches;
mod loss;
mod panel;
mod train;

use half::f16;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

pub use self::batches::Batches;
pub use self::loss::{Loss, Reduction};
pub use self::train::{Schedule, train};
use crate::features::{Columns, Inputs};
use crate::random;
use crate::scores::{ScoreKind, Scores};
use crate::targets::Targets;

/// Standard deviation of initial weights.
const SPREAD: f64 = 0.01;
/// Examples per block of [`logits`].
const CHUNK: usize = 1024;

/// Training data of heads.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// `[N, F]`.
    pub features: ArrayView2<'a, f16>,
    /// Tokens of the columns.
    pub columns: &'a Columns,
    /// Targets of the `N` rows.
    pub targets: &'a Targets,
}

/// Settings of one head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadOptions {
    /// Its features.
    pub inputs: Inputs,
    /// Initial learning rate.
    pub learning_rate: f32,
}

/// A trained head: `logits = weight x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Its settings.
    pub options: HeadOptions,
    /// `[O, F]`, where `F` counts the features of its inputs.
    pub weight: Array2<f32>,
    /// `[O]`.
    pub bias: Array1<f32>,
}

impl Head {
    /// A head with weights from a normal distribution of standard deviation 0.01 and a bias of 0.
    /// Heads of one seed differ by `stream`.
    pub fn new(
        options: HeadOptions,
        features: usize,
        outputs: usize,
        seed: u64,
        stream: u64,
    ) -> Head {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let weight = Array2::from_shape_simple_fn((outputs, features), || {
            (SPREAD * random::normal(&mut rng)) as f32
        });
        Head {
            options,
            weight,
            bias: Array1::zeros(outputs),
        }
    }

    /// Whether all weights are finite; they overflow if the learning rate is too large.
    pub fn is_finite(&self) -> bool {
        self.weight
            .iter()
            .chain(&self.bias)
            .all(|value| value.is_finite())
    }

    /// Logits `[N, O]` for `features` `[N, F]` of all columns.
    pub fn logits(&self, features: ArrayView2<'_, f16>, columns: &Columns) -> Array2<f64> {
        let seen = features.slice_move(s![.., columns.range(self.options.inputs)]);
        logits(seen, self.weight.view(), self.bias.view())
    }
}

/// `features weight' + bias`, `[N, O]`, of `features [N, F]`, `weight [O, F]` and `bias [O]`.
///
/// Sums and logits are in f64: products of features far from 0 with large weights nearly cancel, and
/// f32 would round away the order of cases with small weights beside a large bias.
pub fn logits<T: Copy + Into<f64>>(
    features: ArrayView2<'_, f16>,
    weight: ArrayView2<'_, T>,
    bias: ArrayView1<'_, T>,
) -> Array2<f64> {
    let weight = weight.t().mapv(Into::into);
    let bias = bias.mapv(Into::into);
    let mut logits = Array2::zeros((features.nrows(), bias.len()));
    let chunks = logits.axis_chunks_iter_mut(Axis(0), CHUNK).into_par_iter();
    chunks
        .zip(features.axis_chunks_iter(Axis(0), CHUNK))
        .for_each(|(mut logits, x)| {
            let x = x.mapv(f16::to_f32).mapv(f64::from);
            logits.assign(&(x.dot(&weight) + &bias));
        });
    logits
}

/// Function from the logits `[N, O]` of a linear model to scores `[N, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A softmax over exclusive classes; a sigmoid of each class that is not exclusive.
    Softmax,
    /// A sigmoid of each class.
    Sigmoid,
    /// The identity: logits are decision values.
    Identity,
}

impl Link {
    /// Scores of `classes` classes. Two exclusive classes have one logit `z`, the second's: their
    /// probabilities are `sigmoid(-z)` and `sigmoid(z)`, their decision values `-z` and `z`.
    pub fn scores(self, logits: Array2<f64>, is_single_label: bool, classes: usize) -> Scores {
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let logits = if is_single_label && logits.ncols() == 1 {
            let both = (logits.nrows(), classes);
            let sign = |class| if class == 0 { -1.0 } else { 1.0 };
            Array2::from_shape_fn(both, |(row, class)| sign(class) * logits[[row, 0]])
        } else if is_single_label && self == Link::Softmax {
            return Scores::probabilities(softmax(logits));
        } else {
            logits
        };
        match self {
            Link::Softmax | Link::Sigmoid => Scores::probabilities(logits.mapv_into(sigmoid)),
            Link::Identity => Scores {
                values: logits,
                kind: ScoreKind::DecisionValue,
            },
        }
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

/// The study's grid: each learning rate with the CLS tokens of each number of `blocks`, with and without
/// the mean patch token. Of equally good heads the first in this order is chosen.
pub fn grid(learning_rates: &[f32], blocks: &[usize]) -> Vec<HeadOptions> {
    let inputs = blocks
        .iter()
        .flat_map(|&blocks| [true, false].map(|mean| Inputs { blocks, mean }));
    inputs
        .flat_map(|inputs| {
            learning_rates
                .iter()
                .map(move |&learning_rate| HeadOptions {
                    inputs,
                    learning_rate,
                })
        })
        .collect()
}
