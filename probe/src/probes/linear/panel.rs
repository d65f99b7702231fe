//! Panels of weights, and the matrix products of training.

use std::ops::Range;

use half::f16;
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, s};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::probes::widen;

/// Outputs of a panel.
pub(super) const LANES: usize = 16;

/// Examples, or features, whose products with the outputs of a panel are in registers at a time.
pub(super) const ROWS: usize = 6;

/// A number for each output of a panel. Aligned, as loads that cross a cache line halve the speed.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

impl Lanes {
    pub(super) const ZEROS: Lanes = Lanes([0.0; LANES]);
}

/// The features of some examples in f32, in the two orders in which they are read.
pub(super) struct Batch {
    pieces: Vec<Range<usize>>,
    rows: usize,
    /// Features in a row, and padding.
    stride: usize,
    values: Vec<f32>,
    /// Layout: piece by piece, in groups of `ROWS` features, all examples of each.
    blocks: Vec<Vec<[f32; ROWS]>>,
}

impl Batch {
    /// A batch of rows with the features of `pieces`.
    pub(super) fn new(pieces: &[Range<usize>]) -> Batch {
        let features = pieces.last().map_or(0, |piece| piece.end);
        // An odd number of cache lines, so that not all rows compete for the same place in a cache.
        let lines = (features + ROWS).div_ceil(16) | 1;
        Batch {
            pieces: pieces.to_vec(),
            rows: 0,
            stride: 16 * lines,
            values: Vec::new(),
            blocks: vec![Vec::new(); pieces.len()],
        }
    }

    pub(super) fn fill(&mut self, features: ArrayView2<'_, f16>, rows: &[usize]) {
        self.rows = rows.len();
        self.values.resize(rows.len() * self.stride, 0.0);
        let targets = self.values.par_chunks_mut(self.stride);
        targets.zip(rows).for_each(|(target, &row)| {
            widen(features.row(row), (&mut target[..features.ncols()]).into());
        });
        let (values, stride) = (&self.values, self.stride);
        let blocks = self.blocks.par_iter_mut().zip(&self.pieces);
        blocks.for_each(|(blocks, piece)| {
            blocks.resize(piece.len().div_ceil(ROWS) * rows.len(), [0.0; ROWS]);
            for (row, values) in values.chunks_exact(stride).enumerate() {
                let blocks = blocks.chunks_exact_mut(rows.len());
                // The last block may go on into the next piece.
                let values = values[piece.start..].chunks_exact(ROWS);
                blocks
                    .zip(values)
                    .for_each(|(block, values)| block[row].copy_from_slice(values));
            }
        });
    }

    fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.stride)
    }
}

/// Gradient with respect to the logits of a batch `[B, LANES]`, panel after panel of outputs.
pub(super) struct Gradient {
    rows: usize,
    values: Vec<Lanes>,
}

impl Gradient {
    /// Packs a `gradient [B, ..]` with as many columns as panels have outputs.
    pub(super) fn new(gradient: ArrayView2<'_, f32>) -> Gradient {
        let (rows, columns) = gradient.dim();
        let mut values = Vec::with_capacity(rows * columns / LANES);
        for panel in (0..columns).step_by(LANES) {
            let columns = gradient.slice(s![.., panel..panel + LANES]);
            values.extend(columns.outer_iter().map(|row| {
                let mut lanes = Lanes::ZEROS;
                ArrayViewMut1::from(&mut lanes.0).assign(&row);
                lanes
            }));
        }
        Gradient { rows, values }
    }

    /// `[B, LANES]` of the panel with this output first.
    fn panel(&self, first: usize) -> &[Lanes] {
        &self.values[first / LANES * self.rows..][..self.rows]
    }
}

/// The weights of `LANES` outputs for the features of a piece.
pub(super) struct Panel {
    /// Number of the piece.
    piece: usize,
    /// Columns in the matrix of features.
    pub(super) features: Range<usize>,
    /// The first output.
    pub(super) first: usize,
    /// Learning rate of each output; 0 for heads without these features, whose weights stay 0.
    rates: Lanes,
    /// `[P, LANES]`.
    pub(super) weight: Vec<Lanes>,
    velocity: Vec<Lanes>,
    /// This panel's part of the logits, `[B, LANES]`.
    partial: Vec<Lanes>,
}

impl Panel {
    /// Panel of the piece with this number and these features; `rates` and `weight [P, LANES]` are 0 for outputs
    /// of heads without them.
    pub(super) fn new(
        piece: usize,
        features: Range<usize>,
        first: usize,
        rates: Lanes,
        weight: Vec<Lanes>,
    ) -> Panel {
        Panel {
            piece,
            features,
            first,
            rates,
            velocity: vec![Lanes::ZEROS; weight.len()],
            weight,
            partial: Vec::new(),
        }
    }

    /// Computes its part of the logits, `x W`.
    pub(super) fn forward(&mut self, batch: &Batch) {
        self.partial.resize(batch.rows, Lanes::ZEROS);
        pulp::Arch::new().dispatch(Forward { panel: self, batch });
    }

    /// Adds its part to logits `[B, LANES]`.
    pub(super) fn add_to(&self, mut logits: ArrayViewMut2<'_, f32>) {
        for (mut logits, partial) in logits.outer_iter_mut().zip(&self.partial) {
            logits += &ArrayView1::from(&partial.0);
        }
    }

    /// `v = momentum * v + x' g`, `W -= factor * rate * v`.
    pub(super) fn backward(
        &mut self,
        batch: &Batch,
        gradient: &Gradient,
        factor: f32,
        momentum: f32,
    ) {
        pulp::Arch::new().dispatch(Backward {
            blocks: &batch.blocks[self.piece],
            gradient: gradient.panel(self.first),
            rates: self.rates.0.map(|rate| rate * factor),
            momentum,
            panel: self,
        });
    }
}

struct Forward<'a> {
    panel: &'a mut Panel,
    batch: &'a Batch,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Panel {
            features,
            weight,
            partial,
            ..
        } = self.panel;
        let mut rows = self.batch.rows().map(|row| &row[features.clone()]);
        for partial in partial.chunks_mut(ROWS) {
            // The last block may have fewer rows; its other sums are not used.
            let x =
                std::array::from_fn(|_| rows.next().unwrap_or(&self.batch.values[..weight.len()]));
            let sums = forward::<S>(x, weight);
            for (partial, sums) in partial.iter_mut().zip(sums) {
                partial.0 = sums;
            }
        }
    }
}

/// Inner products of rows of features with the columns of `weight [P, LANES]`.
#[inline(always)]
fn forward<S: Simd>(x: [&[f32]; ROWS], weight: &[Lanes]) -> [[f32; LANES]; ROWS] {
    let [a, b, c, d, e, f] = x;
    let mut sums = [[0.0; LANES]; ROWS];
    // Zipped iterators avoid bounds checks.
    let columns = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
    for ((((((a, b), c), d), e), f), weight) in columns.zip(weight) {
        add_products::<S>(&[*a, *b, *c, *d, *e, *f], weight, &mut sums);
    }
    sums
}

struct Backward<'a> {
    panel: &'a mut Panel,
    blocks: &'a [[f32; ROWS]],
    gradient: &'a [Lanes],
    rates: [f32; LANES],
    momentum: f32,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let weights = self.panel.weight.chunks_mut(ROWS);
        let velocities = self.panel.velocity.chunks_mut(ROWS);
        let blocks = self.blocks.chunks_exact(self.gradient.len().max(1));
        for ((weights, velocities), block) in weights.zip(velocities).zip(blocks) {
            let sums = backward::<S>(block, self.gradient);
            for ((weight, velocity), sums) in weights.iter_mut().zip(velocities).zip(&sums) {
                let old = velocity.0;
                velocity.0 = std::array::from_fn(|i| self.momentum * old[i] + sums[i]);
                let step: [f32; LANES] = std::array::from_fn(|i| self.rates[i] * velocity.0[i]);
                let old = weight.0;
                weight.0 = std::array::from_fn(|i| old[i] - step[i]);
            }
        }
    }
}

/// Inner products of `ROWS` features with the columns of a `gradient [B, LANES]`.
#[inline(always)]
fn backward<S: Simd>(block: &[[f32; ROWS]], gradient: &[Lanes]) -> [[f32; LANES]; ROWS] {
    let mut sums = [[0.0; LANES]; ROWS];
    for (x, gradient) in block.iter().zip(gradient) {
        add_products::<S>(x, gradient, &mut sums);
    }
    sums
}

/// Adds the products of each `x` with each lane.
#[inline(always)]
fn add_products<S: Simd>(x: &[f32; ROWS], lanes: &Lanes, sums: &mut [[f32; LANES]; ROWS]) {
    for (&x, sums) in x.iter().zip(sums) {
        for (sum, &lane) in sums.iter_mut().zip(&lanes.0) {
            // Without vector instructions, fused operations are slow too.
            *sum = match S::F32_LANES {
                1 => x * lane + *sum,
                _ => x.mul_add(lane, *sum),
            };
        }
    }
}
