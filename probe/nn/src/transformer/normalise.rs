//! LayerNorm with a gain and a shift (Ba et al. 2016): `y = g (x - mean) / sqrt(variance + epsilon) + b`.

use super::math::sum_of;
use super::tensor::Tensor;
use crate::matrix::vectorised;

/// The gain and the shift of a LayerNorm.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    pub(super) gain: Tensor,
    pub(super) shift: Tensor,
    pub(super) epsilon: f32,
}

/// Rows of a LayerNorm.
#[derive(Debug, Default)]
pub(super) struct Normed {
    /// Rows with mean 0 and variance 1.
    plain: Vec<f32>,
    /// `1 / sqrt(variance + epsilon)` of each row.
    scales: Vec<f32>,
    /// The results.
    pub(super) out: Vec<f32>,
}

impl Norm {
    pub(super) fn tensors(&self) -> [&Tensor; 2] {
        [&self.gain, &self.shift]
    }

    pub(super) fn tensors_mut(&mut self) -> [&mut Tensor; 2] {
        [&mut self.gain, &mut self.shift]
    }

    pub(super) fn is_trained(&self) -> bool {
        self.tensors().into_iter().any(|t| t.place.is_some())
    }

    /// Fills `normed` from rows `x` of the LayerNorm's width that are `stride` numbers apart.
    pub(super) fn forward(&self, x: &[f32], stride: usize, normed: &mut Normed) {
        let (gain, shift) = (&self.gain.data[..], &self.shift.data[..]);
        let width = gain.len();
        let rows = x.len().div_ceil(stride);
        normed.plain.resize(rows * width, 0.0);
        normed.out.resize(rows * width, 0.0);
        normed.scales.resize(rows, 0.0);
        let plain = normed.plain.chunks_exact_mut(width);
        let outs = normed.out.chunks_exact_mut(width);
        let rows = x
            .chunks(stride)
            .zip(plain)
            .zip(outs)
            .zip(&mut normed.scales);
        for (((x, plain), out), scale) in rows {
            let x = &x[..width];
            vectorised(
                #[inline(always)]
                || {
                    let mean = sum_of(x, x, |x, _| x) / width as f32;
                    let squares = sum_of(x, x, |x, _| (x - mean) * (x - mean));
                    *scale = 1.0 / (squares / width as f32 + self.epsilon).sqrt();
                    let terms = plain.iter_mut().zip(out).zip(x).zip(gain).zip(shift);
                    for ((((plain, out), x), gain), shift) in terms {
                        *plain = (x - mean) * *scale;
                        *out = *plain * gain + shift;
                    }
                },
            );
        }
    }

    /// Adds the gradients of gain and shift to `gradients`, if they are trained.
    pub(super) fn learn(&self, normed: &Normed, dy: &[f32], gradients: &mut [f32]) {
        let width = self.gain.data.len();
        if let Some(gain) = self.gain.gradient(gradients) {
            let rows = dy.chunks_exact(width).zip(normed.plain.chunks_exact(width));
            for (dy, plain) in rows {
                for ((gain, d), plain) in gain.iter_mut().zip(dy).zip(plain) {
                    *gain += d * plain;
                }
            }
        }
        if let Some(shift) = self.shift.gradient(gradients) {
            add_rows(shift, dy);
        }
    }

    /// Adds the gradient of the rows, from `dy`, that of the results, to rows of `dx` that are `stride`
    /// numbers apart.
    pub(super) fn backward(&self, normed: &Normed, dy: &[f32], dx: &mut [f32], stride: usize) {
        let gain = &self.gain.data[..];
        let width = gain.len();
        let mut scaled = vec![0.0; width];
        let plain = normed.plain.chunks_exact(width).zip(&normed.scales);
        let rows = dx.chunks_mut(stride).zip(dy.chunks_exact(width)).zip(plain);
        for ((dx, dy), (plain, scale)) in rows {
            let dx = &mut dx[..width];
            vectorised(
                #[inline(always)]
                || {
                    for ((scaled, d), g) in scaled.iter_mut().zip(dy).zip(gain) {
                        *scaled = d * g;
                    }
                    let mean = sum_of(&scaled, plain, |d, _| d) / width as f32;
                    let along = sum_of(&scaled, plain, |d, plain| d * plain) / width as f32;
                    for ((dx, d), plain) in dx.iter_mut().zip(&scaled).zip(plain) {
                        *dx += scale * (d - mean - plain * along);
                    }
                },
            );
        }
    }
}

/// Adds all rows to `sum`.
pub(super) fn add_rows(sum: &mut [f32], rows: &[f32]) {
    for row in rows.chunks_exact(sum.len()) {
        vectorised(
            #[inline(always)]
            || {
                for (sum, x) in sum.iter_mut().zip(row) {
                    *sum += x;
                }
            },
        );
    }
}
