//! Transposed convolutions of 2×2 with a stride of two, as matrix products: every input pixel makes
//! 2×2 output pixels of its own.

use crate::extent::Extent;
use crate::matrix::{Matrix, Pool, across, multiply, vectorised};
use crate::planes::Planes;
use rayon::prelude::*;

/// Input pixels that one task multiplies at once.
const PIXELS: usize = 256;
/// Parts of a sum over all pixels: fixed, so that it does not depend on the number of threads.
const PARTS: usize = 16;
/// Rows of a weight gradient that one task makes.
const GRADIENT_ROWS: usize = 128;

/// Orders weights `[input, output, 2, 2]` as a matrix `[input, 4 · output]`, tap by tap.
pub(crate) fn arrange(weights: &[f32], output: usize, to: &mut [f32]) {
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

/// The result for `input` (`[B, h, w, C]`) into the lower half of the channels of `out`
/// (`[B, 2 h, 2 w, 2 · output]`).
pub(crate) fn lower(
    input: &[f32],
    extent: Extent,
    arranged: &[f32],
    bias: &[f32],
    out: &mut [f32],
    pool: &Pool,
) {
    let (depth, output, width) = (extent.channels, bias.len(), extent.width);
    let rows = (PIXELS / width).max(1);
    out.par_chunks_mut(rows * width * 8 * output)
        .zip(input.par_chunks(rows * width * depth))
        .for_each(|(out, input)| {
            let pixels = input.len() / depth;
            pool.with(pixels * 4 * output, |made| {
                multiply(
                    made,
                    4 * output,
                    false,
                    Matrix::new(input, pixels, depth, depth),
                    Matrix::new(arranged, depth, 4 * output, 4 * output),
                );
                vectorised(
                    #[inline(always)]
                    || {
                        for (place, out) in out.chunks_exact_mut(2 * output).enumerate() {
                            let from = &made[source(place, width) * output..][..output];
                            for ((out, from), bias) in out.iter_mut().zip(from).zip(bias) {
                                *out = from + bias;
                            }
                        }
                    },
                );
            });
        });
}

/// Of output pixel `place`, counted from the start of a row pair: where the products of its input
/// pixel and tap are, in units of the output channels.
#[inline(always)]
fn source(place: usize, width: usize) -> usize {
    let (y, x) = (place / (2 * width), place % (2 * width));
    (y / 2 * width + x / 2) * 4 + y % 2 * 2 + x % 2
}

/// The same into the first `bias.len()` channels of planes twice as high and wide.
pub(crate) fn lower_planes(
    input: &[f32],
    extent: Extent,
    arranged: &[f32],
    bias: &[f32],
    out: &mut [f32],
    planes: Planes,
    pool: &Pool,
) {
    let (depth, output, width) = (extent.channels, bias.len(), extent.width);
    let image = extent.height * width * depth;
    out.par_chunks_mut(planes.image())
        .zip(input.par_chunks(image))
        .for_each(|(out, input)| {
            let channels = &mut out[..output * planes.plane()];
            across(channels, planes.plane(), planes.band())
                .into_par_iter()
                .enumerate()
                .for_each(|(band, mut parts)| {
                    let rows = planes.rows(band);
                    if rows.is_empty() {
                        return;
                    }
                    let (first, last) = (rows.start / 2, rows.end.div_ceil(2));
                    let pixels = (last - first) * width;
                    pool.with(pixels * 4 * output, |made| {
                        multiply(
                            made,
                            4 * output,
                            false,
                            Matrix::new(&input[first * width * depth..], pixels, depth, depth),
                            Matrix::new(arranged, depth, 4 * output, 4 * output),
                        );
                        for row in rows {
                            let from = &made[(row / 2 - first) * width * 4 * output..];
                            for (channel, part) in parts.iter_mut().enumerate() {
                                let out = &mut part[planes.inside(band, row)..][..2 * width];
                                for (x, out) in out.iter_mut().enumerate() {
                                    let tap = row % 2 * 2 + x % 2;
                                    *out =
                                        from[(x / 2 * 4 + tap) * output + channel] + bias[channel];
                                }
                            }
                        }
                    });
                });
        });
}

/// The input of a layer, and whether the gradient of it is wanted in its place.
pub(crate) enum Input<'a> {
    Kept(&'a [f32]),
    Replaced(&'a mut [f32]),
}

impl<'a> Input<'a> {
    fn get(&self) -> &[f32] {
        match self {
            Self::Kept(data) => data,
            Self::Replaced(data) => data,
        }
    }

    /// The first `length` numbers.
    pub(crate) fn first(self, length: usize) -> Self {
        match self {
            Self::Kept(data) => Self::Kept(&data[..length]),
            Self::Replaced(data) => Self::Replaced(&mut data[..length]),
        }
    }

    fn chunks(self, length: usize) -> Vec<Self> {
        match self {
            Self::Kept(data) => data.chunks(length).map(Self::Kept).collect(),
            Self::Replaced(data) => data.chunks_mut(length).map(Self::Replaced).collect(),
        }
    }
}

/// Where the gradient of an upsampled map comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    /// The lower half of the channels of `[B, 2 h, 2 w, 2 · output]`.
    Lower(&'a [f32]),
    /// The first channels of planes.
    Planes(&'a [f32], Planes),
}

/// Gradients of a layer's parameters in PyTorch's order.
pub(crate) struct Gradients<'a> {
    /// `[input, output, 2, 2]`
    pub(crate) weight: &'a mut [f32],
    /// `[output]`
    pub(crate) bias: &'a mut [f32],
}

/// The gradients of weights and bias, and of the input where it is to be replaced, from that of the
/// output.
pub(crate) fn backward(
    input: Input<'_>,
    extent: Extent,
    arranged: &[f32],
    source: Source<'_>,
    gradients: Gradients<'_>,
    pool: &Pool,
) {
    let (depth, output, width) = (extent.channels, gradients.bias.len(), extent.width);
    let (columns, rows) = (4 * output, extent.batch * extent.height);
    let part = rows.div_ceil(PARTS.min(rows));
    let parts = rows.div_ceil(part);
    let chunk = (PIXELS / width).clamp(1, part);
    pool.with(parts * (depth + 1) * columns, |sums| {
        sums.par_chunks_mut((depth + 1) * columns)
            .zip(input.chunks(part * width * depth))
            .enumerate()
            .for_each(|(index, (sums, input))| {
                let (weight, bias) = sums.split_at_mut(depth * columns);
                bias.fill(0.0);
                for (step, input) in input.chunks(chunk * width * depth).into_iter().enumerate() {
                    let pixels = input.get().len() / depth;
                    pool.with(pixels * columns, |made| {
                        let first = index * part + step * chunk;
                        gather(source, first, extent, output, made);
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
                        let made = &*made;
                        let before = input.get();
                        weight
                            .par_chunks_mut(GRADIENT_ROWS * columns)
                            .enumerate()
                            .for_each(|(block, weight)| {
                                let rows = weight.len() / columns;
                                let left = &before[block * GRADIENT_ROWS..];
                                multiply(
                                    weight,
                                    columns,
                                    step > 0,
                                    Matrix::new(left, pixels, rows, depth).transposed(),
                                    Matrix::new(made, pixels, columns, columns),
                                );
                            });
                        if let Input::Replaced(input) = input {
                            multiply(
                                input,
                                depth,
                                false,
                                Matrix::new(made, pixels, columns, columns),
                                Matrix::new(arranged, depth, columns, columns).transposed(),
                            );
                        }
                    });
                }
            });
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
        restore(&total[..depth * columns], output, gradients.weight);
        let by_tap = &total[depth * columns..];
        for (channel, bias) in gradients.bias.iter_mut().enumerate() {
            *bias = (0..4).map(|tap| by_tap[tap * output + channel]).sum();
        }
    });
}

/// The gradient of the outputs of some input rows, as `[pixels, 4 · output]`.
fn gather(source: Source<'_>, first: usize, extent: Extent, output: usize, to: &mut [f32]) {
    let width = extent.width;
    for (row, to) in to.chunks_exact_mut(width * 4 * output).enumerate() {
        let row = first + row;
        for (tap, (y, x)) in [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().enumerate() {
            match source {
                Source::Lower(data) => {
                    let data = &data[(row * 2 + y) * 4 * width * output..];
                    vectorised(
                        #[inline(always)]
                        || {
                            for pixel in 0..width {
                                to[(pixel * 4 + tap) * output..][..output].copy_from_slice(
                                    &data[(pixel * 2 + x) * 2 * output..][..output],
                                );
                            }
                        },
                    );
                }
                Source::Planes(data, planes) => {
                    let (image, row) = (row / extent.height, row % extent.height);
                    for channel in 0..output {
                        let data = &data[planes.at(image, channel, row * 2 + y) + x..];
                        for pixel in 0..width {
                            to[(pixel * 4 + tap) * output + channel] = data[pixel * 2];
                        }
                    }
                }
            }
        }
    }
}
