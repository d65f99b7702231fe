//! Batch normalisation (Ioffe and Szegedy 2015) followed by ReLU.
//!
//! Per channel, with the mean μ and the variance σ² of the batch (in training) or running ones,
//! weight γ and bias β:
//!
//! ```text
//!  y = max(0, γ (x − μ) / √(σ² + ε) + β) = max(0, scale · x + shift)
//! ```
//!
//! Backwards, with g the gradient of y where y > 0, else 0, and N the number of pixels:
//!
//! ```text
//!  ∂β = Σ g        ∂γ = Σ g · x̂, x̂ = (x − μ) / √(σ² + ε)
//!  ∂x = scale · (g − ∂β / N − x̂ · ∂γ / N)
//! ```
//!
//! Sums are those of parts whose size is fixed, merged in order, so that results do not depend on the
//! number of threads.

use crate::extent::Layout;

const EPSILON: f64 = 1e-5;
/// The weight of a batch in the running statistics.
const MOMENTUM: f32 = 0.1;

/// The kernels of the normalisation on maps in a memory layout.
pub(crate) trait Normalise: Layout {
    /// Count, mean and squared deviations of every channel.
    fn moments(self, map: &[f32]) -> Vec<Moments>;

    /// `out = max(0, scale · map + shift)`
    fn normalise(self, map: &[f32], affine: &Affine, out: &mut [f32]);

    /// Turns the gradient of the output of [`Normalise::normalise`] into that of `map`, in place.
    fn normalise_back(self, map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward;
}

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

    /// The moments of both (Chan, Golub and LeVeque 1983).
    fn merge(&mut self, other: Self) {
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

/// The coefficients of `max(0, scale · x + shift)` per channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
    /// The mean of a batch in training.
    pub(crate) mean: Vec<f32>,
    /// 1 / standard deviation of a batch in training.
    inverse: Vec<f32>,
    /// The unbiased variance of a batch in training.
    variance: Vec<f32>,
}

impl Affine {
    /// The coefficients from a batch's own statistics.
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

    /// The coefficients from running statistics, for a convolution that left out its bias `offset`.
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

/// The gradients of weight and bias per channel, and the coefficients of that of the input:
/// `∂x = scale · (g − mean − (x − μ) · slope)`.
#[derive(Default)]
pub(crate) struct Backward {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) mean: Vec<f32>,
    pub(crate) slope: Vec<f32>,
}

impl Backward {
    /// The gradients from the sums of `g` and of `g · (x − μ)` over `count` pixels.
    pub(crate) fn new(sums: &[[f64; 2]], affine: &Affine, count: usize) -> Self {
        let count = count as f64;
        let mut result = Self::default();
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

/// `max(0, x)`; a NaN passes, so that the loss shows it.
#[inline(always)]
pub(crate) fn rectified(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The gradient `g` of the output where the output is positive, else 0.
#[inline(always)]
pub(crate) fn passed(g: f32, x: f32, scale: f32, shift: f32) -> f32 {
    if x * scale + shift > 0.0 { g } else { 0.0 }
}

/// The moments of every channel, from those of parts in their order.
pub(crate) fn merged(parts: Vec<Vec<Moments>>, channels: usize) -> Vec<Moments> {
    let mut total = vec![Moments::default(); channels];
    for part in parts {
        for (total, part) in total.iter_mut().zip(part) {
            total.merge(part);
        }
    }
    total
}

/// The sums of every channel, from those of parts in their order.
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
