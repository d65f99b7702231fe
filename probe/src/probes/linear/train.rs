//! Training all heads at the same time.
//!
//! The outputs of all heads stand side by side, in an order in which those that see a token are
//! neighbours: so each token's features are multiplied once, with the weights of all heads that see
//! them. The products are cut along the features into pieces of a fixed size, which threads take, and
//! the pieces' results are added in their order: so a result does not depend on the number of threads.

use std::ops::Range;

use half::f16;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::super::widen;
use super::{Columns, Data, Head, HeadOptions, Loss};

/// Features of a piece.
const PIECE: usize = 256;

/// How long, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Number of steps, over which learning rates fall along a cosine to 0.
    pub steps: usize,
    /// How much of the last step's direction is kept.
    pub momentum: f32,
}

impl Schedule {
    /// What learning rates are multiplied with in step `step`, from 0.
    fn factor(&self, step: usize) -> f32 {
        let done = step as f64 / self.steps.max(1) as f64;
        ((1.0 + (std::f64::consts::PI * done).cos()) / 2.0) as f32
    }
}

/// Trains heads, from the weights that they have, on batches of rows in the order of `batches`. The
/// result does not depend on the number of threads.
pub fn train(
    data: &Data<'_>,
    loss: Loss,
    heads: Vec<Head>,
    schedule: Schedule,
    batches: impl Iterator<Item = Vec<usize>>,
) -> Vec<Head> {
    let mut bench = Bench::new(data.columns, heads);
    for (step, rows) in batches.take(schedule.steps).enumerate() {
        let batch = gathered(data.features, &rows);
        let mut logits = bench.forward(batch.view());
        let heads: Vec<_> = logits
            .axis_chunks_iter_mut(Axis(1), bench.outputs)
            .collect();
        heads
            .into_par_iter()
            .for_each(|logits| loss.gradient(logits, data.targets, &rows));
        let factor = schedule.factor(step);
        bench.backward(batch.view(), logits.view(), factor, schedule.momentum);
    }
    bench.heads(data.columns)
}

/// Rows in f32, `[B, F]`.
fn gathered(features: ArrayView2<'_, f16>, rows: &[usize]) -> Array2<f32> {
    let mut batch = Array2::zeros((rows.len(), features.ncols()));
    let targets = batch.outer_iter_mut().into_par_iter();
    targets
        .zip(rows)
        .for_each(|(target, &row)| widen(features.row(row), target));
    batch
}

/// All heads, `H` of them with `O` outputs each, side by side.
struct Bench {
    /// Each head's number among those that were given, in the order in which they stand here.
    heads: Vec<(usize, HeadOptions)>,
    outputs: usize,
    pieces: Vec<Piece>,
    /// `[H * O]`.
    bias: Array1<f32>,
    bias_velocity: Array1<f32>,
}

/// Some features of a token, with the weights of the heads that see them.
struct Piece {
    /// Columns in the matrix of features.
    features: Range<usize>,
    /// Columns in the matrix of outputs.
    outputs: Range<usize>,
    /// `[P, outputs]`.
    weight: Array2<f32>,
    velocity: Array2<f32>,
    /// This piece's part of the logits, `[B, outputs]`.
    partial: Array2<f32>,
}

impl Bench {
    /// Heads without the mean token come first, from few blocks to many, then those with it, from many
    /// to few: those that see a token are neighbours.
    fn new(columns: &Columns, heads: Vec<Head>) -> Bench {
        let mut heads: Vec<(usize, Head)> = heads.into_iter().enumerate().collect();
        heads.sort_by_key(|(_, head)| {
            let inputs = head.options.inputs;
            let blocks = inputs.blocks as isize;
            (inputs.mean, if inputs.mean { -blocks } else { blocks })
        });
        let outputs = heads.first().map_or(0, |(_, head)| head.bias.len());
        let bias: Array1<f32> = heads.iter().flat_map(|(_, h)| h.bias.to_vec()).collect();
        let pieces = pieces(columns).filter_map(|features| {
            let sees = |(_, head): &(usize, Head)| {
                columns.range(head.options.inputs).start <= features.start
                    && features.start < columns.range(head.options.inputs).end
            };
            let first = heads.iter().position(sees)?;
            let last = heads.iter().rposition(sees)?;
            let seeing = &heads[first..=last];
            Some(Piece::new(columns, features, first * outputs, seeing))
        });
        Bench {
            pieces: pieces.collect(),
            heads: heads
                .iter()
                .map(|(index, head)| (*index, head.options))
                .collect(),
            outputs,
            bias_velocity: Array1::zeros(bias.len()),
            bias,
        }
    }

    /// `logits = x W + b`, `[B, H * O]`.
    fn forward(&mut self, batch: ArrayView2<'_, f32>) -> Array2<f32> {
        self.pieces.par_iter_mut().for_each(|piece| {
            let shape = (batch.nrows(), piece.outputs.len());
            if piece.partial.dim() != shape {
                piece.partial = Array2::zeros(shape);
            }
            let x = batch.slice(s![.., piece.features.clone()]);
            general_mat_mul(1.0, &x, &piece.weight, 0.0, &mut piece.partial);
        });
        let mut logits = Array2::zeros((batch.nrows(), self.bias.len()));
        logits += &self.bias;
        for piece in &self.pieces {
            let mut logits = logits.slice_mut(s![.., piece.outputs.clone()]);
            logits += &piece.partial;
        }
        logits
    }

    /// `v = momentum * v + x' g`, `W -= rate * v`, of the gradient `g` `[B, H * O]`.
    fn backward(
        &mut self,
        batch: ArrayView2<'_, f32>,
        gradient: ArrayView2<'_, f32>,
        factor: f32,
        momentum: f32,
    ) {
        let rates = self
            .heads
            .iter()
            .flat_map(|(_, head)| std::iter::repeat_n(head.learning_rate * factor, self.outputs));
        let rates: Array1<f32> = rates.collect();
        self.pieces.par_iter_mut().for_each(|piece| {
            let x = batch.slice(s![.., piece.features.clone()]);
            let gradient = gradient.slice(s![.., piece.outputs.clone()]);
            general_mat_mul(1.0, &x.t(), &gradient, momentum, &mut piece.velocity);
            let rates = rates.slice(s![piece.outputs.clone()]);
            let rows = piece
                .weight
                .outer_iter_mut()
                .zip(piece.velocity.outer_iter());
            for (mut weight, velocity) in rows {
                ndarray::azip!((w in &mut weight, &v in velocity, &rate in &rates) *w -= rate * v);
            }
        });
        self.bias_velocity *= momentum;
        self.bias_velocity += &gradient.sum_axis(Axis(0));
        self.bias.scaled_add(-1.0, &(&rates * &self.bias_velocity));
    }

    /// The heads in the order in which they were given.
    fn heads(&self, columns: &Columns) -> Vec<Head> {
        let mut heads: Vec<(usize, Head)> = self
            .heads
            .iter()
            .enumerate()
            .map(|(place, &(index, options))| {
                let outputs = place * self.outputs..(place + 1) * self.outputs;
                let head = Head {
                    options,
                    weight: self.weight(columns.range(options.inputs), outputs.clone()),
                    bias: self.bias.slice(s![outputs]).to_owned(),
                };
                (index, head)
            })
            .collect();
        heads.sort_by_key(|(index, _)| *index);
        heads.into_iter().map(|(_, head)| head).collect()
    }

    /// `[O, F]` of the head whose outputs and features are given.
    fn weight(&self, features: Range<usize>, outputs: Range<usize>) -> Array2<f32> {
        let mut weight = Array2::zeros((outputs.len(), features.len()));
        let is_seen = |piece: &&Piece| features.contains(&piece.features.start);
        for piece in self.pieces.iter().filter(is_seen) {
            let [start, end] =
                [piece.features.start, piece.features.end].map(|f| f - features.start);
            let [first, last] = [outputs.start, outputs.end].map(|o| o - piece.outputs.start);
            let source = piece.weight.slice(s![.., first..last]);
            weight.slice_mut(s![.., start..end]).assign(&source.t());
        }
        weight
    }
}

/// Columns of features: those of each token, cut.
fn pieces(columns: &Columns) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let tokens = columns.cls.iter().chain([&columns.mean]).map(move |width| {
        start += width;
        start - width..start
    });
    tokens.flat_map(|token| {
        let end = token.end;
        token
            .step_by(PIECE)
            .map(move |start| start..end.min(start + PIECE))
    })
}

impl Piece {
    /// Of the heads that see the features, whose first output is `first`.
    fn new(
        columns: &Columns,
        features: Range<usize>,
        first: usize,
        heads: &[(usize, Head)],
    ) -> Piece {
        let outputs: usize = heads.iter().map(|(_, head)| head.bias.len()).sum();
        let mut weight = Array2::zeros((features.len(), outputs));
        let mut place = 0;
        for (_, head) in heads {
            let start = features.start - columns.range(head.options.inputs).start;
            let source = head.weight.slice(s![.., start..start + features.len()]);
            let next = place + head.bias.len();
            weight.slice_mut(s![.., place..next]).assign(&source.t());
            place = next;
        }
        Piece {
            features,
            outputs: first..first + outputs,
            velocity: Array2::zeros(weight.dim()),
            weight,
            partial: Array2::zeros((0, outputs)),
        }
    }
}
