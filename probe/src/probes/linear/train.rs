//! Training all heads at the same time.
//!
//! Heads that see the same features share their matrix products: their outputs stand side by side.
//! The products are cut along the features into pieces of a fixed size, which threads take, and the
//! pieces' results are added in their order: so a result does not depend on the number of threads.

use std::ops::Range;

use half::f16;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;

use super::super::widen;
use super::{Columns, Data, Head, HeadOptions, Inputs, Loss};

/// Features of a piece.
const PIECE: usize = 512;

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
    let mut groups = Group::all(data.columns, heads);
    for (step, rows) in batches.take(schedule.steps).enumerate() {
        let batch = gathered(data.features, &rows);
        forward(&mut groups, batch.view());
        let heads = groups
            .iter_mut()
            .flat_map(|group| group.logits.axis_chunks_iter_mut(Axis(1), group.outputs));
        let heads: Vec<_> = heads.collect();
        heads
            .into_par_iter()
            .for_each(|logits| loss.gradient(logits, data.targets, &rows));
        backward(
            &mut groups,
            batch.view(),
            schedule.factor(step),
            schedule.momentum,
        );
    }
    let mut trained: Vec<(usize, Head)> = groups.iter().flat_map(Group::heads).collect();
    trained.sort_by_key(|(index, _)| *index);
    trained.into_iter().map(|(_, head)| head).collect()
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

/// Heads that see the same features, `H` of them.
struct Group {
    heads: Vec<(usize, HeadOptions)>,
    outputs: usize,
    pieces: Vec<Piece>,
    bias: Array1<f32>,
    bias_velocity: Array1<f32>,
    /// `[B, H * O]`, and after the loss its gradient.
    logits: Array2<f32>,
}

/// The weights of some of a group's features.
struct Piece {
    /// First column in the matrix of features.
    first: usize,
    /// `[P, H * O]`.
    weight: Array2<f32>,
    velocity: Array2<f32>,
    /// This piece's part of the logits, `[B, H * O]`.
    partial: Array2<f32>,
}

impl Group {
    fn all(columns: &Columns, heads: Vec<Head>) -> Vec<Group> {
        let mut groups: Vec<(Inputs, Vec<(usize, Head)>)> = Vec::new();
        for (index, head) in heads.into_iter().enumerate() {
            let inputs = head.options.inputs;
            match groups.iter_mut().find(|(own, _)| *own == inputs) {
                Some((_, heads)) => heads.push((index, head)),
                None => groups.push((inputs, vec![(index, head)])),
            }
        }
        let groups = groups.into_iter();
        groups
            .map(|(inputs, heads)| Group::new(columns.range(inputs), &heads))
            .collect()
    }

    fn new(range: Range<usize>, heads: &[(usize, Head)]) -> Group {
        let outputs = heads[0].1.bias.len();
        let width = heads.len() * outputs;
        let weights: Vec<_> = heads.iter().map(|(_, head)| head.weight.t()).collect();
        let weight = concatenate(Axis(1), &weights).unwrap_or_default();
        let pieces = weight.axis_chunks_iter(Axis(0), PIECE).enumerate();
        let pieces = pieces.map(|(index, weight)| Piece {
            first: range.start + index * PIECE,
            weight: weight.as_standard_layout().into_owned(),
            velocity: Array2::zeros(weight.dim()),
            partial: Array2::zeros((0, width)),
        });
        Group {
            pieces: pieces.collect(),
            heads: heads
                .iter()
                .map(|(index, head)| (*index, head.options))
                .collect(),
            outputs,
            bias: heads
                .iter()
                .flat_map(|(_, head)| head.bias.iter().copied())
                .collect(),
            bias_velocity: Array1::zeros(width),
            logits: Array2::zeros((0, width)),
        }
    }

    fn learning_rates(&self, factor: f32) -> Array1<f32> {
        let rates = self
            .heads
            .iter()
            .flat_map(|(_, head)| std::iter::repeat_n(head.learning_rate * factor, self.outputs));
        rates.collect()
    }

    fn heads(&self) -> Vec<(usize, Head)> {
        let weights: Vec<_> = self
            .pieces
            .iter()
            .map(|piece| piece.weight.view())
            .collect();
        let weight = concatenate(Axis(0), &weights).unwrap_or_default();
        let head = |(k, &(index, options)): (usize, &(usize, HeadOptions))| {
            let columns = k * self.outputs..(k + 1) * self.outputs;
            let weight = weight.slice(s![.., columns.clone()]);
            let head = Head {
                options,
                weight: weight.t().as_standard_layout().into_owned(),
                bias: self.bias.slice(s![columns]).to_owned(),
            };
            (index, head)
        };
        self.heads.iter().enumerate().map(head).collect()
    }
}

impl Piece {
    fn columns<'a>(&self, batch: ArrayView2<'a, f32>) -> ArrayView2<'a, f32> {
        let end = self.first + self.weight.nrows();
        batch.slice_move(s![.., self.first..end])
    }
}

/// `logits = x W + b`.
fn forward(groups: &mut [Group], batch: ArrayView2<'_, f32>) {
    let pieces = groups.iter_mut().flat_map(|group| &mut group.pieces);
    let pieces: Vec<&mut Piece> = pieces.collect();
    pieces.into_par_iter().for_each(|piece| {
        let shape = (batch.nrows(), piece.weight.ncols());
        if piece.partial.dim() != shape {
            piece.partial = Array2::zeros(shape);
        }
        let x = piece.columns(batch);
        general_mat_mul(1.0, &x, &piece.weight, 0.0, &mut piece.partial);
    });
    for group in groups {
        let shape = (batch.nrows(), group.bias.len());
        group.logits = Array2::from_shape_fn(shape, |(_, output)| group.bias[output]);
        for piece in &group.pieces {
            group.logits += &piece.partial;
        }
    }
}

/// `v = momentum * v + x' g`, `W -= rate * v`, for all heads.
fn backward(groups: &mut [Group], batch: ArrayView2<'_, f32>, factor: f32, momentum: f32) {
    for group in groups {
        let rates = group.learning_rates(factor);
        let gradient = &group.logits;
        group.pieces.par_iter_mut().for_each(|piece| {
            let x = piece.columns(batch);
            general_mat_mul(1.0, &x.t(), gradient, momentum, &mut piece.velocity);
            let rows = piece
                .weight
                .outer_iter_mut()
                .zip(piece.velocity.outer_iter());
            for (mut weight, velocity) in rows {
                ndarray::azip!((w in &mut weight, &v in velocity, &rate in &rates) *w -= rate * v);
            }
        });
        group.bias_velocity *= momentum;
        group.bias_velocity += &gradient.sum_axis(Axis(0));
        group
            .bias
            .scaled_add(-1.0, &(&rates * &group.bias_velocity));
    }
}
