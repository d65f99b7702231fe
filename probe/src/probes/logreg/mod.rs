//! Logistic regression with an L2 penalty, for a whole path of penalties.
//!
//! The objective is scikit-learn's: the sum of the cross entropies of the examples, plus `|W|² / (2 C)` without
//! the bias. Two classes have one output and the sigmoid, more have the softmax. Multi-label data are one
//! problem per class, without the examples whose label is blank. Axes: `N` examples, `F` features, `C`
//! classes, `O` outputs (1 for two exclusive classes, else `C`), `P` problems, `K` columns of weights of a
//! problem, `R` columns of weights in a product.
//!
//! A class without examples gets the probability 0, a label that all examples have gets 1, and a label that is
//! always blank gets 0.5.

mod basis;
mod lbfgs;
#[cfg(feature = "linfa")]
mod linfa;
mod newton;
mod objective;
mod path;
mod solution;
mod span;
mod task;

use clap::ValueEnum;
use half::f16;
use ndarray::ArrayView2;
use rayon::prelude::*;
use serde::Serialize;

use self::objective::Objective;
pub use self::solution::Fit;
use self::span::Span;
use self::task::Task;
use crate::Error;
use crate::error::LogregError;
use crate::targets::Targets;

/// Training data.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// `[N, F]`.
    pub features: ArrayView2<'a, f16>,
    /// Targets of the `N` rows; unknown ones are not part of the loss.
    pub targets: &'a Targets,
    /// Number of classes.
    pub classes: usize,
}

/// Solver of logistic regression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// L-BFGS for all penalties of the path together, preconditioned and warm-started, and Newton's
    /// method in f64 where L-BFGS does not reach the minimum
    #[default]
    Lbfgs,
    /// linfa-logistic: L-BFGS in f64, one penalty and one problem at a time; much slower
    ///
    /// It fails if its line search fails, and does not report whether it converged.
    #[cfg(feature = "linfa")]
    Linfa,
}

/// Fits a model for each of `cs`, in their order. The result does not depend on the number of
/// threads.
///
/// # Errors
///
/// [`LogregError::Targets`], [`LogregError::Label`], [`LogregError::Feature`] and
/// [`LogregError::Penalty`] for data and penalties that have no minimum; [`LogregError::OneClass`]
/// if all examples are of one class; [`LogregError::Linfa`] if linfa fails.
pub fn fit(data: &Data<'_>, cs: &[f64], solver: Solver) -> Result<Vec<Fit>, Error> {
    fit_told(data, cs, solver, &|_| ())
}

/// As [`fit`]; `done` takes the number of penalties that have been fitted since it was called last.
pub(crate) fn fit_told(
    data: &Data<'_>,
    cs: &[f64],
    solver: Solver,
    done: &dyn Fn(usize),
) -> Result<Vec<Fit>, Error> {
    check(data, cs)?;
    let task = Task::new(data.targets, data.classes)?;
    let x = data.features;
    match solver {
        Solver::Lbfgs => {
            let labels = &task.labels;
            let found = match Span::of(x) {
                Some(span) => span.solve(labels, cs, done),
                None => path::solve(Objective { x, labels }, cs, done),
            };
            let fits = found.iter().map(|(c, solved)| task.fit(*c, solved));
            Ok(fits.collect())
        }
        #[cfg(feature = "linfa")]
        Solver::Linfa => linfa::solve(x, &task, cs),
    }
}

fn check(data: &Data<'_>, cs: &[f64]) -> Result<(), Error> {
    let (found, expected) = (data.targets.len(), data.features.nrows());
    if found != expected {
        return Err(Error::Logreg(LogregError::Targets { found, expected }));
    }
    if let Some(&c) = cs.iter().find(|&&c| !(c.is_finite() && c > 0.0)) {
        return Err(Error::Logreg(LogregError::Penalty { c }));
    }
    let rows: Vec<_> = data.features.outer_iter().collect();
    let wrong = rows.par_iter().enumerate().find_map_first(|(row, values)| {
        let value = values.iter().find(|value| !value.is_finite())?;
        Some((row, value.to_f32()))
    });
    match wrong {
        Some((row, value)) => Err(Error::Logreg(LogregError::Feature { row, value })),
        None => Ok(()),
    }
}
