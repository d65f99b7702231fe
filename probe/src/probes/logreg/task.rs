//! Problems of a task, and the rows of a model that their solutions give.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use super::solution::{Fit, Solution};
use crate::Error;
use crate::error::LogregError;
use crate::targets::Targets;

/// Targets in the form that losses need.
#[derive(Debug)]
pub(super) enum Labels {
    /// One problem of `K` columns: the class of each example `[N]`, among the classes that occur.
    Softmax(Vec<u32>, usize),
    /// `P` problems of a column: 1 present, -1 absent, 0 blank, `[N, P]`.
    Signs(Array2<f32>),
}

impl Labels {
    pub(super) fn problems(&self) -> usize {
        match self {
            Labels::Softmax(..) => 1,
            Labels::Signs(signs) => signs.ncols(),
        }
    }

    /// Columns of weights of a problem, `K`.
    pub(super) fn columns(&self) -> usize {
        match self {
            Labels::Softmax(_, classes) => *classes,
            Labels::Signs(_) => 1,
        }
    }
}

/// The problems, and the rows of a [`Fit`].
#[derive(Debug)]
pub(super) struct Task {
    pub(super) labels: Labels,
    /// `[O]`, of rows without a column.
    bias: Array1<f64>,
    rows: Vec<Row>,
}

/// A row of the weights as a multiple of a column.
#[derive(Debug)]
struct Row {
    row: usize,
    column: usize,
    factor: f64,
}

impl Task {
    pub(super) fn new(targets: &Targets, classes: usize) -> Result<Task, Error> {
        let task = match targets {
            Targets::Single(labels) => Task::single(labels, classes)?,
            Targets::Multi(present) => Task::multi(present.view()),
        };
        if task.rows.is_empty() {
            Err(Error::Logreg(LogregError::OneClass))
        } else {
            Ok(task)
        }
    }

    fn single(labels: &[u32], classes: usize) -> Result<Task, Error> {
        let mut occurs = vec![false; classes];
        for (row, &label) in labels.iter().enumerate() {
            match occurs.get_mut(label as usize) {
                Some(occurs) => *occurs = true,
                None => {
                    return Err(Error::Logreg(LogregError::Label {
                        row,
                        label,
                        classes,
                    }));
                }
            }
        }
        let present: Vec<usize> = (0..classes).filter(|&class| occurs[class]).collect();
        let row = |row, column, factor| Row {
            row,
            column,
            factor,
        };
        let (outputs, rows) = match present[..] {
            [] | [_] => return Err(Error::Logreg(LogregError::OneClass)),
            [_, _] if classes == 2 => (1, vec![row(0, 0, 1.0)]),
            // One output, as in scikit-learn, written as two.
            [first, second] => {
                let rows = vec![row(first, 0, -0.5), row(second, 0, 0.5)];
                (classes, rows)
            }
            _ => {
                let rows = present.iter().enumerate();
                let rows = rows.map(|(column, &class)| row(class, column, 1.0));
                (classes, rows.collect())
            }
        };
        Ok(Task {
            labels: Labels::of_classes(labels, &present),
            bias: Array1::from_elem(outputs, f64::NEG_INFINITY),
            rows,
        })
    }

    fn multi(present: ArrayView2<'_, Option<bool>>) -> Task {
        let bias: Array1<f64> = present.columns().into_iter().map(constant).collect();
        let fitted: Vec<usize> = (0..bias.len())
            .filter(|&class| bias[class].is_nan())
            .collect();
        let signs = Array2::from_shape_fn((present.nrows(), fitted.len()), |(row, problem)| {
            present[[row, fitted[problem]]].map_or(0.0, sign)
        });
        let rows = fitted.iter().enumerate().map(|(column, &row)| Row {
            row,
            column,
            factor: 1.0,
        });
        Task {
            labels: Labels::Signs(signs),
            rows: rows.collect(),
            bias,
        }
    }

    /// The model at `c` from the solutions of all problems.
    pub(super) fn fit(&self, c: f64, solved: &[Solution]) -> Fit {
        let features = solved.first().map_or(0, |solved| solved.weight.nrows());
        let columns: Vec<_> = solved
            .iter()
            .flat_map(|solved| solved.weight.columns().into_iter().zip(&solved.bias))
            .collect();
        let mut weight = Array2::zeros((self.bias.len(), features));
        let mut bias = self.bias.clone();
        for row in &self.rows {
            let (column, column_bias) = columns[row.column];
            weight.row_mut(row.row).scaled_add(row.factor, &column);
            bias[row.row] = row.factor * column_bias;
        }
        Fit {
            c,
            weight,
            bias,
            loss: solved.iter().map(|solved| solved.loss).sum(),
            evaluations: solved.iter().map(|s| s.evaluations).max().unwrap_or(0),
            converged: solved.iter().all(|solved| solved.converged),
        }
    }
}

impl Labels {
    fn of_classes(labels: &[u32], present: &[usize]) -> Labels {
        let place = |label: u32| present.partition_point(|&class| class < label as usize);
        match present.len() {
            2 => {
                let signs = labels.iter().map(|&label| sign(place(label) == 1));
                let signs: Array1<f32> = signs.collect();
                Labels::Signs(signs.insert_axis(ndarray::Axis(1)))
            }
            classes => {
                let places = labels.iter().map(|&label| place(label) as u32);
                Labels::Softmax(places.collect(), classes)
            }
        }
    }
}

fn sign(is_present: bool) -> f32 {
    if is_present { 1.0 } else { -1.0 }
}

/// Bias of a class that all or no examples have; NaN for a class to be fitted.
fn constant(present: ArrayView1<'_, Option<bool>>) -> f64 {
    let has = |wanted| present.iter().any(|&entry| entry == Some(wanted));
    match (has(true), has(false)) {
        (true, true) => f64::NAN,
        (true, false) => f64::INFINITY,
        (false, true) => f64::NEG_INFINITY,
        (false, false) => 0.0,
    }
}
