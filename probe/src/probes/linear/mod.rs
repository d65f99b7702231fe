//! Linear heads over frozen features: all of a grid at the same time, over one pass of the data.
//!
//! As DINOv2's evaluation and the study do (appendix B.2): stochastic gradient descent with momentum
//! and a learning rate that falls along a cosine to 0, heads of different learning rates on different
//! features side by side. Letters: `N` examples, `B` of a batch, `F` features, `C` classes, `O`
//! outputs of a head (1 for two classes, else `C`).

mod batches;
mod loss;
mod panel;
mod train;

use std::ops::Range;

use half::f16;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

pub use self::batches::Batches;
pub use self::loss::{Loss, Reduction};
pub use self::train::{Schedule, train};
use crate::examples::Tokens;
use crate::random;
use crate::targets::Targets;

/// Standard deviation of weights before training.
const SPREAD: f64 = 0.01;
/// Examples whose logits are computed at a time.
const CHUNK: usize = 1024;

/// What heads are trained on.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// `[N, F]`.
    pub features: ArrayView2<'a, f16>,
    /// What the columns are.
    pub columns: &'a Columns,
    /// Of the `N` rows.
    pub targets: &'a Targets,
}

/// What features stand in a row of a matrix, one after another: the CLS tokens of the last blocks,
/// oldest first, then the mean of the last block's patch tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Width of each block's CLS token, oldest first.
    pub cls: Vec<usize>,
    /// Width of the mean patch token.
    pub mean: usize,
}

/// Which features a head sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// CLS tokens of how many of the last blocks.
    pub blocks: usize,
    /// Whether the mean of the last block's patch tokens too.
    pub mean: bool,
}

/// How one head is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadOptions {
    /// What it sees.
    pub inputs: Inputs,
    /// Its learning rate at the beginning.
    pub learning_rate: f32,
}

/// A trained head: `logits = weight x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// How it was trained.
    pub options: HeadOptions,
    /// `[O, F]`, `F` the features that it sees.
    pub weight: Array2<f32>,
    /// `[O]`.
    pub bias: Array1<f32>,
}

impl Head {
    /// Weights from a normal distribution of standard deviation 0.01, and a bias of 0. `stream` keeps
    /// heads of one seed apart.
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

    /// Whether no weight overflowed, as they do where the learning rate is too large.
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

/// `features weight' + bias`, `[N, O]`, of `features [N, F]`, `weight [O, F]` and `bias [O]`. Sums and
/// logits are in f64: products of features far from 0 with large weights nearly cancel, and beside a
/// bias f32 would round away the order that small weights give.
pub fn logits(
    features: ArrayView2<'_, f16>,
    weight: ArrayView2<'_, f32>,
    bias: ArrayView1<'_, f32>,
) -> Array2<f64> {
    let weight = weight.t().mapv(f64::from);
    let bias = bias.mapv(f64::from);
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

/// Probabilities of `classes` classes `[N, C]` out of logits `[N, O]`: sigmoids of classes that are
/// not exclusive, or of all if `by_sigmoid`; of two exclusive classes the sigmoid of the one logit and
/// what it leaves; else a softmax.
pub fn probabilities(
    logits: Array2<f64>,
    targets: &Targets,
    classes: usize,
    by_sigmoid: bool,
) -> Array2<f64> {
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

impl Inputs {
    /// The same as tokens of a cache.
    pub fn tokens(self) -> Tokens {
        Tokens {
            cls: (1..=self.blocks as u32).rev().collect(),
            mean: if self.mean { vec![1] } else { Vec::new() },
        }
    }
}

impl Columns {
    /// Number of features in a row.
    pub fn width(&self) -> usize {
        self.cls.iter().sum::<usize>() + self.mean
    }

    /// Where the features that a head sees stand.
    pub fn range(&self, inputs: Inputs) -> Range<usize> {
        let end = self.cls.iter().sum::<usize>();
        let seen = self.cls.iter().rev().take(inputs.blocks).sum::<usize>();
        end - seen..end + if inputs.mean { self.mean } else { 0 }
    }
}

/// The study's grid: every learning rate with the CLS tokens of 1 and of 4 blocks, with and without
/// the mean patch token. In its order, in which of equal heads the first is chosen.
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
