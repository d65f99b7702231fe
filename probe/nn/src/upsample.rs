//! Upsampling on both memory layouts: a matrix product, whose results are then put in their places.

use crate::extent::Extent;
use crate::matrix::{Matrix, across, multiply, vectorised};
use crate::planes::Planes;
use crate::scratch::Pool;
use crate::upconv::{PIXELS, Upsample};
use rayon::prelude::*;

/// The four taps of an input pixel: rows and columns of its output pixels.
const TAPS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

impl Upsample for Extent {
    fn upsample(
        self,
        input: &[f32],
        below: Extent,
        arranged: &[f32],
        bias: &[f32],
        out: &mut [f32],
        pool: &Pool,
    ) {
        let (depth, output, width) = (below.channels, bias.len(), below.width);
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

    fn gather(self, out: &[f32], first: usize, to: &mut [f32]) {
        let (output, width) = (self.channels / 2, self.width / 2);
        for (row, to) in to.chunks_exact_mut(width * 4 * output).enumerate() {
            for (tap, (y, x)) in TAPS.into_iter().enumerate() {
                let out = &out[((first + row) * 2 + y) * 4 * width * output..];
                vectorised(
                    #[inline(always)]
                    || {
                        for pixel in 0..width {
                            to[(pixel * 4 + tap) * output..][..output]
                                .copy_from_slice(&out[(pixel * 2 + x) * 2 * output..][..output]);
                        }
                    },
                );
            }
        }
    }
}

/// The place of the products for output pixel `place`, counted from the start of a row pair, in units
/// of the output channels.
#[inline(always)]
fn source(place: usize, width: usize) -> usize {
    let (y, x) = (place / (2 * width), place % (2 * width));
    (y / 2 * width + x / 2) * 4 + y % 2 * 2 + x % 2
}

impl Upsample for Planes {
    fn upsample(
        self,
        input: &[f32],
        below: Extent,
        arranged: &[f32],
        bias: &[f32],
        out: &mut [f32],
        pool: &Pool,
    ) {
        let image = below.height * below.width * below.channels;
        out.par_chunks_mut(self.image())
            .zip(input.par_chunks(image))
            .for_each(|(out, input)| {
                let channels = &mut out[..bias.len() * self.plane()];
                across(channels, self.plane(), self.band())
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(band, mut parts)| {
                        self.upsample_band(input, below, arranged, bias, band, &mut parts, pool);
                    });
            });
    }

    fn gather(self, out: &[f32], first: usize, to: &mut [f32]) {
        let Extent {
            channels,
            height,
            width,
            ..
        } = self.extent;
        let (output, height, width) = (channels / 2, height / 2, width / 2);
        for (row, to) in to.chunks_exact_mut(width * 4 * output).enumerate() {
            let (image, row) = ((first + row) / height, (first + row) % height);
            for (tap, (y, x)) in TAPS.into_iter().enumerate() {
                for channel in 0..output {
                    let out = &out[self.at(image, channel, row * 2 + y) + x..];
                    for pixel in 0..width {
                        to[(pixel * 4 + tap) * output + channel] = out[pixel * 2];
                    }
                }
            }
        }
    }
}

impl Planes {
    /// Upsamples the input rows of a band of an image, whose output channels are `parts`.
    #[allow(clippy::too_many_arguments)]
    fn upsample_band(
        self,
        input: &[f32],
        below: Extent,
        arranged: &[f32],
        bias: &[f32],
        band: usize,
        parts: &mut [&mut [f32]],
        pool: &Pool,
    ) {
        let (depth, output, width) = (below.channels, bias.len(), below.width);
        let rows = self.rows(band);
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
                    let out = &mut part[self.inside(band, row)..][..2 * width];
                    for (x, out) in out.iter_mut().enumerate() {
                        let tap = row % 2 * 2 + x % 2;
                        *out = from[(x / 2 * 4 + tap) * output + channel] + bias[channel];
                    }
                }
            }
        });
    }
}
