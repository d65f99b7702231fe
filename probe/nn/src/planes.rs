//! Planes `[B, C, H, W]` for layers with few channels, and their normalisation: vectors run along
//! the rows, since the channels would not fill one. Every plane has a border of zeros, so that a
//! 3×3 convolution needs no special case at the edges.

use crate::matrix::{across, vectorised};
use crate::norm::{Affine, Backward, Moments, merged, rectified, summed};
use rayon::prelude::*;

/// Rows that one task takes.
const ROWS: usize = 32;
/// Pixels that a convolution makes at once, a multiple of two vectors of any processor.
const STEP: usize = 32;

/// The extent of planes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Planes {
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl Planes {
    pub(crate) fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    /// Numbers from a row to the next: a border of one on the left and more on the right, so that a
    /// vector may run over the end.
    pub(crate) fn stride(self) -> usize {
        self.width.next_multiple_of(STEP) + 16
    }

    pub(crate) fn plane(self) -> usize {
        (self.height + 2) * self.stride()
    }

    pub(crate) fn image(self) -> usize {
        self.channels * self.plane()
    }

    pub(crate) fn len(self) -> usize {
        self.batch * self.image()
    }

    /// The first number of a row.
    pub(crate) fn at(self, image: usize, channel: usize, row: usize) -> usize {
        (image * self.channels + channel) * self.plane() + (row + 1) * self.stride() + 1
    }

    /// Numbers of a band of rows of a plane.
    pub(crate) fn band(self) -> usize {
        ROWS * self.stride()
    }

    fn bands(self) -> usize {
        (self.height + 2).div_ceil(ROWS)
    }

    /// The rows of the image in a band; the border's are not among them.
    pub(crate) fn rows(self, band: usize) -> std::ops::Range<usize> {
        let first = (band * ROWS).max(1) - 1;
        let last = ((band + 1) * ROWS - 1).min(self.height);
        first..last.max(first)
    }

    /// The first number of a row within its band.
    pub(crate) fn inside(self, band: usize, row: usize) -> usize {
        (row + 1 - band * ROWS) * self.stride() + 1
    }

    /// Calls `task` for every band of every image with that band of each channel of `data`.
    pub(crate) fn for_each_band(
        self,
        data: &mut [f32],
        task: impl Fn(usize, usize, &mut [&mut [f32]]) + Sync,
    ) {
        data.par_chunks_mut(self.image())
            .enumerate()
            .for_each(|(image, data)| {
                across(data, self.plane(), self.band())
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(band, mut parts)| task(image, band, &mut parts));
            });
    }

    /// The results of `task` for every band of every image, in their order.
    pub(crate) fn map_bands<R: Send>(self, task: impl Fn(usize, usize) -> R + Sync) -> Vec<R> {
        (0..self.batch * self.bands())
            .into_par_iter()
            .map(|index| task(index / self.bands(), index % self.bands()))
            .collect()
    }
}

/// Lanes of the sums that plain code makes.
const LANES: usize = 8;

/// The moments of every channel.
pub(crate) fn moments(data: &[f32], planes: Planes) -> Vec<Moments> {
    let parts = planes.map_bands(|image, band| {
        let rows = planes.rows(band);
        let count = rows.len() * planes.width;
        (0..planes.channels)
            .map(|channel| {
                let row = |row| &data[planes.at(image, channel, row)..][..planes.width];
                let total = sum_rows(rows.clone(), |at| {
                    sum(
                        row(at),
                        #[inline(always)]
                        |x| x,
                    )
                });
                let mean = total / count.max(1) as f64;
                let centre = mean as f32;
                let squares = sum_rows(rows.clone(), |at| {
                    sum(
                        row(at),
                        #[inline(always)]
                        |x| (x - centre) * (x - centre),
                    )
                });
                let off = mean - f64::from(centre);
                Moments::new(count, mean, squares - off * off * count as f64)
            })
            .collect()
    });
    merged(parts, planes.channels)
}

fn sum_rows(rows: std::ops::Range<usize>, of: impl Fn(usize) -> f64) -> f64 {
    rows.map(of).sum()
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    vectorised(
        #[inline(always)]
        || {
            let mut sums = [0.0f32; LANES];
            let (whole, rest) = row.as_chunks::<LANES>();
            for chunk in whole {
                for lane in 0..LANES {
                    sums[lane] += of(chunk[lane]);
                }
            }
            for (lane, x) in rest.iter().enumerate() {
                sums[lane] += of(*x);
            }
            sums.iter().map(|sum| f64::from(*sum)).sum()
        },
    )
}

/// `out = max(0, scale · data + shift)`
pub(crate) fn normalise(data: &[f32], planes: Planes, affine: &Affine, out: &mut [f32]) {
    planes.for_each_band(out, |image, band, parts| {
        for (channel, part) in parts.iter_mut().enumerate() {
            let (scale, shift) = (affine.scale[channel], affine.shift[channel]);
            for row in planes.rows(band) {
                let from = &data[planes.at(image, channel, row)..][..planes.width];
                let to = &mut part[planes.inside(band, row)..][..planes.width];
                vectorised(
                    #[inline(always)]
                    || {
                        for (to, x) in to.iter_mut().zip(from) {
                            *to = rectified(x * scale + shift);
                        }
                    },
                );
            }
        }
    });
}

/// Turns the gradient of the output of [`normalise`] into that of `data`, in place.
pub(crate) fn backward(
    data: &[f32],
    planes: Planes,
    affine: &Affine,
    gradient: &mut [f32],
) -> Backward {
    let before = &*gradient;
    let parts = planes.map_bands(|image, band| {
        (0..planes.channels)
            .map(|channel| {
                let (scale, shift) = (affine.scale[channel], affine.shift[channel]);
                let mean = affine.mean[channel];
                let mut totals = [0.0f64; 2];
                for row in planes.rows(band) {
                    let at = planes.at(image, channel, row);
                    let x = &data[at..][..planes.width];
                    let g = &before[at..][..planes.width];
                    let mut sums = [[0.0f32; LANES]; 2];
                    vectorised(
                        #[inline(always)]
                        || {
                            let mut add = |lane: usize, x: f32, g: f32| {
                                let g = if x * scale + shift > 0.0 { g } else { 0.0 };
                                sums[0][lane] += g;
                                sums[1][lane] += g * (x - mean);
                            };
                            let ((x, x_rest), (g, g_rest)) =
                                (x.as_chunks::<LANES>(), g.as_chunks::<LANES>());
                            for (x, g) in x.iter().zip(g) {
                                for lane in 0..LANES {
                                    add(lane, x[lane], g[lane]);
                                }
                            }
                            for (lane, (x, g)) in x_rest.iter().zip(g_rest).enumerate() {
                                add(lane, *x, *g);
                            }
                        },
                    );
                    for (total, sums) in totals.iter_mut().zip(sums) {
                        *total += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>();
                    }
                }
                totals
            })
            .collect()
    });
    let sums = summed(parts, planes.channels);
    let count = planes.batch * planes.height * planes.width;
    let backward = Backward::new(&sums, affine, count);
    planes.for_each_band(gradient, |image, band, parts| {
        for (channel, part) in parts.iter_mut().enumerate() {
            let (scale, shift) = (affine.scale[channel], affine.shift[channel]);
            let mean = affine.mean[channel];
            let (of_all, slope) = (backward.mean[channel], backward.slope[channel]);
            for row in planes.rows(band) {
                let x = &data[planes.at(image, channel, row)..][..planes.width];
                let gradient = &mut part[planes.inside(band, row)..][..planes.width];
                vectorised(
                    #[inline(always)]
                    || {
                        for (gradient, x) in gradient.iter_mut().zip(x) {
                            let g = if x * scale + shift > 0.0 {
                                *gradient
                            } else {
                                0.0
                            };
                            *gradient = scale * (g - of_all - (x - mean) * slope);
                        }
                    },
                );
            }
        }
    });
    backward
}
