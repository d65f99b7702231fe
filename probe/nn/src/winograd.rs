//! Winograd 3×3 convolutions of maps `[B, H, W, C]`, by F(4×4, 3×3) of Lavin and Gray 2016 ("Fast
//! algorithms for convolutional neural networks", equation 12 and section 4.3): each output tile of 4×4
//! takes 36 products per pair of channels instead of 144.
//!
//! ```text
//!  Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A           d: windows of 6×6 of the input, g: weights
//!  ∂g = Gᵀ [ (Bᵀ d B) ⊙ (A ∂Y Aᵀ) ] G         summed over tiles
//! ```
//!
//! The sums over channels (and for `∂g` over tiles) make the products ⊙ 36 matrix products, one for
//! each point. Tiles are transformed in groups that stay in a cache.

use crate::conv::Convolve;
use crate::extent::{Extent, Layout};
use crate::matrix::{Matrix, across, multiply, vectorised};
use crate::scratch::{Pool, Scratch};
use crate::tiles::{POINTS, Points, Tiles};
use rayon::prelude::*;
use std::ops::Range;

/// Most tiles that one task transforms before it multiplies.
const TILES: usize = 128;
/// Most numbers of transformed tiles at a time, so that they stay in a cache.
const NUMBERS: usize = 4 << 20;
/// Rows of a weight gradient's product that one task makes.
const GRADIENT_ROWS: usize = 128;
/// Weights that are transformed at once.
const LANES: usize = 8;

/// Numbers of the transformed weights of a convolution.
pub(crate) fn transformed_len(input: usize, output: usize) -> usize {
    POINTS * input * output
}

impl Convolve for Extent {
    fn convolve(self, map: &[f32], weights: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let input = self.channels;
        let output = weights.len() / (9 * input);
        let points = &mut scratch.transformed[..transformed_len(input, output)];
        transform(points, input, output, |i, o, tap| {
            weights[(o * input + i) * 9 + tap]
        });
        convolve(map, self, points, output, out, &scratch.pool);
    }

    fn weight_gradient(self, map: &[f32], of_out: &[f32], output: usize, scratch: &mut Scratch) {
        let input = self.channels;
        assert_eq!(map.len(), self.len());
        assert_eq!(of_out.len(), self.with_channels(output).len());
        let products = &mut scratch.transformed[..transformed_len(input, output)];
        let gradient = &mut scratch.gradient[..9 * input * output];
        let rows = NUMBERS / (POINTS * (input + output) * self.tile_columns());
        for rows in groups(self.tile_rows(), rows.max(1)) {
            add_products(products, self, map, of_out, output, rows, &scratch.pool);
        }
        gradient
            .par_chunks_mut(LANES * input * 9)
            .enumerate()
            .for_each(|(block, part)| taps(products, input, output, block * LANES, part));
    }

    fn input_gradient(
        self,
        of_out: &[f32],
        weights: &[f32],
        of_map: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let input = self.channels;
        let output = weights.len() / (9 * input);
        let points = &mut scratch.transformed[..transformed_len(output, input)];
        transform(points, output, input, |o, i, tap| {
            weights[(o * input + i) * 9 + 8 - tap]
        });
        let of = self.with_channels(output);
        convolve(of_out, of, points, input, of_map, &scratch.pool);
    }
}

/// Transforms weights (`G g Gᵀ`) to 36 matrices of `rows` × `columns`; `weight` gives them by row,
/// column and tap.
fn transform(
    to: &mut [f32],
    rows: usize,
    columns: usize,
    weight: impl Fn(usize, usize, usize) -> f32 + Sync,
) {
    across(to, rows * columns, columns)
        .into_par_iter()
        .enumerate()
        .for_each(|(row, mut planes)| {
            for first in (0..columns).step_by(LANES) {
                let lanes = LANES.min(columns - first);
                let mut taps = [[0.0; LANES]; 9];
                for lane in 0..lanes {
                    for (tap, lane_of) in taps.iter_mut().enumerate() {
                        lane_of[lane] = weight(row, first + lane, tap);
                    }
                }
                let made = vectorised(
                    #[inline(always)]
                    || both(&taps, weight_points),
                );
                for (plane, made) in planes.iter_mut().zip(made.as_flattened()) {
                    plane[first..first + lanes].copy_from_slice(&made[..lanes]);
                }
            }
        });
}

/// Transforms products `[36, input, output]` back (`Gᵀ m G`) to weights `[lanes, input, 3, 3]` of some
/// outputs from `first` on.
fn taps(products: &[f32], input: usize, output: usize, first: usize, to: &mut [f32]) {
    let lanes = to.len() / (input * 9);
    for i in 0..input {
        let mut points = [[0.0; LANES]; POINTS];
        for (point, points) in points.iter_mut().enumerate() {
            let at = (point * input + i) * output + first;
            points[..lanes].copy_from_slice(&products[at..at + lanes]);
        }
        let taps = vectorised(
            #[inline(always)]
            || both(&points, weight_taps),
        );
        for (tap, taps) in taps.as_flattened().iter().enumerate() {
            for lane in 0..lanes {
                to[(lane * input + i) * 9 + tap] = taps[lane];
            }
        }
    }
}

/// `M x Mᵀ` for `x` of `N` × `N`, where `one` multiplies a column by `M`.
#[inline(always)]
fn both<const N: usize, const M: usize>(
    x: &[[f32; LANES]],
    one: impl Fn([f32; N]) -> [f32; M],
) -> [[[f32; LANES]; M]; M] {
    let mut half = [[[0.0; LANES]; N]; M];
    for column in 0..N {
        for lane in 0..LANES {
            let mut values = [0.0; N];
            for row in 0..N {
                values[row] = x[row * N + column][lane];
            }
            let made = one(values);
            for row in 0..M {
                half[row][column][lane] = made[row];
            }
        }
    }
    let mut result = [[[0.0; LANES]; M]; M];
    for row in 0..M {
        for lane in 0..LANES {
            let mut values = [0.0; N];
            for column in 0..N {
                values[column] = half[row][column][lane];
            }
            let made = one(values);
            for column in 0..M {
                result[row][column][lane] = made[column];
            }
        }
    }
    result
}

/// `G g`
#[inline(always)]
fn weight_points(g: [f32; 3]) -> [f32; 6] {
    let even = (g[0] + g[2]) / -6.0;
    let odd = g[1] / -6.0;
    let far_even = g[0] / 24.0 + g[2] / 6.0;
    let far_odd = g[1] / 12.0;
    [
        g[0] / 4.0,
        even + odd,
        even - odd,
        far_even + far_odd,
        far_even - far_odd,
        g[2],
    ]
}

/// `Gᵀ m`
#[inline(always)]
fn weight_taps(m: [f32; 6]) -> [f32; 3] {
    [
        m[0] / 4.0 - (m[1] + m[2]) / 6.0 + (m[3] + m[4]) / 24.0,
        (m[2] - m[1]) / 6.0 + (m[3] - m[4]) / 12.0,
        (m[3] + m[4] - m[1] - m[2]) / 6.0 + m[5],
    ]
}

/// The convolution of `input` without bias into `out` (`[B, H, W, output]`); `weights` are transformed,
/// `[36, input, output]`.
fn convolve(
    input: &[f32],
    extent: Extent,
    weights: &[f32],
    output: usize,
    out: &mut [f32],
    pool: &Pool,
) {
    let depth = extent.channels;
    assert_eq!(input.len(), extent.len());
    assert_eq!(out.len(), extent.with_channels(output).len());
    let columns = extent.tile_columns();
    let tiles = TILES.min(NUMBERS / (POINTS * (depth + output)));
    let tasks = tasks(extent, (tiles / columns).max(1), output, out);
    tasks.into_par_iter().for_each(|(range, outs)| {
        let tiles = range.len() * columns;
        pool.with(POINTS * tiles * (depth + output), |scratch| {
            let (points, products) = scratch.split_at_mut(POINTS * tiles * depth);
            fill::<true>(points, input, extent, range);
            let points = &*points;
            products
                .par_chunks_mut(tiles * output)
                .enumerate()
                .for_each(|(point, products)| {
                    multiply(
                        products,
                        output,
                        false,
                        Matrix::new(&points[point * tiles * depth..], tiles, depth, depth),
                        Matrix::new(&weights[point * depth * output..], depth, output, output),
                    );
                });
            let products = &*products;
            outs.into_par_iter().enumerate().for_each(|(index, out)| {
                pulp::Arch::new().dispatch(Tiles {
                    products,
                    plane: tiles * output,
                    at: index * columns * output,
                    channels: output,
                    rows: out.len() / (extent.width * output),
                    out,
                    width: extent.width,
                });
            });
        });
    });
}

/// Groups of `rows` rows of tiles, each with its part of `out` by row of tiles.
fn tasks(
    extent: Extent,
    rows: usize,
    output: usize,
    mut out: &mut [f32],
) -> Vec<(Range<usize>, Vec<&mut [f32]>)> {
    groups(extent.tile_rows(), rows)
        .map(|range| {
            let outs = range.clone().map(|row| {
                let length = extent.tile_row(row).2 * extent.width * output;
                out.split_off_mut(..length).unwrap_or_default()
            });
            let outs = outs.collect();
            (range, outs)
        })
        .collect()
}

/// `0..count` in ranges of `length`.
fn groups(count: usize, length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count)
        .step_by(length)
        .map(move |first| first..(first + length).min(count))
}

/// Adds the products of the tiles in `rows` of the input and of the gradient of the output to
/// `products` `[36, input, output]`; the first rows replace what is there.
fn add_products(
    products: &mut [f32],
    extent: Extent,
    input: &[f32],
    gradient: &[f32],
    output: usize,
    rows: Range<usize>,
    pool: &Pool,
) {
    let depth = extent.channels;
    let tiles = rows.len() * extent.tile_columns();
    let is_first = rows.start == 0;
    pool.with(POINTS * tiles * (depth + output), |scratch| {
        let (of_input, of_gradient) = scratch.split_at_mut(POINTS * tiles * depth);
        fill::<true>(of_input, input, extent, rows.clone());
        fill::<false>(of_gradient, gradient, extent.with_channels(output), rows);
        let (of_input, of_gradient) = (&*of_input, &*of_gradient);
        products
            .par_chunks_mut(depth * output)
            .enumerate()
            .for_each(|(point, plane)| {
                plane
                    .par_chunks_mut(GRADIENT_ROWS * output)
                    .enumerate()
                    .for_each(|(block, part)| {
                        let (start, rows) = (block * GRADIENT_ROWS, part.len() / output);
                        let left = &of_input[point * tiles * depth + start..];
                        let right = &of_gradient[point * tiles * output..];
                        multiply(
                            part,
                            output,
                            !is_first,
                            Matrix::new(left, tiles, rows, depth).transposed(),
                            Matrix::new(right, tiles, output, output),
                        );
                    });
            });
    });
}

/// Transforms rows of tiles to 36 planes: windows of the input, or tiles of a gradient.
fn fill<const WINDOWS: bool>(
    planes: &mut [f32],
    input: &[f32],
    extent: Extent,
    rows: Range<usize>,
) {
    let row_of = extent.tile_columns() * extent.channels;
    // Small pieces, so that many threads have work.
    let piece = (16 / extent.tile_columns()).max(1);
    across(planes, rows.len() * row_of, piece * row_of)
        .into_par_iter()
        .enumerate()
        .for_each(|(place, mut planes)| {
            let start = rows.start + place * piece;
            for (index, row) in (start..(start + piece).min(rows.end)).enumerate() {
                pulp::Arch::new().dispatch(Points::<WINDOWS> {
                    input,
                    extent,
                    row,
                    planes: &mut planes,
                    at: index * row_of,
                });
            }
        });
}
