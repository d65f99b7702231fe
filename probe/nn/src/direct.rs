//! 3×3 convolutions with a padding of one over planes, term by term.

use crate::planes::Planes;
use pulp::{Simd, WithSimd};

/// Weights `[output, input, 3, 3]` of a convolution for the gradient of its input,
/// `[input, output, 3, 3]`.
pub(crate) fn turned(weights: &[f32], input: usize, output: usize) -> Vec<f32> {
    let mut result = vec![0.0; weights.len()];
    for o in 0..output {
        for i in 0..input {
            for tap in 0..9 {
                result[(i * output + o) * 9 + tap] = weights[(o * input + i) * 9 + 8 - tap];
            }
        }
    }
    result
}

/// A 3×3 convolution with a padding of one, without bias; `weights` are `[output, input, 3, 3]`,
/// `planes` describes `input`.
pub(crate) fn convolve(
    input: &[f32],
    planes: Planes,
    weights: &[f32],
    output: usize,
    out: &mut [f32],
) {
    assert_eq!(input.len(), planes.len());
    assert_eq!(weights.len(), 9 * planes.channels * output);
    planes
        .with_channels(output)
        .for_each_band(out, |image, band, parts| {
            let input = &input[image * planes.image()..][..planes.image()];
            let weights_of = 9 * planes.channels;
            let mut rest = parts;
            let mut first = 0;
            while !rest.is_empty() {
                let weights = &weights[first * weights_of..];
                let count = match rest.len() {
                    4.. => 4,
                    2.. => 2,
                    _ => 1,
                };
                let (now, later) = rest.split_at_mut(count);
                match count {
                    4 => direct::<4>(input, planes, weights, band, now),
                    2 => direct::<2>(input, planes, weights, band, now),
                    _ => direct::<1>(input, planes, weights, band, now),
                }
                first += count;
                rest = later;
            }
        });
}

fn direct<const OUT: usize>(
    input: &[f32],
    planes: Planes,
    weights: &[f32],
    band: usize,
    out: &mut [&mut [f32]],
) {
    pulp::Arch::new().dispatch(Direct::<OUT> {
        input,
        planes,
        weights,
        band,
        out,
    });
}

/// `OUT` output channels of a band of an image.
struct Direct<'a, 'b, const OUT: usize> {
    input: &'a [f32],
    planes: Planes,
    weights: &'a [f32],
    band: usize,
    out: &'a mut [&'b mut [f32]],
}

impl<const OUT: usize> WithSimd for Direct<'_, '_, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Planes {
            channels, width, ..
        } = self.planes;
        let (stride, plane, lanes) = (self.planes.stride(), self.planes.plane(), S::F32_LANES);
        let weights: [&[f32]; OUT] =
            std::array::from_fn(|o| &self.weights[o * channels * 9..][..channels * 9]);
        for row in self.planes.rows(self.band) {
            let to = self.planes.inside(self.band, row);
            for left in (0..width).step_by(2 * lanes) {
                let mut sums = [[simd.splat_f32s(0.0); 2]; OUT];
                for channel in 0..channels {
                    for y in 0..3 {
                        let from = channel * plane + (row + y) * stride + left;
                        let from = &self.input[from..][..2 * lanes + 2];
                        let weights: [&[f32]; OUT] =
                            std::array::from_fn(|o| &weights[o][channel * 9 + y * 3..][..3]);
                        for x in 0..3 {
                            let a = vector(simd, &from[x..][..lanes]);
                            let b = vector(simd, &from[x + lanes..][..lanes]);
                            for o in 0..OUT {
                                let weight = simd.splat_f32s(weights[o][x]);
                                sums[o][0] = simd.mul_add_e_f32s(weight, a, sums[o][0]);
                                sums[o][1] = simd.mul_add_e_f32s(weight, b, sums[o][1]);
                            }
                        }
                    }
                }
                for o in 0..OUT {
                    for (half, sums) in sums[o].iter().enumerate() {
                        let place = left + half * lanes;
                        let count = lanes.min(width.saturating_sub(place));
                        let out = &mut self.out[o][to + place..][..count];
                        if count == lanes {
                            S::as_mut_simd_f32s(out).0[0] = *sums;
                        } else if count > 0 {
                            simd.partial_store_f32s(out, *sums);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn vector<S: Simd>(simd: S, from: &[f32]) -> S::f32s {
    match S::as_simd_f32s(from).0 {
        [vector] => *vector,
        _ => simd.splat_f32s(0.0),
    }
}

/// The gradient `[output, input, 3, 3]` of the weights of [`convolve`].
pub(crate) fn weight_gradient(
    input: &[f32],
    planes: Planes,
    gradient: &[f32],
    output: usize,
    out: &mut [f32],
) {
    let parts = planes.map_bands(|image, band| {
        let mut sums = vec![0.0f32; 9 * planes.channels * output];
        let input = &input[image * planes.image()..][..planes.image()];
        let image_of = planes.plane() * output;
        let gradient = &gradient[image * image_of..][..image_of];
        let mut first = 0;
        while first < output {
            let count = match output - first {
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            let gradient = &gradient[first * planes.plane()..];
            let sums = &mut sums[first * 9 * planes.channels..];
            match count {
                4 => correlate::<4>(input, planes, gradient, band, sums),
                2 => correlate::<2>(input, planes, gradient, band, sums),
                _ => correlate::<1>(input, planes, gradient, band, sums),
            }
            first += count;
        }
        sums
    });
    for (index, out) in out.iter_mut().enumerate() {
        *out = parts.iter().map(|part| f64::from(part[index])).sum::<f64>() as f32;
    }
}

fn correlate<const OUT: usize>(
    input: &[f32],
    planes: Planes,
    gradient: &[f32],
    band: usize,
    sums: &mut [f32],
) {
    pulp::Arch::new().dispatch(Correlate::<OUT> {
        input,
        planes,
        gradient,
        band,
        sums,
    });
}

/// What a band adds to the gradient of the weights of `OUT` output channels.
struct Correlate<'a, const OUT: usize> {
    input: &'a [f32],
    planes: Planes,
    gradient: &'a [f32],
    band: usize,
    sums: &'a mut [f32],
}

impl<const OUT: usize> WithSimd for Correlate<'_, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Planes {
            channels, width, ..
        } = self.planes;
        let (stride, plane, lanes) = (self.planes.stride(), self.planes.plane(), S::F32_LANES);
        for channel in 0..channels {
            for y in 0..3 {
                let mut sums = [[simd.splat_f32s(0.0); 3]; OUT];
                for row in self.planes.rows(self.band) {
                    let from = &self.input[channel * plane + (row + y) * stride..][..stride];
                    let gradients: [&[f32]; OUT] = std::array::from_fn(|o| {
                        &self.gradient[o * plane + (row + 1) * stride + 1..][..stride - 1]
                    });
                    // Past the width the gradient is zero.
                    for left in (0..width).step_by(lanes) {
                        let from = &from[left..][..lanes + 2];
                        let from = [
                            vector(simd, &from[..lanes]),
                            vector(simd, &from[1..][..lanes]),
                            vector(simd, &from[2..][..lanes]),
                        ];
                        for o in 0..OUT {
                            let g = vector(simd, &gradients[o][left..][..lanes]);
                            for x in 0..3 {
                                sums[o][x] = simd.mul_add_e_f32s(g, from[x], sums[o][x]);
                            }
                        }
                    }
                }
                for (o, sums) in sums.into_iter().enumerate() {
                    for (x, sum) in sums.into_iter().enumerate() {
                        self.sums[(o * channels + channel) * 9 + y * 3 + x] =
                            simd.reduce_sum_f32s(sum);
                    }
                }
            }
        }
    }
}
