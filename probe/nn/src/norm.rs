//! Batch normalisation (Ioffe and Szegedy 2015) followed by ReLU, over maps `[B, H, W, C]` or
//! planes.

use crate::extent::Extent;
use crate::matrix::vectorised;
use rayon::prelude::*;

const EPSILON: f64 = 1e-5;
/// The weight of a batch in the running statistics.
const MOMENTUM: f32 = 0.1;
/// Numbers of a map that one task takes.
const TASK: usize = 1 << 15;

/// Count, mean and sum of squared deviations of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    pub(crate) fn new(count: usize, mean: f64, squares: f64) -> Self {
        Self {
            count: count as f64,
            mean,
            squares,
        }
    }

    /// Chan, Golub and LeVeque 1983.
    pub(crate) fn merge(&mut self, other: Self) {
        let count = self.count + other.count;
        if count == 0.0 {
            return;
        }
        let step = other.mean - self.mean;
        self.squares += other.squares + step * step * self.count * other.count / count;
        self.mean += step * other.count / count;
        self.count = count;
    }
}

/// What normalises a channel: `max(0, scale · x + shift)`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    /// Of a batch in training: mean, and 1 / standard deviation.
    pub(crate) mean: Vec<f32>,
    pub(crate) inverse: Vec<f32>,
    /// Unbiased.
    variance: Vec<f32>,
}

impl Affine {
    /// From a batch's own statistics.
    pub(crate) fn of_batch(moments: &[Moments], weight: &[f32], bias: &[f32]) -> Self {
        let mut result = Self::default();
        for ((moments, weight), bias) in moments.iter().zip(weight).zip(bias) {
            let inverse = 1.0 / (moments.squares / moments.count + EPSILON).sqrt();
            let scale = f64::from(*weight) * inverse;
            result.scale.push(scale as f32);
            result
                .shift
                .push((f64::from(*bias) - scale * moments.mean) as f32);
            result.mean.push(moments.mean as f32);
            result.inverse.push(inverse as f32);
            result
                .variance
                .push((moments.squares / (moments.count - 1.0).max(1.0)) as f32);
        }
        result
    }

    /// From running statistics, for a convolution that left out its bias `offset`.
    pub(crate) fn of_running(
        mean: &[f32],
        variance: &[f32],
        weight: &[f32],
        bias: &[f32],
        offset: &[f32],
    ) -> Self {
        let mut result = Self::default();
        for channel in 0..mean.len() {
            let inverse = 1.0 / (f64::from(variance[channel]) + EPSILON).sqrt();
            let scale = f64::from(weight[channel]) * inverse;
            let centre = f64::from(mean[channel]) - f64::from(offset[channel]);
            result.scale.push(scale as f32);
            result
                .shift
                .push((f64::from(bias[channel]) - scale * centre) as f32);
        }
        result
    }

    /// Moves running statistics towards the batch's, whose convolution left out its bias `offset`.
    pub(crate) fn update(&self, mean: &mut [f32], variance: &mut [f32], offset: &[f32]) {
        for channel in 0..mean.len() {
            let of_batch = self.mean[channel] + offset[channel];
            mean[channel] += MOMENTUM * (of_batch - mean[channel]);
            variance[channel] += MOMENTUM * (self.variance[channel] - variance[channel]);
        }
    }
}

/// What a gradient needs besides [`Affine`], per channel: `d = scale · (g − mean − deviation ·
/// slope)`, from the sums of `g` and of `g · x̂`, which are also the gradients of bias and weight.
pub(crate) struct Backward {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) slope: Vec<f32>,
}

impl Backward {
    /// From the sums of `g` and of `g · (x − mean)` over `count` numbers.
    pub(crate) fn new(sums: &[[f64; 2]], affine: &Affine, count: usize) -> Self {
        let count = count as f64;
        let mut result = Self {
            weight: Vec::new(),
            bias: Vec::new(),
            mean: Vec::new(),
            slope: Vec::new(),
        };
        for ([plain, centred], inverse) in sums.iter().zip(&affine.inverse) {
            let inverse = f64::from(*inverse);
            result.bias.push(*plain as f32);
            result.weight.push((centred * inverse) as f32);
            result.mean.push((plain / count) as f32);
            result
                .slope
                .push((centred * inverse * inverse / count) as f32);
        }
        result
    }
}

/// `max(0, x)`, which lets a NaN through so that the loss shows it.
#[inline(always)]
pub(crate) fn rectified(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

fn task(channels: usize) -> usize {
    (TASK / channels).max(1) * channels
}

/// The moments of every channel of a map `[.., C]`.
pub(crate) fn moments(map: &[f32], channels: usize) -> Vec<Moments> {
    let parts: Vec<Vec<Moments>> = map
        .par_chunks(task(channels))
        .map(|part| {
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
        })
        .collect();
    merged(parts, channels)
}

/// In the order of the parts, whatever the number of threads.
pub(crate) fn merged(parts: Vec<Vec<Moments>>, channels: usize) -> Vec<Moments> {
    let mut total = vec![Moments::default(); channels];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            total.merge(part);
        }
    }
    total
}

/// In the order of the parts, whatever the number of threads.
pub(crate) fn summed(parts: Vec<Vec<[f64; 2]>>, channels: usize) -> Vec<[f64; 2]> {
    let mut total = vec![[0.0; 2]; channels];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            total[0] += part[0];
            total[1] += part[1];
        }
    }
    total
}

/// `out = max(0, scale · map + shift)`
pub(crate) fn normalise(map: &[f32], affine: &Affine, out: &mut [f32]) {
    let channels = affine.scale.len();
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

/// Turns the gradient of the output of [`normalise`] into that of `map`, in place.
pub(crate) fn backward(map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward {
    let channels = affine.scale.len();
    let parts: Vec<Vec<[f64; 2]>> = gradient
        .par_chunks(task(channels))
        .zip(map.par_chunks(task(channels)))
        .map(|(gradient, map)| {
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
                            let positive = map[c] * scale[c] + shift[c] > 0.0;
                            let g = if positive { g[c] } else { 0.0 };
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
        })
        .collect();
    let sums = summed(parts, channels);
    let backward = Backward::new(&sums, affine, map.len() / channels);
    gradient
        .par_chunks_mut(task(channels))
        .zip(map.par_chunks(task(channels)))
        .for_each(|(gradient, map)| {
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
                            let positive = map[c] * scale[c] + shift[c] > 0.0;
                            let g = if positive { gradient[c] } else { 0.0 };
                            gradient[c] =
                                scale[c] * (g - of_all[c] - (map[c] - mean[c]) * slope[c]);
                        }
                    }
                },
            );
        });
    backward
}

/// `[B, h, w, C]` to planes `[B, C, h, w]`.
pub(crate) fn to_planes(map: &[f32], extent: Extent, out: &mut [f32]) {
    let (pixels, channels) = (extent.height * extent.width, extent.channels);
    for (out, map) in out
        .chunks_exact_mut(pixels * channels)
        .zip(map.chunks_exact(pixels * channels))
    {
        for (channel, plane) in out.chunks_exact_mut(pixels).enumerate() {
            for (pixel, out) in plane.iter_mut().enumerate() {
                *out = map[pixel * channels + channel];
            }
        }
    }
}

/// Planes `[B, C, h, w]` to `[B, h, w, C]`.
pub(crate) fn from_planes(planes: &[f32], extent: Extent, out: &mut [f32]) {
    let (pixels, channels) = (extent.height * extent.width, extent.channels);
    for (out, planes) in out
        .chunks_exact_mut(pixels * channels)
        .zip(planes.chunks_exact(pixels * channels))
    {
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            for (channel, out) in out.iter_mut().enumerate() {
                *out = planes[channel * pixels + pixel];
            }
        }
    }
}
