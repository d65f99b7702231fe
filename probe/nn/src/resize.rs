//! Resizing of maps along both axes, and its adjoint (which carries a gradient back).

use crate::extent::Extent;
use crate::matrix::{Pool, vectorised};
use rayon::prelude::*;

/// For every place of an axis of the output: the places of the input that it is a weighted sum of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Taps {
    /// Of output `i`: the entries `starts[i]..starts[i + 1]`.
    starts: Vec<usize>,
    entries: Vec<(usize, f32)>,
    inputs: usize,
}

impl Taps {
    /// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
    pub(crate) fn bilinear(input: usize, output: usize) -> Self {
        Self::new(input, output, |place| {
            let centre = (place as f64 + 0.5) * input as f64 / output as f64 - 0.5;
            linear(centre.max(0.0))
        })
    }

    /// The same with `align_corners=True`.
    pub(crate) fn aligned(input: usize, output: usize) -> Self {
        Self::new(input, output, |place| {
            let last = output.saturating_sub(1).max(1);
            linear(place as f64 * (input - 1) as f64 / last as f64)
        })
    }

    /// `interpolate(mode="bicubic", align_corners=False)`: cubic convolution (Keys 1981) with
    /// a = −0.75.
    pub(crate) fn bicubic(input: usize, output: usize) -> Self {
        const A: f64 = -0.75;
        let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
        let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
        Self::new(input, output, |place| {
            let centre = (place as f64 + 0.5) * input as f64 / output as f64 - 0.5;
            let (first, t) = (centre.floor() as isize, centre - centre.floor());
            vec![
                (first - 1, far(t + 1.0)),
                (first, near(t)),
                (first + 1, near(1.0 - t)),
                (first + 2, far(2.0 - t)),
            ]
        })
    }

    /// Places beyond an end count as the end.
    fn new(inputs: usize, outputs: usize, taps: impl Fn(usize) -> Vec<(isize, f64)>) -> Self {
        assert!(inputs > 0 && outputs > 0);
        let rows = (0..outputs).map(|place| {
            let mut row: Vec<(usize, f64)> = Vec::new();
            for (from, weight) in taps(place) {
                let from = from.clamp(0, inputs as isize - 1) as usize;
                match row.iter_mut().find(|(other, _)| *other == from) {
                    Some((_, sum)) => *sum += weight,
                    None => row.push((from, weight)),
                }
            }
            row.retain(|(_, weight)| *weight != 0.0);
            row.into_iter().map(|(from, weight)| (from, weight as f32))
        });
        let mut result = Self {
            starts: vec![0],
            entries: Vec::new(),
            inputs,
        };
        for row in rows {
            result.entries.extend(row);
            result.starts.push(result.entries.len());
        }
        result
    }

    /// The taps that carry a gradient of the output back to the input.
    pub(crate) fn adjoint(&self) -> Self {
        let mut rows = vec![Vec::new(); self.inputs];
        for place in 0..self.outputs() {
            for &(from, weight) in self.of(place) {
                rows[from].push((place, weight));
            }
        }
        let mut result = Self {
            starts: vec![0],
            entries: Vec::new(),
            inputs: self.outputs(),
        };
        for row in rows {
            result.entries.extend(row);
            result.starts.push(result.entries.len());
        }
        result
    }

    pub(crate) fn outputs(&self) -> usize {
        self.starts.len() - 1
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    #[inline(always)]
    fn of(&self, place: usize) -> &[(usize, f32)] {
        &self.entries[self.starts[place]..self.starts[place + 1]]
    }

    /// Every pixel of a row of pixels of `channels` numbers. Pixels of `out` are `stride` numbers
    /// apart.
    #[inline(always)]
    fn along(&self, row: &[f32], channels: usize, out: &mut [f32], stride: usize) {
        if channels == 1 && stride == 1 {
            for (place, out) in out[..self.outputs()].iter_mut().enumerate() {
                *out = self.of(place).iter().map(|&(from, w)| row[from] * w).sum();
            }
            return;
        }
        for place in 0..self.outputs() {
            let out = &mut out[place * stride..][..channels];
            weighted_sum(
                self.of(place),
                #[inline(always)]
                |from| &row[from * channels..][..channels],
                out,
            );
        }
    }
}

fn linear(centre: f64) -> Vec<(isize, f64)> {
    let (first, t) = (centre.floor() as isize, centre - centre.floor());
    vec![(first, 1.0 - t), (first + 1, t)]
}

/// `out = Σ weight · row(from)`
#[inline(always)]
fn weighted_sum<'a>(taps: &[(usize, f32)], row: impl Fn(usize) -> &'a [f32], out: &mut [f32]) {
    let mut rest = taps;
    let mut fresh = true;
    while !rest.is_empty() || fresh {
        match *rest {
            [(a, s), (b, t), ..] => {
                let (a, b) = (row(a), row(b));
                if fresh {
                    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                        *out = a * s + b * t;
                    }
                } else {
                    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
                        *out += a * s + b * t;
                    }
                }
                rest = &rest[2..];
            }
            [(a, s)] => {
                let a = row(a);
                if fresh {
                    for (out, a) in out.iter_mut().zip(a) {
                        *out = a * s;
                    }
                } else {
                    for (out, a) in out.iter_mut().zip(a) {
                        *out += a * s;
                    }
                }
                rest = &[];
            }
            [] => out.fill(0.0),
        }
        fresh = false;
    }
}

/// The taps of both axes, forwards and back.
pub(crate) struct Resize {
    rows: Taps,
    columns: Taps,
    rows_back: Taps,
    columns_back: Taps,
}

/// A plane within a larger slice: its first number, and how far apart its rows are.
#[derive(Clone, Copy)]
pub(crate) struct Plane {
    pub(crate) start: usize,
    pub(crate) stride: usize,
}

impl Resize {
    pub(crate) fn new(rows: Taps, columns: Taps) -> Self {
        Self {
            rows_back: rows.adjoint(),
            columns_back: columns.adjoint(),
            rows,
            columns,
        }
    }

    /// One plane `[h, w]` to `[H, W]`.
    pub(crate) fn plane(&self, from: &[f32], at: Plane, out: &mut [f32], to: Plane, pool: &Pool) {
        let width = self.columns.outputs();
        pool.with(self.rows.inputs() * width, |wide| {
            vectorised(
                #[inline(always)]
                || {
                    for (row, wide) in wide.chunks_exact_mut(width).enumerate() {
                        self.columns
                            .along(&from[at.start + row * at.stride..], 1, wide, 1);
                    }
                    for row in 0..self.rows.outputs() {
                        let out = &mut out[to.start + row * to.stride..][..width];
                        weighted_sum(
                            self.rows.of(row),
                            #[inline(always)]
                            |from| &wide[from * width..][..width],
                            out,
                        );
                    }
                },
            );
        });
    }

    /// The gradient of one plane, from `[H, W]` back to `[h, w]`.
    pub(crate) fn plane_back(
        &self,
        from: &[f32],
        at: Plane,
        out: &mut [f32],
        to: Plane,
        pool: &Pool,
    ) {
        let width = self.columns.outputs();
        pool.with(width, |wide| {
            vectorised(
                #[inline(always)]
                || {
                    for row in 0..self.rows.inputs() {
                        weighted_sum(
                            self.rows_back.of(row),
                            #[inline(always)]
                            |row| &from[at.start + row * at.stride..][..width],
                            wide,
                        );
                        self.columns_back
                            .along(wide, 1, &mut out[to.start + row * to.stride..], 1);
                    }
                },
            );
        });
    }

    /// Maps `[B, h, w, C]` to the upper half of the channels of `[B, H, W, 2 C]`.
    pub(crate) fn upper(&self, from: &[f32], extent: Extent, out: &mut [f32], pool: &Pool) {
        let channels = extent.channels;
        let (height, width) = (self.rows.outputs(), self.columns.outputs());
        let narrow = extent.width * channels;
        out.par_chunks_mut(width * channels * 2)
            .enumerate()
            .for_each(|(row, out)| {
                let image = &from[row / height * extent.height * narrow..];
                pool.with(narrow, |mixed| {
                    vectorised(
                        #[inline(always)]
                        || {
                            weighted_sum(
                                self.rows.of(row % height),
                                #[inline(always)]
                                |from| &image[from * narrow..][..narrow],
                                mixed,
                            );
                            self.columns
                                .along(mixed, channels, &mut out[channels..], channels * 2);
                        },
                    );
                });
            });
    }

    /// The gradient `[B, h, w, C]` of [`Resize::upper`].
    pub(crate) fn upper_back(&self, from: &[f32], out: &mut [f32], extent: Extent, pool: &Pool) {
        let channels = extent.channels;
        let (height, width) = (self.rows.outputs(), self.columns.outputs());
        let narrow = extent.width * channels;
        pool.with(extent.batch * height * narrow, |mixed| {
            mixed
                .par_chunks_mut(narrow)
                .zip(from.par_chunks(width * channels * 2))
                .for_each(|(mixed, from)| {
                    vectorised(
                        #[inline(always)]
                        || {
                            for (place, out) in mixed.chunks_exact_mut(channels).enumerate() {
                                weighted_sum(
                                    self.columns_back.of(place),
                                    #[inline(always)]
                                    |from_pixel| {
                                        &from[(from_pixel * 2 + 1) * channels..][..channels]
                                    },
                                    out,
                                );
                            }
                        },
                    );
                });
            out.par_chunks_mut(narrow)
                .enumerate()
                .for_each(|(row, out)| {
                    let image = &mixed[row / extent.height * height * narrow..];
                    vectorised(
                        #[inline(always)]
                        || {
                            weighted_sum(
                                self.rows_back.of(row % extent.height),
                                #[inline(always)]
                                |from| &image[from * narrow..][..narrow],
                                out,
                            );
                        },
                    );
                });
        });
    }
}
