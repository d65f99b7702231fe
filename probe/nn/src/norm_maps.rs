//! Batch normalisation of maps `[B, H, W, C]`: vectors run along the channels, whose coefficients
//! and sums are arrays.

use crate::extent::Extent;
use crate::matrix::vectorised;
use crate::norm::{Affine, Backward, Moments, Normalise, merged, passed, rectified, summed};
use rayon::prelude::*;

/// Numbers of a map that one task takes, about.
const TASK: usize = 1 << 15;

/// The numbers of the whole pixels that one task takes.
fn task(channels: usize) -> usize {
    (TASK / channels).max(1) * channels
}

impl Normalise for Extent {
    fn moments(self, map: &[f32]) -> Vec<Moments> {
        let channels = self.channels;
        let parts = map
            .par_chunks(task(channels))
            .map(|part| part_moments(part, channels));
        merged(parts.collect(), channels)
    }

    fn normalise(self, map: &[f32], affine: &Affine, out: &mut [f32]) {
        let channels = self.channels;
        out.par_chunks_mut(task(channels))
            .zip(map.par_chunks(task(channels)))
            .for_each(|(out, map)| {
                vectorised(
                    #[inline(always)]
                    || {
                        let (scale, shift) = (&affine.scale[..], &affine.shift[..]);
                        for (out, map) in out
                            .chunks_exact_mut(channels)
                            .zip(map.chunks_exact(channels))
                        {
                            for (((out, x), scale), shift) in
                                out.iter_mut().zip(map).zip(scale).zip(shift)
                            {
                                *out = rectified(x * scale + shift);
                            }
                        }
                    },
                );
            });
    }

    fn normalise_back(self, map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward {
        let channels = self.channels;
        let parts = gradient
            .par_chunks(task(channels))
            .zip(map.par_chunks(task(channels)))
            .map(|(gradient, map)| part_sums(gradient, map, channels, affine));
        let sums = summed(parts.collect(), channels);
        let backward = Backward::new(&sums, affine, map.len() / channels);
        gradient
            .par_chunks_mut(task(channels))
            .zip(map.par_chunks(task(channels)))
            .for_each(|(gradient, map)| part_back(gradient, map, channels, affine, &backward));
        backward
    }
}

/// The moments of some pixels, by two passes: the mean, then the squared deviations from it.
fn part_moments(part: &[f32], channels: usize) -> Vec<Moments> {
    let count = part.len() / channels;
    let mut mean = vec![0.0f32; channels];
    let mut squares = vec![0.0f32; channels];
    vectorised(
        #[inline(always)]
        || {
            for pixel in part.chunks_exact(channels) {
                for (sum, x) in mean.iter_mut().zip(pixel) {
                    *sum += x;
                }
            }
            for sum in &mut mean {
                *sum /= count as f32;
            }
            for pixel in part.chunks_exact(channels) {
                for ((sum, mean), x) in squares.iter_mut().zip(&mean).zip(pixel) {
                    *sum += (x - mean) * (x - mean);
                }
            }
        },
    );
    mean.iter()
        .zip(&squares)
        .map(|(mean, squares)| Moments::new(count, f64::from(*mean), f64::from(*squares)))
        .collect()
}

/// The sums of `g` and of `g · (x − μ)` of some pixels.
fn part_sums(gradient: &[f32], map: &[f32], channels: usize, affine: &Affine) -> Vec<[f64; 2]> {
    let mut plain = vec![0.0f32; channels];
    let mut centred = vec![0.0f32; channels];
    vectorised(
        #[inline(always)]
        || {
            let (scale, shift) = (&affine.scale[..channels], &affine.shift[..channels]);
            let mean = &affine.mean[..channels];
            let (plain, centred) = (&mut plain[..channels], &mut centred[..channels]);
            for (g, map) in gradient
                .chunks_exact(channels)
                .zip(map.chunks_exact(channels))
            {
                for c in 0..channels {
                    let g = passed(g[c], map[c], scale[c], shift[c]);
                    plain[c] += g;
                    centred[c] += g * (map[c] - mean[c]);
                }
            }
        },
    );
    plain
        .iter()
        .zip(&centred)
        .map(|(a, b)| [f64::from(*a), f64::from(*b)])
        .collect()
}

/// Turns the gradient of some pixels into that of the input.
fn part_back(
    gradient: &mut [f32],
    map: &[f32],
    channels: usize,
    affine: &Affine,
    backward: &Backward,
) {
    vectorised(
        #[inline(always)]
        || {
            let (scale, shift) = (&affine.scale[..channels], &affine.shift[..channels]);
            let mean = &affine.mean[..channels];
            let (of_all, slope) = (&backward.mean[..channels], &backward.slope[..channels]);
            for (gradient, map) in gradient
                .chunks_exact_mut(channels)
                .zip(map.chunks_exact(channels))
            {
                for c in 0..channels {
                    let g = passed(gradient[c], map[c], scale[c], shift[c]);
                    gradient[c] = scale[c] * (g - of_all[c] - (map[c] - mean[c]) * slope[c]);
                }
            }
        },
    );
}
