//! 3×3 convolutions with a padding of one over maps `[B, H, W, C]`, by F(4×4, 3×3) of Lavin and
//! Gray 2016 ("Fast algorithms for convolutional neural networks", equation 12 and section 4.3):
//! each output tile of 4×4 takes 36 products per pair of channels instead of 144.

use crate::extent::Extent;
use crate::matrix::{Matrix, Pool, across, multiply, vectorised};
use crate::tiles::{POINTS, Points, Tiles};
use rayon::prelude::*;

/// Tiles that one task transforms before it multiplies, at most.
const TILES: usize = 128;
/// Numbers that transformed tiles may take at once, so that they stay in a cache.
const NUMBERS: usize = 4 << 20;
/// Rows of a weight gradient's product that one task makes.
const GRADIENT_ROWS: usize = 128;

/// Numbers of the transformed weights of a convolution.
pub(crate) fn transformed_len(input: usize, output: usize) -> usize {
    POINTS * input * output
}

/// Transforms weights `[output, input, 3, 3]` into `[36, input, output]` (`G g Gᵀ`).
pub(crate) fn transform_weights(weights: &[f32], input: usize, output: usize, to: &mut [f32]) {
    transform(to, input, output, |i, o, tap| {
        weights[(o * input + i) * 9 + tap]
    });
}

/// Transforms weights `[output, input, 3, 3]` into those of the gradient of the input,
/// `[36, output, input]`: turned by half a turn, input and output exchanged.
pub(crate) fn transform_weights_back(weights: &[f32], input: usize, output: usize, to: &mut [f32]) {
    transform(to, output, input, |o, i, tap| {
        weights[(o * input + i) * 9 + 8 - tap]
    });
}

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

/// Numbers that weights are transformed in at once.
const LANES: usize = 8;

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

/// The convolution of `input` (`[B, H, W, C]`) without bias into `out` (`[B, H, W, output]`);
/// `weights` are those of [`transform_weights`].
pub(crate) fn convolve(
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
    assert_eq!(weights.len(), transformed_len(depth, output));
    let columns = extent.tile_columns();
    let tiles = TILES.min(NUMBERS / (POINTS * (depth + output)));
    let rows = (tiles / columns).max(1);
    let mut rest = out;
    let mut tasks = Vec::new();
    for first in (0..extent.tile_rows()).step_by(rows) {
        let range = first..(first + rows).min(extent.tile_rows());
        let outs: Vec<&mut [f32]> = range
            .clone()
            .map(|row| {
                let length = extent.tile_row(row).2 * extent.width * output;
                rest.split_off_mut(..length).unwrap_or_default()
            })
            .collect();
        tasks.push((range, outs));
    }
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

/// The gradient `[output, input, 3, 3]` of the weights of a convolution of `input` whose output
/// has the gradient `gradient` (`[B, H, W, output]`). `products` is scratch of
/// [`transformed_len`].
pub(crate) fn weight_gradient(
    input: &[f32],
    extent: Extent,
    gradient: &[f32],
    output: usize,
    products: &mut [f32],
    out: &mut [f32],
    pool: &Pool,
) {
    let depth = extent.channels;
    assert_eq!(input.len(), extent.len());
    assert_eq!(gradient.len(), extent.with_channels(output).len());
    assert_eq!(products.len(), transformed_len(depth, output));
    assert_eq!(out.len(), 9 * depth * output);
    let columns = extent.tile_columns();
    let rows = (NUMBERS / (POINTS * (depth + output) * columns)).max(1);
    let rows = rows.min(extent.tile_rows());
    for first in (0..extent.tile_rows()).step_by(rows) {
        let count = rows.min(extent.tile_rows() - first);
        let tiles = count * columns;
        pool.with(POINTS * tiles * (depth + output), |scratch| {
            let (of_input, of_gradient) = scratch.split_at_mut(POINTS * tiles * depth);
            let range = first..first + count;
            fill::<true>(of_input, input, extent, range.clone());
            fill::<false>(of_gradient, gradient, extent.with_channels(output), range);
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
                                first > 0,
                                Matrix::new(left, tiles, rows, depth).transposed(),
                                Matrix::new(right, tiles, output, output),
                            );
                        });
                });
        });
    }
    let products = &*products;
    out.par_chunks_mut(LANES * depth * 9)
        .enumerate()
        .for_each(|(block, part)| {
            let lanes = part.len() / (depth * 9);
            for i in 0..depth {
                let mut points = [[0.0; LANES]; POINTS];
                for (point, points) in points.iter_mut().enumerate() {
                    let at = (point * depth + i) * output + block * LANES;
                    points[..lanes].copy_from_slice(&products[at..at + lanes]);
                }
                let taps = vectorised(
                    #[inline(always)]
                    || both(&points, weight_taps),
                );
                for (tap, taps) in taps.as_flattened().iter().enumerate() {
                    for lane in 0..lanes {
                        part[(lane * depth + i) * 9 + tap] = taps[lane];
                    }
                }
            }
        });
}

/// Transforms rows of tiles to 36 planes.
fn fill<const WINDOWS: bool>(
    planes: &mut [f32],
    input: &[f32],
    extent: Extent,
    rows: std::ops::Range<usize>,
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
