//! Simultaneous training of all heads.
//!
//! The outputs of all heads stand side by side, ordered so that heads with the same token are adjacent: the
//! features of each token are multiplied once, with the weights of all heads that take it. The weights are
//! divided into panels of some features and some outputs, which threads compute. The parts of the logits are
//! added in the order of the panels, so that the result does not depend on the number of threads.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::panel::{Batch, Gradient, LANES, Lanes, Panel, ROWS};
use super::{Data, Head, HeadOptions, Loss};
use crate::features::Columns;

/// Maximum number of features per piece: those of two batches stay in the second-level cache.
const PIECE: usize = 32 * ROWS;

/// Schedule of a training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Number of steps, over which learning rates fall along a cosine to 0.
    pub steps: usize,
    /// Momentum of the gradient descent.
    pub momentum: f32,
}

impl Schedule {
    /// Factor of the learning rates in step `step`, from 0.
    fn factor(&self, step: usize) -> f32 {
        let done = step as f64 / self.steps.max(1) as f64;
        ((1.0 + (std::f64::consts::PI * done).cos()) / 2.0) as f32
    }
}

/// Trains heads, starting from their weights, on batches of rows in the order of `batches`. The result does not
/// depend on the number of threads.
pub fn train(
    data: &Data<'_>,
    loss: Loss,
    heads: Vec<Head>,
    schedule: Schedule,
    batches: impl Iterator<Item = Vec<usize>> + Send,
) -> Vec<Head> {
    // On a thread of the pool: another one would sleep and wake up in every step.
    rayon::scope(|_| {
        let pieces: Vec<Range<usize>> = pieces(data.columns).collect();
        let mut bench = Bench::new(data.columns, &pieces, heads);
        let (mut batch, mut next) = (Batch::new(&pieces), Batch::new(&pieces));
        let mut batches = batches.take(schedule.steps);
        let mut rows = batches.next();
        if let Some(rows) = &rows {
            batch.fill(data.features, rows);
            bench.forward(&batch);
        }
        let mut step = 0;
        while let Some(current) = rows {
            let gradient = bench.gradient(loss, data, &current);
            rows = batches.next();
            let next_batch = rows.as_ref().map(|rows| {
                next.fill(data.features, rows);
                &next
            });
            let factor = schedule.factor(step);
            bench.step(
                &batch,
                gradient.view(),
                factor,
                schedule.momentum,
                next_batch,
            );
            std::mem::swap(&mut batch, &mut next);
            step += 1;
        }
        bench.heads(data.columns)
    })
}

/// All heads, `H` of them with `O` outputs each, side by side.
struct Bench {
    /// Index of each head among the given ones, in the order of the outputs.
    heads: Vec<(usize, HeadOptions)>,
    outputs: usize,
    /// Panels, piece after piece.
    panels: Vec<Panel>,
    /// `[H * O]`, and zeros up to a whole panel.
    bias: Array1<f32>,
    bias_velocity: Array1<f32>,
    rates: Array1<f32>,
}

impl Bench {
    /// Heads without the mean token come first, from few blocks to many, then those with it, from many to few:
    /// heads that take a token are adjacent.
    fn new(columns: &Columns, pieces: &[Range<usize>], heads: Vec<Head>) -> Bench {
        let mut heads: Vec<(usize, Head)> = heads.into_iter().enumerate().collect();
        heads.sort_by_key(|(_, head)| {
            let inputs = head.options.inputs;
            let blocks = inputs.blocks as isize;
            (inputs.mean, if inputs.mean { -blocks } else { blocks })
        });
        let outputs = heads.first().map_or(0, |(_, head)| head.bias.len());
        let filled = (heads.len() * outputs).next_multiple_of(LANES);
        let (mut bias, mut rates) = (Array1::zeros(filled), Array1::zeros(filled));
        for (place, (_, head)) in heads.iter().enumerate() {
            let own = s![place * outputs..(place + 1) * outputs];
            bias.slice_mut(own).assign(&head.bias);
            rates.slice_mut(own).fill(head.options.learning_rate);
        }
        let panels = pieces.iter().enumerate().flat_map(|(piece, features)| {
            let heads = &heads;
            let firsts = (0..filled).step_by(LANES);
            firsts.filter_map(move |first| {
                let mut rates = Lanes::ZEROS;
                let mut weight = vec![Lanes::ZEROS; features.len()];
                let mut is_seen = false;
                for output in first..filled.min(first + LANES) {
                    let Some((_, head)) = heads.get(output / outputs) else {
                        break;
                    };
                    let seen = columns.range(head.options.inputs);
                    if seen.contains(&features.start) {
                        is_seen = true;
                        rates.0[output - first] = head.options.learning_rate;
                        let own = features.start - seen.start..features.end - seen.start;
                        let source = head.weight.slice(s![output % outputs, own]);
                        let weight = weight.iter_mut().zip(source);
                        weight.for_each(|(lanes, &value)| lanes.0[output - first] = value);
                    }
                }
                is_seen.then(|| Panel::new(piece, features.clone(), first, rates, weight))
            })
        });
        Bench {
            panels: panels.collect(),
            heads: heads
                .iter()
                .map(|(index, head)| (*index, head.options))
                .collect(),
            outputs,
            bias_velocity: Array1::zeros(filled),
            bias,
            rates,
        }
    }

    /// `x W`, in parts.
    fn forward(&mut self, batch: &Batch) {
        let panels = self.panels.par_iter_mut();
        panels.for_each(|panel| panel.forward(batch));
    }

    /// Gradient with respect to the logits `x W + b` of the rows of the last forward pass, `[B, H * O]`, padded
    /// with zeros to a whole panel.
    fn gradient(&self, loss: Loss, data: &Data<'_>, rows: &[usize]) -> Array2<f32> {
        let mut logits = Array2::zeros((rows.len(), self.bias.len()));
        let parts = logits.axis_chunks_iter_mut(Axis(1), LANES).into_par_iter();
        let parts = parts.zip(self.bias.axis_chunks_iter(Axis(0), LANES));
        parts.enumerate().for_each(|(part, (mut logits, bias))| {
            logits += &bias;
            let panels = self.panels.iter();
            let panels = panels.filter(|panel| panel.first == part * LANES);
            panels.for_each(|panel| panel.add_to(logits.view_mut()));
        });
        let outputs = self.heads.len() * self.outputs;
        let mut heads = logits.slice_mut(s![.., ..outputs]);
        let heads: Vec<_> = heads
            .axis_chunks_iter_mut(Axis(1), self.outputs.max(1))
            .collect();
        heads
            .into_par_iter()
            .for_each(|logits| loss.gradient(logits, data.targets, rows));
        logits
    }

    /// `v = momentum * v + x' g`, `W -= rate * v` for the gradient `g`, and `x W` of the next batch with the new
    /// weights, while the panel is in the cache.
    fn step(
        &mut self,
        batch: &Batch,
        gradient: ArrayView2<'_, f32>,
        factor: f32,
        momentum: f32,
        next: Option<&Batch>,
    ) {
        let by_panel = Gradient::new(gradient);
        self.panels.par_iter_mut().for_each(|panel| {
            panel.backward(batch, &by_panel, factor, momentum);
            if let Some(next) = next {
                panel.forward(next);
            }
        });
        self.bias_velocity *= momentum;
        self.bias_velocity += &gradient.sum_axis(Axis(0));
        self.bias -= &(&self.rates * factor * &self.bias_velocity);
    }

    /// The heads in their given order.
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

    /// Weight `[O, F]` of the head with these outputs and features.
    fn weight(&self, features: Range<usize>, outputs: Range<usize>) -> Array2<f32> {
        let mut weight = Array2::zeros((outputs.len(), features.len()));
        let is_seen = |panel: &&Panel| features.contains(&panel.features.start);
        for panel in self.panels.iter().filter(is_seen) {
            for (lane, output) in (panel.first..panel.first + LANES).enumerate() {
                if outputs.contains(&output) {
                    for (row, feature) in panel.weight.iter().zip(panel.features.clone()) {
                        weight[[output - outputs.start, feature - features.start]] = row.0[lane];
                    }
                }
            }
        }
        weight
    }
}

/// Columns of features: those of each token, cut into pieces of nearly the same length.
fn pieces(columns: &Columns) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    let tokens = columns.cls.iter().chain([&columns.mean]).map(move |width| {
        start += width;
        start - width..start
    });
    tokens.filter(|token| !token.is_empty()).flat_map(|token| {
        let end = token.end;
        let length = token.len().div_ceil(token.len().div_ceil(PIECE));
        let length = length.next_multiple_of(ROWS);
        token
            .step_by(length)
            .map(move |start| start..end.min(start + length))
    })
}

#[cfg(test)]
mod tests;
