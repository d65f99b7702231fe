//! Logistic regression by linfa-logistic: argmin's L-BFGS in f64, started at 0 for each penalty and problem.
//!
//! linfa uses another version of ndarray, so that features are copied.

use half::f16;
use linfa::DatasetBase;
use linfa::traits::Fit as _;
use linfa_logistic::{LogisticRegression, MultiLogisticRegression};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use ndarray_of_linfa as theirs;
use rayon::prelude::*;

use super::objective::{Objective, Point};
use super::solution::{Fit, Solution, penalty};
use super::task::{Labels, Task};
use crate::Error;
use crate::error::LogregError;

/// Norm of the gradient at which linfa stops.
const GRADIENT: f64 = 1e-4;
/// Maximum number of iterations.
const MOST: u64 = 1000;

/// Fits a model for each of `cs`.
///
/// # Errors
///
/// [`LogregError::Linfa`] with the message of linfa, for instance if its line search fails.
pub(super) fn solve(x: ArrayView2<'_, f16>, task: &Task, cs: &[f64]) -> Result<Vec<Fit>, Error> {
    let objective = Objective {
        x,
        labels: &task.labels,
    };
    let each = cs.par_iter().map(|&c| {
        let problems = (0..task.labels.problems()).into_par_iter();
        let solved = problems.map(|problem| {
            let point = point(x, &task.labels, problem, c)
                .map_err(|reason| Error::Logreg(LogregError::Linfa { c, reason }))?;
            Ok(solution(&objective, point, problem, c))
        });
        Ok(task.fit(c, &solved.collect::<Result<Vec<_>, Error>>()?))
    });
    each.collect()
}

fn solution(objective: &Objective<'_, f16>, point: Point, problem: usize, c: f64) -> Solution {
    let loss = objective.evaluate(&point, &[problem]).losses[0];
    Solution {
        loss: loss + penalty(point.weight.iter(), c),
        weight: point.weight,
        bias: point.bias,
        // linfa reports neither.
        evaluations: 0,
        converged: true,
    }
}

fn point(x: ArrayView2<'_, f16>, labels: &Labels, problem: usize, c: f64) -> Result<Point, String> {
    match labels {
        Labels::Softmax(labels, _) => softmax(x, labels, c),
        Labels::Signs(signs) => sigmoid(x, signs.column(problem), c),
    }
}

fn softmax(x: ArrayView2<'_, f16>, labels: &[u32], c: f64) -> Result<Point, String> {
    let rows: Vec<usize> = (0..labels.len()).collect();
    let labels = theirs::Array1::from(labels.to_vec());
    let model = MultiLogisticRegression::default()
        .alpha(1.0 / c)
        .gradient_tolerance(GRADIENT)
        .max_iterations(MOST);
    let fitted = model.fit(&DatasetBase::new(copied(x, &rows), labels));
    let fitted = fitted.map_err(|error| error.to_string())?;
    let weight = fitted.params();
    Ok(Point {
        weight: Array2::from_shape_fn(weight.dim(), |(row, column)| weight[[row, column]]),
        bias: fitted.intercept().iter().copied().collect(),
    })
}

fn sigmoid(x: ArrayView2<'_, f16>, signs: ArrayView1<'_, f32>, c: f64) -> Result<Point, String> {
    let rows: Vec<usize> = (0..signs.len()).filter(|&row| signs[row] != 0.0).collect();
    let labels = rows.iter().map(|&row| signs[row] > 0.0);
    let labels: theirs::Array1<bool> = labels.collect();
    let model = LogisticRegression::default()
        .alpha(1.0 / c)
        .gradient_tolerance(GRADIENT)
        .max_iterations(MOST);
    let fitted = model.fit(&DatasetBase::new(copied(x, &rows), labels));
    let fitted = fitted.map_err(|error| error.to_string())?;
    // Its positive class is the more frequent one.
    let factor = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    let weight: Array1<f64> = fitted.params().iter().map(|w| factor * w).collect();
    Ok(Point {
        weight: weight.insert_axis(ndarray::Axis(1)),
        bias: Array1::from_elem(1, factor * fitted.intercept()),
    })
}

fn copied(x: ArrayView2<'_, f16>, rows: &[usize]) -> theirs::Array2<f64> {
    theirs::Array2::from_shape_fn((rows.len(), x.ncols()), |(row, column)| {
        f64::from(x[[rows[row], column]])
    })
}
