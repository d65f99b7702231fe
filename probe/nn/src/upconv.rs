//! The layer of a transposed convolution of 2×2 with a stride of two: it doubles height and width.
//!
//! Every input pixel makes 2×2 output pixels of its own. With weights `w` `[input, output, 2, 2]`, an
//! input `x` and its output `y`:
//!
//! ```text
//!  y[o, 2 r + u, 2 c + v] = b[o] + Σ w[i, o, u, v] · x[i, r, c]      over i
//! ```
//!
//! With weights arranged as a matrix `W` `[input, 4 · output]`, tap by tap, pixels as rows of `X`
//! `[pixels, input]`, and the four output pixels of an input pixel as a row of `Y` `[pixels, 4 · output]`,
//! these are matrix products: `Y = X W`, `∂X = ∂Y Wᵀ`, `∂W = Xᵀ ∂Y`.

use crate::conv::Input;
use crate::extent::{Extent, Layout};
use crate::matrix::{Matrix, multiply, vectorised};
use crate::parameter::Parameter;
use crate::scratch::{Pool, Scratch};
use rayon::prelude::*;

/// Input pixels that one task multiplies at once.
pub(crate) const PIXELS: usize = 256;
/// Parts of a sum over all pixels: fixed, so that it does not depend on the number of threads.
const PARTS: usize = 16;
/// Rows of a weight gradient that one task makes.
const GRADIENT_ROWS: usize = 128;

/// The kernels of the upsampling on maps in a memory layout. `self` is the layout of the output: the
/// first channels of a map twice as high and wide as the input, with twice as many channels as are
/// upsampled.
pub(crate) trait Upsample: Layout {
    /// The output for `input`, whose extent is `below`.
    fn upsample(
        self,
        input: &[f32],
        below: Extent,
        arranged: &[f32],
        bias: &[f32],
        out: &mut [f32],
        pool: &Pool,
    );

    /// Copies the output pixels of whole rows of input pixels, from row `first` of all images on, to
    /// `to` `[pixels, 4 · output]`.
    fn gather(self, out: &[f32], first: usize, to: &mut [f32]);
}

/// The layer, with weight and bias as its two parameters.
pub(crate) struct UpConv<L> {
    /// The input, in the largest batch.
    below: Extent,
    /// The output with the channels beside it.
    joined: L,
    output: usize,
}

impl<L: Upsample> UpConv<L> {
    /// A layer from `below` to the first half of the channels of `joined`.
    pub(crate) fn new(below: Extent, joined: L) -> Self {
        Self {
            below,
            joined,
            output: joined.extent().channels / 2,
        }
    }

    /// The output for `input`, into the first half of the channels of `joined`.
    pub(crate) fn forward(
        &self,
        input: &[f32],
        tensors: &[Parameter],
        batch: usize,
        joined: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let below = self.below.with_batch(batch);
        let layout = self.joined.with_batch(batch);
        let arranged = &mut scratch.transformed[..4 * below.channels * self.output];
        arrange(&tensors[0].data, self.output, arranged);
        let input = &input[..below.len()];
        layout.upsample(
            input,
            below,
            arranged,
            &tensors[1].data,
            joined,
            &scratch.pool,
        );
    }

    /// From the gradient in `joined` to that of the input, where it is replaced, with a step of the
    /// parameters.
    pub(crate) fn backward(
        &self,
        input: Input<'_>,
        joined: &[f32],
        tensors: &mut [Parameter],
        batch: usize,
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let below = self.below.with_batch(batch);
        let columns = 4 * self.output;
        let weights = below.channels * columns;
        let arranged = &mut scratch.transformed[..weights];
        arrange(&tensors[0].data, self.output, arranged);
        let pass = Backward {
            below,
            arranged,
            gather: |first, to: &mut [f32]| self.joined.gather(joined, first, to),
            pool: &scratch.pool,
        };
        let gradient = &mut scratch.gradient[..weights];
        let of_bias = scratch.pool.with(PARTS * (weights + columns), |sums| {
            let total = pass.sums(input.first(below.len()), columns, sums);
            restore(&total[..weights], self.output, gradient);
            let by_tap = &total[weights..];
            (0..self.output)
                .map(|channel| (0..4).map(|tap| by_tap[tap * self.output + channel]).sum())
                .collect::<Vec<f32>>()
        });
        tensors[0].descend(gradient, rate);
        tensors[1].descend(&of_bias, rate);
    }
}

/// Orders weights `[input, output, 2, 2]` as a matrix `[input, 4 · output]`, tap by tap.
fn arrange(weights: &[f32], output: usize, to: &mut [f32]) {
    to.par_chunks_mut(4 * output)
        .zip(weights.par_chunks(4 * output))
        .for_each(|(to, from)| {
            for (place, to) in to.iter_mut().enumerate() {
                *to = from[place % output * 4 + place / output];
            }
        });
}

/// The reverse of [`arrange`].
fn restore(arranged: &[f32], output: usize, to: &mut [f32]) {
    to.par_chunks_mut(4 * output)
        .zip(arranged.par_chunks(4 * output))
        .for_each(|(to, from)| {
            for (place, to) in to.iter_mut().enumerate() {
                *to = from[place % 4 * output + place / 4];
            }
        });
}

/// The backward pass.
struct Backward<'a, G> {
    below: Extent,
    arranged: &'a [f32],
    /// [`Upsample::gather`] of the gradient of the output.
    gather: G,
    pool: &'a Pool,
}

impl<G: Fn(usize, &mut [f32]) + Sync> Backward<'_, G> {
    /// The gradients of the arranged weights `[input, columns]` and of the bias by tap `[columns]`, at
    /// the start of `sums`. Input pixels are cut into at most [`PARTS`] parts, which are added in
    /// order.
    fn sums<'a>(&self, input: Input<'_>, columns: usize, sums: &'a mut [f32]) -> &'a [f32] {
        let Extent {
            batch,
            height,
            width,
            channels: depth,
        } = self.below;
        let rows = batch * height;
        let part = rows.div_ceil(PARTS.min(rows));
        let parts = rows.div_ceil(part);
        let sums = &mut sums[..parts * (depth + 1) * columns];
        sums.par_chunks_mut((depth + 1) * columns)
            .zip(input.chunks(part * width * depth))
            .enumerate()
            .for_each(|(index, (sums, input))| self.part(input, index * part, part, columns, sums));
        let (total, others) = sums.split_at_mut((depth + 1) * columns);
        total
            .par_chunks_mut(columns)
            .enumerate()
            .for_each(|(row, total)| {
                for other in others.chunks_exact((depth + 1) * columns) {
                    for (total, other) in total.iter_mut().zip(&other[row * columns..]) {
                        *total += other;
                    }
                }
            });
        total
    }

    /// The sums over a part of at most `rows` input rows from `first` on, a few rows at a time.
    fn part(&self, input: Input<'_>, first: usize, rows: usize, columns: usize, sums: &mut [f32]) {
        let (depth, width) = (self.below.channels, self.below.width);
        let chunk = (PIXELS / width).clamp(1, rows);
        let (weight, bias) = sums.split_at_mut(depth * columns);
        bias.fill(0.0);
        for (step, input) in input.chunks(chunk * width * depth).into_iter().enumerate() {
            let pixels = input.get().len() / depth;
            self.pool.with(pixels * columns, |made| {
                (self.gather)(first + step * chunk, made);
                vectorised(
                    #[inline(always)]
                    || {
                        for made in made.chunks_exact(columns) {
                            for (bias, made) in bias.iter_mut().zip(made) {
                                *bias += made;
                            }
                        }
                    },
                );
                let made = Matrix::new(made, pixels, columns, columns);
                add_weights(weight, columns, step > 0, input.get(), depth, made);
                if let Input::Replaced(input) = input {
                    let arranged = Matrix::new(self.arranged, depth, columns, columns);
                    multiply(input, depth, false, made, arranged.transposed());
                }
            });
        }
    }
}

/// `weight = inputᵀ · made`, or `weight += inputᵀ · made`, in blocks of rows for several threads.
fn add_weights(
    weight: &mut [f32],
    columns: usize,
    accumulate: bool,
    input: &[f32],
    depth: usize,
    made: Matrix<'_>,
) {
    weight
        .par_chunks_mut(GRADIENT_ROWS * columns)
        .enumerate()
        .for_each(|(block, weight)| {
            let rows = weight.len() / columns;
            let left = &input[block * GRADIENT_ROWS..];
            let left = Matrix::new(left, input.len() / depth, rows, depth);
            multiply(weight, columns, accumulate, left.transposed(), made);
        });
}
