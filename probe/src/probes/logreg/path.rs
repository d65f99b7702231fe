//! Minimisation for many values of `C`: neighbouring values at the same time, warm-started at the last minimum.
//!
//! A single column of weights is limited by reading the features, so neighbours share each pass over them.
//! They also share a basis, which costs as much as several passes. Newton's method continues for a `C` whose
//! minimum is not reached, for instance if classes are separable and `C` is large.

use ndarray::{Array1, Array2, Axis, concatenate, s};
use rayon::prelude::*;

use super::basis::Basis;
use super::lbfgs::{Lbfgs, State};
use super::newton::Newton;
use super::objective::{Feature, Objective, Point};
use super::solution::{SAMPLE, Solution, penalty};

/// Expected decrease at which a minimisation ends, relative to the loss.
const TOLERANCE: f64 = 1e-8;
/// Evaluations after which Newton's method continues.
const MOST: usize = 100;
/// Target number of columns of weights per product.
const COLUMNS: usize = 8;
/// Minimum number of neighbouring values of `C`.
const TOGETHER: usize = 4;

/// Solutions of all problems for each `C`, in the order of `cs`; `done` takes the number of those that were solved.
pub(super) fn solve<T: Feature>(
    objective: Objective<'_, T>,
    cs: &[f64],
    done: &dyn Fn(usize),
) -> Vec<(f64, Vec<Solution>)> {
    let mut order: Vec<usize> = (0..cs.len()).collect();
    order.sort_by(|&a, &b| cs[a].total_cmp(&cs[b]));
    let (problems, columns) = (objective.labels.problems(), objective.labels.columns());
    let mut start = Point::zeros(objective.x.ncols(), problems * columns);
    let mut found = Vec::with_capacity(cs.len());
    for indices in order.chunks((COLUMNS / (problems * columns)).max(TOGETHER)) {
        let neighbours: Vec<f64> = indices.iter().map(|&index| cs[index]).collect();
        let solved = Block::new(objective, start, &neighbours).solve();
        start = joined(&solved[solved.len() - problems..]);
        let each = solved.chunks(problems).zip(indices);
        found.extend(each.map(|(solved, &index)| (index, solved.to_vec())));
        done(indices.len());
    }
    found.sort_by_key(|(index, _)| *index);
    let each = found.into_iter();
    each.map(|(index, solved)| (cs[index], solved)).collect()
}

/// The columns of all problems side by side.
fn joined(solved: &[Solution]) -> Point {
    let weights: Vec<_> = solved.iter().map(|solved| solved.weight.view()).collect();
    let biases: Vec<_> = solved.iter().map(|solved| solved.bias.view()).collect();
    Point {
        weight: concatenate(Axis(1), &weights).unwrap_or_default(),
        bias: concatenate(Axis(0), &biases).unwrap_or_default(),
    }
}

/// Neighbouring values of `C` with one basis.
struct Block<'a, T> {
    objective: Objective<'a, T>,
    basis: Basis,
    /// Start of all minimisations: the columns of all problems.
    start: Point,
    /// Problems vary faster than `C`s.
    runs: Vec<Run>,
}

/// A problem at a `C`.
struct Run {
    c: f64,
    problem: usize,
    minimiser: Lbfgs,
}

impl Run {
    fn is_running(&self) -> bool {
        self.minimiser.state() == State::Running && self.minimiser.evaluations() < MOST
    }
}

impl<'a, T: Feature> Block<'a, T> {
    fn new(objective: Objective<'a, T>, start: Point, cs: &[f64]) -> Block<'a, T> {
        let rows = sample(objective.x.nrows(), SAMPLE.max(4 * objective.x.ncols()));
        let curvature = objective.curvature(&start, &rows);
        let share = rows.len() as f64 / objective.x.nrows() as f64;
        let ridge = cs.iter().map(|c| -c.ln()).sum::<f64>() / cs.len() as f64;
        let mut block = Block {
            basis: Basis::new(objective.x, &rows, &curvature, share, ridge.exp()),
            objective,
            start,
            runs: Vec::new(),
        };
        block.begin(cs);
        block
    }

    fn begin(&mut self, cs: &[f64]) {
        let columns = self.objective.labels.columns();
        let problems: Vec<usize> = (0..self.objective.labels.problems()).collect();
        let sums = self.objective.evaluate(&self.start, &problems);
        let pairs = cs
            .iter()
            .flat_map(|&c| problems.iter().map(move |&p| (c, p)));
        let runs = pairs.map(|(c, problem)| {
            let range = problem * columns..(problem + 1) * columns;
            let weight = self.start.weight.slice(s![.., range.clone()]);
            let gradient = Point {
                weight: &sums.gradient.weight.slice(s![.., range.clone()]) + &weight / c,
                bias: sums.gradient.bias.slice(s![range]).to_owned(),
            };
            let loss = sums.losses[problem] + penalty(weight.iter(), c);
            let gradient = flat(self.basis.gradient(&gradient));
            Run {
                c,
                problem,
                minimiser: Lbfgs::new(loss, gradient, TOLERANCE),
            }
        });
        self.runs = runs.collect();
    }

    fn solve(mut self) -> Vec<Solution> {
        loop {
            let running: Vec<usize> = (0..self.runs.len())
                .filter(|&run| self.runs[run].is_running())
                .collect();
            if running.is_empty() {
                break;
            }
            self.step(&running);
        }
        let runs = self.runs.par_iter();
        runs.map(|run| self.solution(run)).collect()
    }

    /// Evaluates the trial points of the `running` minimisations in one pass.
    fn step(&mut self, running: &[usize]) {
        let columns = self.objective.labels.columns();
        let runs: Vec<&Run> = running.iter().map(|&run| &self.runs[run]).collect();
        let trials: Vec<_> = runs.iter().map(|run| run.minimiser.trial()).collect();
        let problems: Vec<usize> = runs.iter().map(|run| run.problem).collect();
        let point = self.point(&trials, &problems);
        let mut sums = self.objective.evaluate(&point, &problems);
        for (k, run) in runs.iter().enumerate() {
            let range = s![.., k * columns..(k + 1) * columns];
            let weight = point.weight.slice(range);
            sums.losses[k] += penalty(weight.iter(), run.c);
            let mut gradient = sums.gradient.weight.slice_mut(range);
            gradient.scaled_add(1.0 / run.c, &weight);
        }
        let gradients = self.basis.gradient(&sums.gradient);
        let each = gradients.axis_chunks_iter(Axis(1), columns);
        for ((&run, loss), gradient) in running.iter().zip(sums.losses).zip(each) {
            self.runs[run]
                .minimiser
                .tell(loss, flat(gradient.to_owned()));
        }
    }

    /// Weights of the coordinates of these problems, one after another.
    fn point(&self, coordinates: &[&Array1<f64>], problems: &[usize]) -> Point {
        let columns = self.objective.labels.columns();
        let height = self.start.weight.nrows() + 1;
        let shape = (height, columns * problems.len());
        let side_by_side = Array2::from_shape_fn(shape, |(row, column)| {
            coordinates[column / columns][row * columns + column % columns]
        });
        let mut point = self.basis.point(side_by_side.view());
        for (k, problem) in problems.iter().enumerate() {
            let to = k * columns..(k + 1) * columns;
            let from = problem * columns..(problem + 1) * columns;
            let mut weight = point.weight.slice_mut(s![.., to.clone()]);
            weight += &self.start.weight.slice(s![.., from.clone()]);
            let mut bias = point.bias.slice_mut(s![to]);
            bias += &self.start.bias.slice(s![from]);
        }
        point
    }

    fn solution(&self, run: &Run) -> Solution {
        let (coordinates, loss) = run.minimiser.best();
        let point = self.point(&[coordinates], &[run.problem]);
        let newton = Newton {
            objective: self.objective,
            problem: run.problem,
            c: run.c,
        };
        if run.minimiser.state() != State::Converged || newton.is_quick() {
            return newton.finish(point, run.minimiser.evaluations(), &self.basis);
        }
        Solution {
            weight: point.weight,
            bias: point.bias,
            loss,
            evaluations: run.minimiser.evaluations(),
            converged: true,
        }
    }
}

fn flat(gradient: Array2<f64>) -> Array1<f64> {
    gradient.iter().copied().collect()
}

/// Equidistant rows, at most twice as many as `wanted`.
fn sample(rows: usize, wanted: usize) -> Vec<usize> {
    (0..rows).step_by((rows / wanted).max(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::sample;

    #[test]
    fn a_sample_is_even_and_holds_all_rows_where_there_are_few() {
        assert_eq!(sample(3, 5), [0, 1, 2]);
        assert_eq!(sample(9, 5).len(), 9);
        assert_eq!(sample(20, 5), [0, 4, 8, 12, 16]);
    }
}
