//! Preconditioner: coordinates of the weights in which the loss has nearly equal curvature in all directions.
//!
//! Features of a backbone vary 1000 times as much in some directions as in others, so that gradient methods
//! on the weights themselves converge slowly. Here the curvature at one point,
//! `A = Σ d (x - m) (x - m)' + 1/C`, is factored into `L L'`, and weights are `W = L'⁻¹ V`. `d` are the
//! curvatures of the examples along their logits and `m` is the mean of the examples weighted by `d`. The
//! penalty remains that of `W`.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, Zip, s};
use rayon::prelude::*;

use super::objective::{Feature, Point};
use crate::probes::cholesky;

/// Rows and columns of a tile of `A`.
const TILE: usize = 256;
/// Examples whose products are summed in f32.
const CHUNK: usize = 2048;
/// Relative error of the diagonal of `A` by rounding in f32.
const ROUNDING: f64 = 1e-6;

/// Coordinates `[F + 1, R]`: those of the weights, and in the last row that of the bias.
#[derive(Debug)]
pub(super) struct Basis {
    /// `L⁻¹`, `[F, F]`.
    inverse: Array2<f64>,
    /// `m`, `[F]`.
    mean: Array1<f64>,
    /// Unit of the bias.
    bias: f64,
}

impl Basis {
    /// Computes the basis from the `rows` of `x` and their curvatures, a `share` of all curvature.
    pub(super) fn new<T: Feature>(
        x: ArrayView2<'_, T>,
        rows: &[usize],
        curvature: &[f64],
        share: f64,
        ridge: f64,
    ) -> Basis {
        let total = curvature
            .iter()
            .sum::<f64>()
            .max(f64::from(f32::MIN_POSITIVE));
        let mut rows = gathered(x, rows);
        let mean = mean(&rows, curvature, total);
        centre(&mut rows, curvature, &mean);
        let mut a = squared(&rows) / share;
        a.diag_mut()
            .mapv_inplace(|value| value * (1.0 + ROUNDING) + ridge);
        Basis {
            inverse: cholesky::inverse_factor(a),
            mean,
            bias: (share / total).sqrt(),
        }
    }

    /// Weights for coordinates.
    pub(super) fn point(&self, coordinates: ArrayView2<'_, f64>) -> Point {
        let features = self.mean.len();
        let weight = self.inverse.t().dot(&coordinates.slice(s![..features, ..]));
        let bias = &coordinates.row(features) * self.bias - self.mean.dot(&weight);
        Point { weight, bias }
    }

    /// Gradient with respect to coordinates, from that with respect to weights.
    pub(super) fn gradient(&self, by: &Point) -> Array2<f64> {
        let (features, columns) = by.weight.dim();
        let mut centred = by.weight.clone();
        for (mut row, &mean) in centred.outer_iter_mut().zip(&self.mean) {
            row.scaled_add(-mean, &by.bias);
        }
        let mut gradient = Array2::zeros((features + 1, columns));
        let mut weights = gradient.slice_mut(s![..features, ..]);
        general_mat_mul(1.0, &self.inverse, &centred, 0.0, &mut weights);
        gradient.row_mut(features).assign(&(&by.bias * self.bias));
        gradient
    }
}

fn gathered<T: Feature>(x: ArrayView2<'_, T>, rows: &[usize]) -> Array2<f32> {
    let mut gathered = Array2::zeros((rows.len(), x.ncols()));
    let targets = gathered.outer_iter_mut().into_par_iter();
    targets
        .zip(rows)
        .for_each(|(target, &row)| T::fill_f32(x.row(row), target));
    gathered
}

fn mean(rows: &Array2<f32>, weights: &[f64], total: f64) -> Array1<f64> {
    let mut mean = Array1::<f64>::zeros(rows.ncols());
    for (row, weight) in rows.outer_iter().zip(weights) {
        Zip::from(&mut mean)
            .and(row)
            .for_each(|sum, &value| *sum += weight / total * f64::from(value));
    }
    mean
}

/// `√d (x - m)`.
fn centre(rows: &mut Array2<f32>, weights: &[f64], mean: &Array1<f64>) {
    let mean = mean.mapv(|value| value as f32);
    let rows = rows.outer_iter_mut().into_par_iter();
    rows.zip(weights).for_each(|(mut row, weight)| {
        row -= &mean;
        row *= weight.sqrt() as f32;
    });
}

/// `Y' Y`, the lower triangle of tiles.
fn squared(y: &Array2<f32>) -> Array2<f64> {
    let width = y.ncols();
    let range = |tile: usize| tile * TILE..((tile + 1) * TILE).min(width);
    let tiles = (0..width.div_ceil(TILE))
        .flat_map(|row| (0..=row).map(move |column| (range(row), range(column))));
    let tiles: Vec<_> = tiles.collect();
    let found: Vec<_> = tiles
        .par_iter()
        .map(|(rows, columns)| tile(y, rows, columns))
        .collect();
    let mut squared = Array2::zeros((width, width));
    for ((rows, columns), tile) in tiles.into_iter().zip(found) {
        squared.slice_mut(s![rows, columns]).assign(&tile);
    }
    squared
}

fn tile(y: &Array2<f32>, rows: &Range<usize>, columns: &Range<usize>) -> Array2<f64> {
    let mut sum = Array2::zeros((rows.len(), columns.len()));
    let mut part = Array2::zeros(sum.dim());
    for y in y.axis_chunks_iter(Axis(0), CHUNK) {
        let (left, right) = (
            y.slice(s![.., rows.clone()]),
            y.slice(s![.., columns.clone()]),
        );
        general_mat_mul(1.0, &left.t(), &right, 0.0_f32, &mut part);
        Zip::from(&mut sum)
            .and(&part)
            .for_each(|sum: &mut f64, &part| *sum += f64::from(part));
    }
    sum
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn curvature_is_one_in_all_coordinates() {
        let x = Array2::from_shape_fn((3000, 300), |(i, j)| {
            let noise = ((i * 7919 + j * 104_729 + i * j * 31) % 997) as f32 / 997.0;
            f16::from_f32(noise * (1 + j % 7) as f32 + 2.0)
        });
        let rows: Vec<usize> = (0..3000).collect();
        let curvature: Vec<f64> = rows.iter().map(|row| 0.05 * (1 + row % 5) as f64).collect();
        let basis = Basis::new(x.view(), &rows, &curvature, 1.0, 0.5);
        let unit = Array2::<f64>::eye(301);
        let point = basis.point(unit.view());
        let logits = x.mapv(f64::from).dot(&point.weight) + &point.bias;
        let weighted = &logits * &Array1::from(curvature).insert_axis(Axis(1));
        let found = logits.t().dot(&weighted) + point.weight.t().dot(&point.weight) * 0.5;
        let most = (found - unit).fold(0.0, |a: f64, b| a.max(b.abs()));
        assert!(most < 1e-3, "{most}");
    }

    #[test]
    fn gradients_by_coordinates_follow_the_chain_rule() {
        let x = Array2::from_shape_fn((50, 4), |(i, j)| {
            f16::from_f32(((i * 3 + j * 5) % 11) as f32)
        });
        let rows: Vec<usize> = (0..50).collect();
        let basis = Basis::new(x.view(), &rows, &[0.25; 50], 1.0, 1.0);
        let by = Point {
            weight: Array2::from_shape_fn((4, 2), |(i, j)| i as f64 - 2.0 * j as f64),
            bias: Array1::from(vec![3.0, -1.0]),
        };
        let gradient = basis.gradient(&by);
        for row in 0..5 {
            for column in 0..2 {
                let mut unit = Array2::zeros((5, 2));
                unit[[row, column]] = 1.0;
                let point = basis.point(unit.view());
                let expected = (&point.weight * &by.weight).sum() + point.bias.dot(&by.bias);
                assert!((gradient[[row, column]] - expected).abs() < 1e-12);
            }
        }
    }
}
