//! Newton's method for a problem at one `C`, in f64. It reaches the minimum also if examples are separable and
//! the loss falls to nearly 0.
//!
//! A step `p` solves `H p = -g` by conjugate gradients in the coordinates of a [`Basis`] at the current point,
//! in which `H` is nearly the identity. Logits are linear along the step, so that the line search needs no
//! pass over the features. Symbols: `N` examples, `F` features, `K` columns of weights, `g` the gradient, `H`
//! the Hessian. `-g' p` is the decrement: near the minimum, twice the distance of the loss from it.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView1, Axis, Zip};
use rayon::prelude::*;

use super::basis::Basis;
use super::objective::{Feature, Objective, Point};
use super::solution::{SAMPLE, Solution, penalty};
use super::task::Labels;

/// Decrement at which the minimum counts as reached, relative to the loss.
const TOLERANCE: f64 = 2e-9;
/// The decrement for small problems. Errors of scores near the minimum are of the order of its root.
const EXACT: f64 = 1e-12;
/// Maximum number of steps.
const MOST: usize = 100;
/// Maximum number of conjugate gradients per step.
const MOST_INNER: usize = 1000;
/// The decrement has converged when this many conjugate gradients add less than [`LITTLE`] of it.
const DELAY: usize = 4;
const LITTLE: f64 = 0.01;
/// Number of conjugate gradients after which the next step computes a new basis.
const STALE: usize = 12;
/// Share of the decrease predicted by the slope that a step must reach (Armijo's condition).
const ENOUGH: f64 = 1e-4;
/// Maximum number of halvings of a step.
const HALVINGS: usize = 40;
/// Examples per sum of a thread.
const PIECE: usize = 1024;
/// Examples whose features are converted to f64 at a time.
const TILE: usize = 64;

/// A problem at one `C`.
pub(super) struct Newton<'a, T> {
    pub(super) objective: Objective<'a, T>,
    pub(super) problem: usize,
    pub(super) c: f64,
}

/// Maximum number of features times columns of weights for which each minimum is also computed in f64, at
/// little cost.
const SMALL: usize = 1 << 20;

/// A point with its logits and loss.
struct Place {
    point: Point,
    /// `[N, K]`.
    logits: Array2<f64>,
    loss: f64,
}

/// A Newton step.
struct Step {
    direction: Point,
    decrement: f64,
    /// Number of conjugate gradients.
    inner: usize,
}

impl<T: Feature> Newton<'_, T> {
    pub(super) fn is_quick(&self) -> bool {
        self.objective.x.len() * self.objective.labels.columns() <= SMALL
    }

    /// Minimises from `start`, after `evaluations` evaluations. The basis `near` of a nearby point is used as
    /// long as few conjugate gradients suffice; a new basis costs as much as many of them.
    pub(super) fn finish(&self, start: Point, evaluations: usize, near: &Basis) -> Solution {
        let logits = self.logits(&start);
        let mut place = Place {
            loss: self.loss(&logits) + penalty(start.weight.iter(), self.c),
            point: start,
            logits,
        };
        let tolerance = if self.is_quick() { EXACT } else { TOLERANCE };
        let (mut evaluations, mut converged) = (evaluations, false);
        let (mut is_near, mut own) = (true, None);
        for _ in 0..MOST {
            let residuals = self.residuals(&place.logits);
            let (basis, most) = if is_near {
                (near, STALE)
            } else {
                (
                    &*own.get_or_insert_with(|| self.basis(&residuals)),
                    MOST_INNER,
                )
            };
            let step = self.step(&place, &residuals, basis, most);
            evaluations += 1 + step.inner;
            converged = step.inner < most && step.decrement <= tolerance * place.loss;
            if converged || !self.advance(&mut place, &step) && !is_near {
                break;
            }
            if step.inner >= STALE {
                (is_near, own) = (false, None);
            }
        }
        Solution {
            weight: place.point.weight,
            bias: place.point.bias,
            loss: place.loss,
            evaluations,
            converged,
        }
    }

    /// Line search along the step; returns whether the loss fell enough.
    fn advance(&self, place: &mut Place, step: &Step) -> bool {
        let change = self.logits(&step.direction);
        for halvings in 0..HALVINGS {
            let length = 0.5_f64.powi(halvings as i32);
            let weight = &place.point.weight + &(&step.direction.weight * length);
            let logits = &place.logits + &(&change * length);
            let loss = self.loss(&logits) + penalty(weight.iter(), self.c);
            if loss <= place.loss - ENOUGH * length * step.decrement {
                let bias = &place.point.bias + &(&step.direction.bias * length);
                *place = Place {
                    point: Point { weight, bias },
                    logits,
                    loss,
                };
                return true;
            }
        }
        false
    }

    /// Newton step by at most this number of conjugate gradients.
    fn step(&self, place: &Place, residuals: &Array2<f64>, basis: &Basis, most: usize) -> Step {
        let mut gradient = self.back(residuals);
        gradient
            .weight
            .scaled_add(1.0 / self.c, &place.point.weight);
        let mut rest = -basis.gradient(&gradient);
        let mut sum = Array2::zeros(rest.dim());
        let mut along = rest.clone();
        let mut square = dot(&rest, &rest);
        // The decrement is the sum of these terms.
        let mut terms: Vec<f64> = Vec::new();
        while terms.len() < most && square > 0.0 {
            let image = self.curved(residuals, &basis.point(along.view()));
            let image = basis.gradient(&image);
            let curvature = dot(&along, &image);
            if curvature.is_nan() || curvature <= 0.0 {
                break;
            }
            let length = square / curvature;
            sum.scaled_add(length, &along);
            rest.scaled_add(-length, &image);
            terms.push(length * square);
            let last: f64 = terms.iter().rev().take(DELAY).sum();
            if terms.len() > DELAY && last <= LITTLE * terms.iter().sum::<f64>() {
                break;
            }
            let before = square;
            square = dot(&rest, &rest);
            along = &rest + &(along * (square / before));
        }
        Step {
            direction: basis.point(sum.view()),
            decrement: terms.iter().sum(),
            inner: terms.len(),
        }
    }

    /// Basis of the curvatures at the current point: of the largest ones if there are many examples.
    fn basis(&self, residuals: &Array2<f64>) -> Basis {
        let columns = (residuals.ncols() as f64 - 1.0).max(1.0);
        let curvature = |row: ArrayView1<'_, f64>| {
            row.fold(0.0, |sum, r| sum + r.abs() * (1.0 - r.abs())) / columns
        };
        let all: Vec<f64> = residuals.outer_iter().map(curvature).collect();
        let mut rows: Vec<usize> = (0..all.len()).collect();
        rows.sort_by(|&a, &b| all[b].total_cmp(&all[a]));
        rows.truncate(SAMPLE.max(4 * self.objective.x.ncols()));
        rows.sort_unstable();
        let seen: Vec<f64> = rows.iter().map(|&row| all[row]).collect();
        let total: f64 = all.iter().sum();
        let share = if total > 0.0 {
            seen.iter().sum::<f64>() / total
        } else {
            1.0
        };
        Basis::new(self.objective.x, &rows, &seen, share, 1.0 / self.c)
    }

    /// `H` times a direction.
    fn curved(&self, residuals: &Array2<f64>, direction: &Point) -> Point {
        let mut change = self.logits(direction);
        let rows = change.outer_iter_mut().zip(residuals.outer_iter());
        for (row, (mut change, residuals)) in rows.enumerate() {
            match self.objective.labels {
                Labels::Signs(_) => {
                    let size = residuals[0].abs();
                    change[0] *= size * (1.0 - size);
                }
                // p (change - p' change), where p is the residual, plus 1 for the class of the example.
                Labels::Softmax(labels, _) => {
                    let mut shares = residuals.to_owned();
                    shares[labels[row] as usize] += 1.0;
                    let mean = shares.dot(&change);
                    Zip::from(&mut change)
                        .and(&shares)
                        .for_each(|change, share| *change = share * (*change - mean));
                }
            }
        }
        let mut curved = self.back(&change);
        curved.weight.scaled_add(1.0 / self.c, &direction.weight);
        curved
    }

    /// `X W + b`, `[N, K]`.
    fn logits(&self, point: &Point) -> Array2<f64> {
        let mut logits = Array2::zeros((self.objective.x.nrows(), point.bias.len()));
        let pieces = logits.axis_chunks_iter_mut(Axis(0), PIECE).into_par_iter();
        let x = self.objective.x.axis_chunks_iter(Axis(0), PIECE);
        pieces.zip(x).for_each(|(mut logits, x)| {
            let tiles = logits.axis_chunks_iter_mut(Axis(0), TILE);
            for (mut logits, x) in tiles.zip(x.axis_chunks_iter(Axis(0), TILE)) {
                general_mat_mul(1.0, &T::wide(x), &point.weight, 0.0, &mut logits);
            }
            logits += &point.bias;
        });
        logits
    }

    /// `X' R`, and the sum of the rows of `R [N, K]`.
    fn back(&self, residuals: &Array2<f64>) -> Point {
        let pieces = residuals.axis_chunks_iter(Axis(0), PIECE).into_par_iter();
        let x = self.objective.x.axis_chunks_iter(Axis(0), PIECE);
        let sums = pieces.zip(x).map(|(residuals, x)| {
            let mut sum = Array2::zeros((x.ncols(), residuals.ncols()));
            let tiles = residuals.axis_chunks_iter(Axis(0), TILE);
            for (residuals, x) in tiles.zip(x.axis_chunks_iter(Axis(0), TILE)) {
                general_mat_mul(1.0, &T::wide(x).t(), &residuals, 1.0, &mut sum);
            }
            sum
        });
        let mut weight = Array2::zeros((self.objective.x.ncols(), residuals.ncols()));
        for sum in sums.collect::<Vec<_>>() {
            weight += &sum;
        }
        Point {
            weight,
            bias: residuals.sum_axis(Axis(0)),
        }
    }

    /// The sum of the examples' cross entropies.
    fn loss(&self, logits: &Array2<f64>) -> f64 {
        let rows = logits.outer_iter().enumerate();
        rows.map(|(row, z)| match self.objective.labels {
            Labels::Signs(signs) => {
                let sign = f64::from(signs[[row, self.problem]]);
                let wrong = -sign * z[0];
                sign.abs() * (wrong.max(0.0) + (-wrong.abs()).exp().ln_1p())
            }
            Labels::Softmax(labels, _) => {
                let label = labels[row] as usize;
                let most = z.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let others = odds_of_others(z, label, most);
                let behind = most - z[label];
                if behind > 0.0 {
                    behind + (others + (-behind).exp()).ln()
                } else {
                    others.ln_1p()
                }
            }
        })
        .sum()
    }

    /// Gradients of the cross entropies by the logits: `p - y`.
    fn residuals(&self, logits: &Array2<f64>) -> Array2<f64> {
        let mut residuals = logits.clone();
        for (row, mut z) in residuals.outer_iter_mut().enumerate() {
            match self.objective.labels {
                Labels::Signs(signs) => {
                    let sign = f64::from(signs[[row, self.problem]]);
                    z[0] = -sign / (1.0 + (sign * z[0]).exp());
                }
                Labels::Softmax(labels, _) => {
                    let label = labels[row] as usize;
                    let most = z.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                    let others = odds_of_others(z.view(), label, most);
                    let total = others + (z[label] - most).exp();
                    z.mapv_inplace(|z| (z - most).exp() / total);
                    z[label] = -others / total;
                }
            }
        }
        residuals
    }
}

/// `Σ exp(z - most)` over all classes but one.
fn odds_of_others(z: ArrayView1<'_, f64>, label: usize, most: f64) -> f64 {
    let others = z.iter().enumerate().filter(|(class, _)| *class != label);
    others.map(|(_, z)| (z - most).exp()).sum()
}

fn dot(a: &Array2<f64>, b: &Array2<f64>) -> f64 {
    Zip::from(a).and(b).fold(0.0, |sum, a, b| sum + a * b)
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::super::path::solve;
    use super::*;

    /// More features than [`Newton::is_quick`] allows; `noise` makes classes inseparable.
    fn large(noise: f64) -> (Array2<f16>, Labels) {
        let mut state = 1_u64;
        let mut uniform = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let scale = |column: usize| 4.0 / (1.0 + column as f64).sqrt();
        let mut x = Array2::zeros((3600, 300));
        let mut signs = Array2::zeros((3600, 2));
        for (mut row, mut signs) in x.outer_iter_mut().zip(signs.outer_iter_mut()) {
            let mut score = noise * uniform();
            for (column, value) in row.iter_mut().enumerate() {
                let z = uniform();
                score += z / (1.0 + column as f64);
                *value = f16::from_f64(1.0 + scale(column) * z);
            }
            signs[0] = if score > 0.0 { 1.0 } else { -1.0 };
            signs[1] = if score > 0.8 { 1.0 } else { -1.0 };
        }
        (x, Labels::Signs(signs))
    }

    #[test]
    fn what_is_taken_as_the_minimum_is_one_also_where_newton_s_method_is_not_tried() {
        let cs: Vec<f64> = (-3..=5).map(|power| 10_f64.powi(power)).collect();
        for noise in [0.0, 0.1, 3.0] {
            let (x, labels) = large(noise);
            let objective = Objective {
                x: x.view(),
                labels: &labels,
            };
            for (c, solved) in solve(objective, &cs, &|_| ()) {
                for (problem, solved) in solved.into_iter().enumerate() {
                    assert!(solved.converged, "{noise} {c} {problem}");
                    let newton = Newton {
                        objective,
                        problem,
                        c,
                    };
                    assert!(!newton.is_quick());
                    let start = Point {
                        weight: solved.weight,
                        bias: solved.bias,
                    };
                    let found = newton.loss(&newton.logits(&start));
                    let found = found + penalty(start.weight.iter(), c);
                    let basis = newton.basis(&newton.residuals(&newton.logits(&start)));
                    let least = newton.finish(start, 0, &basis);
                    assert!(least.converged);
                    let above = found / least.loss - 1.0;
                    assert!(above < 1e-6, "{noise} {c} {problem}: {above:.1e}");
                }
            }
        }
    }
}
