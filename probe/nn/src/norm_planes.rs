//! Batch normalisation of planes `[B, C, H, W]`: vectors run along the rows, so that coefficients are
//! numbers and sums have eight lanes.

use crate::extent::Extent;
use crate::matrix::vectorised;
use crate::norm::{Affine, Backward, Moments, Normalise, merged, passed, rectified, summed};
use crate::planes::Planes;

/// Lanes of the sums along a row.
const LANES: usize = 8;

impl Normalise for Planes {
    fn moments(self, map: &[f32]) -> Vec<Moments> {
        let channels = self.extent.channels;
        let parts = self.map_bands(|image, band| {
            (0..channels)
                .map(|channel| self.band_moments(map, image, channel, band))
                .collect()
        });
        merged(parts, channels)
    }

    fn normalise(self, map: &[f32], affine: &Affine, out: &mut [f32]) {
        let width = self.extent.width;
        self.for_each_band(out, |image, band, parts| {
            for (channel, part) in parts.iter_mut().enumerate() {
                let (scale, shift) = (affine.scale[channel], affine.shift[channel]);
                for row in self.rows(band) {
                    let from = &map[self.at(image, channel, row)..][..width];
                    let to = &mut part[self.inside(band, row)..][..width];
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

    fn normalise_back(self, map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward {
        let Extent {
            channels, width, ..
        } = self.extent;
        let before = &*gradient;
        let parts = self.map_bands(|image, band| {
            (0..channels)
                .map(|channel| self.band_sums(map, before, affine, image, channel, band))
                .collect()
        });
        let sums = summed(parts, channels);
        let pixels = self.extent.pixels();
        let backward = Backward::new(&sums, affine, pixels);
        self.for_each_band(gradient, |image, band, parts| {
            for (channel, part) in parts.iter_mut().enumerate() {
                let (scale, shift) = (affine.scale[channel], affine.shift[channel]);
                let mean = affine.mean[channel];
                let (of_all, slope) = (backward.mean[channel], backward.slope[channel]);
                for row in self.rows(band) {
                    let x = &map[self.at(image, channel, row)..][..width];
                    let gradient = &mut part[self.inside(band, row)..][..width];
                    vectorised(
                        #[inline(always)]
                        || {
                            for (gradient, x) in gradient.iter_mut().zip(x) {
                                let g = passed(*gradient, *x, scale, shift);
                                *gradient = scale * (g - of_all - (x - mean) * slope);
                            }
                        },
                    );
                }
            }
        });
        backward
    }
}

impl Planes {
    /// The moments of a band of a channel, by two passes. The squares are those of deviations from
    /// the mean in f32, and are corrected by its rounding.
    fn band_moments(self, map: &[f32], image: usize, channel: usize, band: usize) -> Moments {
        let width = self.extent.width;
        let rows = self.rows(band);
        let count = rows.len() * width;
        let row = |row| &map[self.at(image, channel, row)..][..width];
        let total: f64 = rows
            .clone()
            .map(|at| {
                sum(
                    row(at),
                    #[inline(always)]
                    |x| x,
                )
            })
            .sum();
        let mean = total / count.max(1) as f64;
        let centre = mean as f32;
        let squares: f64 = rows
            .map(|at| {
                sum(
                    row(at),
                    #[inline(always)]
                    |x| (x - centre) * (x - centre),
                )
            })
            .sum();
        let off = mean - f64::from(centre);
        Moments::new(count, mean, squares - off * off * count as f64)
    }

    /// The sums of `g` and of `g · (x − μ)` of a band of a channel.
    fn band_sums(
        self,
        map: &[f32],
        gradient: &[f32],
        affine: &Affine,
        image: usize,
        channel: usize,
        band: usize,
    ) -> [f64; 2] {
        let width = self.extent.width;
        let (scale, shift) = (affine.scale[channel], affine.shift[channel]);
        let mean = affine.mean[channel];
        let mut totals = [0.0f64; 2];
        for row in self.rows(band) {
            let at = self.at(image, channel, row);
            let (x, x_rest) = map[at..][..width].as_chunks::<LANES>();
            let (g, g_rest) = gradient[at..][..width].as_chunks::<LANES>();
            let mut sums = [[0.0f32; LANES]; 2];
            vectorised(
                #[inline(always)]
                || {
                    let mut add = |lane: usize, x: f32, g: f32| {
                        let g = passed(g, x, scale, shift);
                        sums[0][lane] += g;
                        sums[1][lane] += g * (x - mean);
                    };
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
                *total += lanes_sum(sums);
            }
        }
        totals
    }
}

/// The sum of `of` over a row.
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
            lanes_sum(sums)
        },
    )
}

#[inline(always)]
fn lanes_sum(sums: [f32; LANES]) -> f64 {
    sums.iter().map(|sum| f64::from(*sum)).sum()
}
