//! Loss and gradient without the penalty, in one pass over the features.
//!
//! Threads compute pieces of a fixed number of examples. Products within a piece are in f32; the sums of the
//! pieces are added in order in f64, so that the result does not depend on the number of threads.

use half::f16;
use ndarray::linalg::general_mat_mul;
use ndarray::{
    Array1, Array2, ArrayView, ArrayView1, ArrayView2, ArrayViewMut, ArrayViewMut1, ArrayViewMut2,
    Axis, Dimension, Zip, s,
};
use rayon::prelude::*;

use super::super::widen;
use super::task::Labels;

/// Examples per piece.
const PIECE: usize = 1024;
/// Examples whose features are converted to f32 at a time.
const TILE: usize = 64;

/// A type of features.
pub(super) trait Feature: Copy + Send + Sync {
    /// Writes values to `target` in f32.
    fn fill_f32<D: Dimension>(source: ArrayView<'_, Self, D>, target: ArrayViewMut<'_, f32, D>);

    /// The same values in f64.
    fn wide(source: ArrayView2<'_, Self>) -> Array2<f64>;
}

impl Feature for f16 {
    fn fill_f32<D: Dimension>(source: ArrayView<'_, f16, D>, target: ArrayViewMut<'_, f32, D>) {
        widen(source, target);
    }

    fn wide(source: ArrayView2<'_, f16>) -> Array2<f64> {
        // Conversion to f32 is vectorised.
        let mut narrow = Array2::zeros(source.dim());
        widen(source, narrow.view_mut());
        narrow.mapv(f64::from)
    }
}

impl Feature for f64 {
    fn fill_f32<D: Dimension>(source: ArrayView<'_, f64, D>, mut target: ArrayViewMut<'_, f32, D>) {
        target.zip_mut_with(&source, |target, &source| *target = source as f32);
    }

    fn wide(source: ArrayView2<'_, f64>) -> Array2<f64> {
        source.to_owned()
    }
}

/// Objective without the penalty.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objective<'a, T> {
    /// `[N, F]`.
    pub(super) x: ArrayView2<'a, T>,
    pub(super) labels: &'a Labels,
}

/// Weights and biases, or a gradient with respect to them.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// `[F, R]`.
    pub(super) weight: Array2<f64>,
    /// `[R]`.
    pub(super) bias: Array1<f64>,
}

/// Loss of each problem, and the gradient of all.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) losses: Vec<f64>,
    pub(super) gradient: Point,
}

/// Sums of a piece.
struct Piece {
    losses: Vec<f64>,
    weight: Array2<f32>,
    bias: Array1<f64>,
}

/// A [`Point`] in f32.
struct Narrow {
    weight: Array2<f32>,
    bias: Array1<f32>,
}

impl Point {
    pub(super) fn zeros(features: usize, columns: usize) -> Point {
        Point {
            weight: Array2::zeros((features, columns)),
            bias: Array1::zeros(columns),
        }
    }

    fn narrow(&self) -> Narrow {
        Narrow {
            weight: self.weight.mapv(|value| value as f32),
            bias: self.bias.mapv(|value| value as f32),
        }
    }
}

impl Narrow {
    /// Writes `x W + b` to `logits`; `x` is scratch space for the features in f32.
    fn logits<T: Feature>(
        &self,
        x: ArrayView2<'_, T>,
        mut room: ArrayViewMut2<'_, f32>,
        mut logits: ArrayViewMut2<'_, f32>,
    ) {
        T::fill_f32(x, room.view_mut());
        general_mat_mul(1.0, &room, &self.weight, 0.0, &mut logits);
        logits += &self.bias;
    }
}

impl<T: Feature> Objective<'_, T> {
    /// Losses and gradients at `point`, whose columns belong to `problems`, one after another.
    pub(super) fn evaluate(&self, point: &Point, problems: &[usize]) -> Sums {
        let narrow = point.narrow();
        let starts: Vec<usize> = (0..self.x.nrows()).step_by(PIECE).collect();
        let pieces = starts.par_iter().map(|&first| {
            let last = (first + PIECE).min(self.x.nrows());
            self.piece(first, last, &narrow, problems)
        });
        let mut sums = Sums {
            losses: vec![0.0; problems.len()],
            gradient: Point::zeros(self.x.ncols(), narrow.bias.len()),
        };
        for piece in pieces.collect::<Vec<_>>() {
            sums.add(&piece);
        }
        sums
    }

    fn piece(&self, first: usize, last: usize, at: &Narrow, problems: &[usize]) -> Piece {
        let (features, columns) = at.weight.dim();
        let mut piece = Piece {
            losses: vec![0.0; problems.len()],
            weight: Array2::zeros((features, columns)),
            bias: Array1::zeros(columns),
        };
        let mut room = Array2::zeros((TILE, features));
        let mut logits = Array2::zeros((TILE, columns));
        for start in (first..last).step_by(TILE) {
            let end = (start + TILE).min(last);
            let mut x = room.slice_mut(s![..end - start, ..]);
            let mut z = logits.slice_mut(s![..end - start, ..]);
            at.logits(self.x.slice(s![start..end, ..]), x.view_mut(), z.view_mut());
            self.residuals(z.view_mut(), start, problems, &mut piece.losses);
            for row in z.outer_iter() {
                Zip::from(&mut piece.bias)
                    .and(row)
                    .for_each(|sum, &g| *sum += f64::from(g));
            }
            general_mat_mul(1.0, &x.t(), &z, 1.0, &mut piece.weight);
        }
        piece
    }

    /// Replaces the logits `[B, R]` of examples from `first` on by gradients with respect to them.
    fn residuals(
        &self,
        mut logits: ArrayViewMut2<'_, f32>,
        first: usize,
        problems: &[usize],
        losses: &mut [f64],
    ) {
        match self.labels {
            Labels::Softmax(labels, classes) => {
                for (mut row, &label) in logits.outer_iter_mut().zip(&labels[first..]) {
                    let problems = row.exact_chunks_mut(*classes).into_iter().zip(&mut *losses);
                    problems.for_each(|(z, loss)| *loss += softmax_residuals(z, label as usize));
                }
            }
            Labels::Signs(signs) => {
                let signs = signs.slice(s![first.., ..]);
                for (row, signs) in logits.outer_iter_mut().zip(signs.outer_iter()) {
                    sigmoid_residuals(row, signs, problems, losses);
                }
            }
        }
    }

    /// Curvature of the loss along the logits at `point` for each of `rows`: the mean over problems. That of
    /// the softmax assumes classes of similar frequency.
    pub(super) fn curvature(&self, point: &Point, rows: &[usize]) -> Vec<f64> {
        let narrow = point.narrow();
        let curvatures = rows.par_chunks(TILE).flat_map_iter(|rows| {
            let x = self.x.select(Axis(0), rows);
            let mut room = Array2::zeros(x.dim());
            let mut logits = Array2::zeros((rows.len(), narrow.bias.len()));
            narrow.logits(x.view(), room.view_mut(), logits.view_mut());
            let each = logits.outer_iter().zip(rows);
            each.map(|(z, &row)| self.row_curvature(z, row))
                .collect::<Vec<_>>()
        });
        curvatures.collect()
    }

    fn row_curvature(&self, logits: ArrayView1<'_, f32>, row: usize) -> f64 {
        match self.labels {
            Labels::Softmax(_, classes) => {
                let most = logits.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
                let odds = logits.mapv(|z| f64::from(z - most).exp());
                let shares = &odds / odds.sum();
                shares.fold(0.0, |sum, p| sum + p * (1.0 - p)) / (*classes as f64 - 1.0)
            }
            Labels::Signs(signs) => {
                let each = logits.iter().zip(signs.row(row));
                let sum: f64 = each.map(|(&z, &sign)| sigmoid_curvature(z, sign)).sum();
                sum / logits.len() as f64
            }
        }
    }
}

impl Sums {
    fn add(&mut self, piece: &Piece) {
        for (sum, loss) in self.losses.iter_mut().zip(&piece.losses) {
            *sum += loss;
        }
        Zip::from(&mut self.gradient.weight)
            .and(&piece.weight)
            .for_each(|sum, &g| *sum += f64::from(g));
        self.gradient.bias += &piece.bias;
    }
}

/// Replaces the logits `z` of a problem by `softmax(z) - y` and returns the cross entropy. Both are computed
/// from the odds of the other classes: `1 - p` of a nearly certain class would round to 0.
fn softmax_residuals(mut z: ArrayViewMut1<'_, f32>, label: usize) -> f64 {
    let most = z.fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let own = z[label] - most;
    z.mapv_inplace(|z| (z - most).exp());
    z[label] = 0.0;
    let others = z.sum();
    let total = others + own.exp();
    z.mapv_inplace(|odds| odds / total);
    z[label] = -others / total;
    if own == 0.0 {
        f64::from(others).ln_1p()
    } else {
        f64::from(total).ln() - f64::from(own)
    }
}

/// `sigmoid(z) - y` of each problem in a row of logits, and its cross entropy.
fn sigmoid_residuals(
    logits: ArrayViewMut1<'_, f32>,
    signs: ArrayView1<'_, f32>,
    problems: &[usize],
    losses: &mut [f64],
) {
    for ((z, &problem), loss) in logits.into_iter().zip(problems).zip(losses) {
        let sign = signs[problem];
        let wrong = -sign * *z;
        let odds = (-wrong.abs()).exp();
        let share = if wrong > 0.0 { 1.0 } else { odds } / (1.0 + odds);
        *z = -sign * share;
        *loss += f64::from(sign.abs()) * f64::from(wrong.max(0.0) + odds.ln_1p());
    }
}

fn sigmoid_curvature(logit: f32, sign: f32) -> f64 {
    let odds = (-f64::from(logit.abs())).exp();
    f64::from(sign.abs()) * odds / ((1.0 + odds) * (1.0 + odds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features() -> Array2<f16> {
        Array2::from_shape_fn((2100, 5), |(i, j)| {
            f16::from_f32(((i * 7 + j * 13 + i * j) % 19) as f32 / 9.0 - 1.0)
        })
    }

    /// Gradients equal central differences.
    fn assert_gradient(labels: &Labels, problems: &[usize]) {
        let x = features();
        let objective = Objective {
            x: x.view(),
            labels,
        };
        let columns = problems.len() * labels.columns();
        let mut point = Point::zeros(5, columns);
        point.weight = Array2::from_shape_fn((5, columns), |(i, j)| (i as f64 - j as f64) / 8.0);
        point.bias = Array1::from_shape_fn(columns, |j| 0.25 * j as f64 - 0.5);
        let sums = objective.evaluate(&point, problems);
        let total = |point: &Point| {
            objective
                .evaluate(point, problems)
                .losses
                .iter()
                .sum::<f64>()
        };
        let slope = |change: &dyn Fn(&mut Point, f64)| {
            let (mut low, mut high) = (point.clone(), point.clone());
            change(&mut low, -1.0 / 64.0);
            change(&mut high, 1.0 / 64.0);
            (total(&high) - total(&low)) * 32.0
        };
        for column in 0..columns {
            for feature in 0..5 {
                let found = sums.gradient.weight[[feature, column]];
                let expected = slope(&|point, step| point.weight[[feature, column]] += step);
                assert!((found - expected).abs() < 0.05, "{found} {expected}");
            }
            let expected = slope(&|point, step| point.bias[column] += step);
            assert!((sums.gradient.bias[column] - expected).abs() < 0.05);
        }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_losses() {
        let labels = (0..2100).map(|i| (i % 3) as u32).collect();
        assert_gradient(&Labels::Softmax(labels, 3), &[0, 0]);
        let signs = Array2::from_shape_fn((2100, 3), |(i, j)| ((i + j) % 3) as f32 - 1.0);
        assert_gradient(&Labels::Signs(signs), &[2, 0, 1, 1]);
    }

    #[test]
    fn an_example_far_on_the_wrong_side_has_a_finite_loss_and_slope() {
        let x = Array2::from_elem((1, 1), f16::from_f32(60000.0));
        let signs = Labels::Signs(Array2::from_elem((1, 1), -1.0));
        let objective = Objective {
            x: x.view(),
            labels: &signs,
        };
        let mut point = Point::zeros(1, 1);
        point.weight[[0, 0]] = 2.0;
        let sums = objective.evaluate(&point, &[0]);
        let x = f64::from(x[[0, 0]]);
        assert_eq!(sums.losses, [2.0 * x]);
        assert_eq!(sums.gradient.weight[[0, 0]], x);
    }
}
