//! Direct 3×3 convolutions of planes `[B, C, H, W]`.
//!
//! A vector holds neighbouring pixels of a row. The border of zeros makes every input pixel readable,
//! so that a tap is a shifted load and a fused multiply-add; groups of 4, 2 or 1 output channels share
//! the loads, and their sums stay in registers over all input channels and taps.

use crate::conv::Convolve;
use crate::extent::{Extent, Layout};
use crate::planes::Planes;
use crate::scratch::Scratch;
use pulp::{Simd, WithSimd};

impl Convolve for Planes {
    fn convolve(self, map: &[f32], weights: &[f32], out: &mut [f32], _: &mut Scratch) {
        convolve(map, self, weights, out);
    }

    fn weight_gradient(self, map: &[f32], of_out: &[f32], output: usize, scratch: &mut Scratch) {
        let channels = self.extent.channels;
        let (image_of, image_of_out) = (self.image(), output * self.plane());
        let parts = self.map_bands(|image, band| {
            let mut correlation = Correlation {
                input: &map[image * image_of..][..image_of],
                gradient: &of_out[image * image_of_out..][..image_of_out],
                planes: self,
                band,
                sums: vec![0.0; 9 * channels * output],
            };
            in_groups(&mut correlation, output);
            correlation.sums
        });
        let gradient = &mut scratch.gradient[..9 * channels * output];
        for (index, out) in gradient.iter_mut().enumerate() {
            *out = parts.iter().map(|part| f64::from(part[index])).sum::<f64>() as f32;
        }
    }

    fn input_gradient(self, of_out: &[f32], weights: &[f32], of_map: &mut [f32], _: &mut Scratch) {
        let input = self.extent.channels;
        let output = weights.len() / (9 * input);
        let turned = turned(weights, input, output);
        convolve(of_out, self.with_channels(output), &turned, of_map);
    }
}

/// Weights `[output, input, 3, 3]` turned by half a turn, inputs and outputs exchanged:
/// `[input, output, 3, 3]`.
fn turned(weights: &[f32], input: usize, output: usize) -> Vec<f32> {
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

fn convolve(map: &[f32], planes: Planes, weights: &[f32], out: &mut [f32]) {
    let output = weights.len() / (9 * planes.extent.channels);
    assert_eq!(map.len(), planes.len());
    planes
        .with_channels(output)
        .for_each_band(out, |image, band, out| {
            let mut convolution = Convolution {
                input: &map[image * planes.image()..][..planes.image()],
                weights,
                planes,
                band,
                out,
            };
            in_groups(&mut convolution, output);
        });
}

/// A computation on a band of an image, for `OUT` output channels at a time.
trait Grouped {
    fn group<S: Simd, const OUT: usize>(&mut self, simd: S, first: usize);
}

/// Computes `outputs` channels in groups of 4, 2 and 1.
fn in_groups(task: &mut impl Grouped, outputs: usize) {
    let arch = pulp::Arch::new();
    let mut first = 0;
    while first < outputs {
        match outputs - first {
            4.. => {
                arch.dispatch(Group::<_, 4> { task, first });
                first += 4;
            }
            2.. => {
                arch.dispatch(Group::<_, 2> { task, first });
                first += 2;
            }
            _ => {
                arch.dispatch(Group::<_, 1> { task, first });
                first += 1;
            }
        }
    }
}

struct Group<'a, T, const OUT: usize> {
    task: &'a mut T,
    first: usize,
}

impl<T: Grouped, const OUT: usize> WithSimd for Group<'_, T, OUT> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.task.group::<S, OUT>(simd, self.first);
    }
}

/// The convolution of a band of an image.
struct Convolution<'a, 'b> {
    input: &'a [f32],
    weights: &'a [f32],
    planes: Planes,
    band: usize,
    /// The band of each output channel.
    out: &'a mut [&'b mut [f32]],
}

impl Grouped for Convolution<'_, '_> {
    /// Two vectors of pixels of each output channel at a time, so that enough sums are in flight to
    /// hide the latency of the multiply-adds.
    #[inline(always)]
    fn group<S: Simd, const OUT: usize>(&mut self, simd: S, first: usize) {
        let (input, planes, band) = (self.input, self.planes, self.band);
        let Extent {
            channels, width, ..
        } = planes.extent;
        let (stride, plane, lanes) = (planes.stride(), planes.plane(), S::F32_LANES);
        let weights: [&[f32]; OUT] =
            std::array::from_fn(|o| &self.weights[(first + o) * channels * 9..][..channels * 9]);
        let outs = &mut self.out[first..][..OUT];
        for row in planes.rows(band) {
            let to = planes.inside(band, row);
            for left in (0..width).step_by(2 * lanes) {
                let mut sums = [[simd.splat_f32s(0.0); 2]; OUT];
                for channel in 0..channels {
                    for y in 0..3 {
                        let from = channel * plane + (row + y) * stride + left;
                        let from = &input[from..][..2 * lanes + 2];
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
                        let out = &mut outs[o][to + place..][..count];
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

/// The share of a band of an image in the gradient of the weights.
struct Correlation<'a> {
    input: &'a [f32],
    /// The gradient of the output.
    gradient: &'a [f32],
    planes: Planes,
    band: usize,
    /// `[output, input, 3, 3]`
    sums: Vec<f32>,
}

impl Grouped for Correlation<'_> {
    /// Sums of three neighbouring taps of each output channel at a time, over all pixels of the band.
    #[inline(always)]
    fn group<S: Simd, const OUT: usize>(&mut self, simd: S, first: usize) {
        let (input, planes, band) = (self.input, self.planes, self.band);
        let Extent {
            channels, width, ..
        } = planes.extent;
        let (stride, plane, lanes) = (planes.stride(), planes.plane(), S::F32_LANES);
        let gradient = &self.gradient[first * plane..];
        let out = &mut self.sums[first * channels * 9..];
        for channel in 0..channels {
            for y in 0..3 {
                let mut sums = [[simd.splat_f32s(0.0); 3]; OUT];
                for row in planes.rows(band) {
                    let from = &input[channel * plane + (row + y) * stride..][..stride];
                    let gradients: [&[f32]; OUT] = std::array::from_fn(|o| {
                        &gradient[o * plane + (row + 1) * stride + 1..][..stride - 1]
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
                        out[(o * channels + channel) * 9 + y * 3 + x] = simd.reduce_sum_f32s(sum);
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
