//! Ridge regression on class indicators, in closed form: scikit-learn's `RidgeClassifier`.
//!
//! The targets `y` are 1 for examples of a class and -1 for others. With centred features `X [N, F]` and
//! targets `Y [N, O]`, the weights are `(X' X + alpha I)⁻¹ X' Y`, or equally `X' (X X' + alpha I)⁻¹ Y`,
//! whichever matrix is smaller (Hoerl and Kennard 1970; Saunders et al. 1998). Two exclusive classes have
//! one output, more have one each; several labels are fitted one by one on the examples that have them.
//! Scores are decision values: `x w + b`.

use std::collections::BTreeMap;

use cache::CacheReader;
use clap::Args;
use half::f16;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::TokenArgs;
use crate::Error;
use crate::evaluate::{Fitted, Grid, LinearModel, Probe, Report, Select, Task, choose, fields};
use crate::features::Tokens;
use crate::probes::cholesky::inverse_factor;
use crate::probes::linear::Link;
use crate::protocol::Protocol;
use crate::targets::Targets;
use crate::values::positive;

/// Strengths of the penalty.
const ALPHAS: &str = "0.001,0.01,0.1,1,10,100,1000,10000,100000,1000000";
/// Examples per product.
const CHUNK: usize = 1024;
/// Columns of `X' X` per thread.
const STRIPE: usize = 128;

/// Classify by ridge regression
///
/// The L2 penalty is the one that is best on `val`.
#[derive(Args, Debug, Serialize)]
pub(super) struct Ridge {
    /// Strengths of the penalty [default: ten from 0.001 to 1e6]
    #[arg(long = "alpha", value_name = "ALPHA", value_delimiter = ',', default_value = ALPHAS)]
    #[arg(value_parser = positive::<f64>, hide_default_value = true)]
    alphas: Vec<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    tokens: TokenArgs,
    /// Measure by which the best of the grid is chosen
    #[arg(long, default_value = "auroc")]
    select: Select,
}

impl Probe for Ridge {
    const NAME: &'static str = "ridge";

    fn tokens(&self) -> Tokens {
        self.tokens.tokens()
    }

    fn options(&self, _: Protocol, _: &CacheReader) -> Result<Map<String, Value>, Error> {
        Ok(fields(self))
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        Ok(vec![choose(task, &Alphas(task, self), self.select)?])
    }
}

/// The grid of penalties.
struct Alphas<'a>(&'a Task<'a>, &'a Ridge);

/// Weights `[O, F]` and biases `[O]` for a penalty.
#[derive(Clone, Debug)]
struct Model {
    alpha: f64,
    weight: Array2<f64>,
    bias: Array1<f64>,
}

impl Grid for Alphas<'_> {
    type Model = Model;
    const CHOSEN: &'static str = "alpha";

    fn fit(&self, part: &[usize], only: Option<usize>) -> Result<Vec<Model>, Error> {
        let Alphas(task, Ridge { alphas, .. }) = self;
        let (features, targets) = (task.examples.plain(part), task.examples.truth(part));
        let alphas = only.map_or(&alphas[..], |index| &alphas[index..=index]);
        Ok(fit(features.view(), &targets, task.classes(), alphas))
    }

    fn linear(&self, model: &Model) -> LinearModel {
        LinearModel {
            tokens: self.1.tokens(),
            columns: 0..model.weight.ncols(),
            weight: model.weight.clone(),
            bias: model.bias.clone(),
            link: Link::Identity,
        }
    }

    fn report(&self, model: &Model, _: &[Model]) -> Report {
        let Ridge {
            alphas,
            tokens,
            select,
        } = self.1;
        let mut params = fields(tokens);
        params.extend(fields(
            &json!({"alpha": model.alpha, "grid_alpha": alphas, "select": select}),
        ));
        Report {
            setting: format!("alpha={}", model.alpha),
            params,
            warnings: Vec::new(),
        }
    }
}

/// Fits a model for each of `alphas` to `features [N, F]`. A label that no example has gets the weights 0.
fn fit(x: ArrayView2<'_, f16>, targets: &Targets, classes: usize, alphas: &[f64]) -> Vec<Model> {
    let is_binary = matches!(targets, Targets::Single(_)) && classes == 2;
    let outputs: Vec<usize> = if is_binary {
        vec![1]
    } else {
        (0..classes).collect()
    };
    let mut models: Vec<Model> = alphas
        .iter()
        .map(|&alpha| Model {
            alpha,
            weight: Array2::zeros((outputs.len(), x.ncols())),
            bias: Array1::zeros(outputs.len()),
        })
        .collect();
    // Outputs that are known of the same examples share the matrix.
    let mut alike: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (output, &class) in outputs.iter().enumerate() {
        let is_known = |&row: &usize| targets.is(row, class).is_some();
        let rows = (0..x.nrows()).filter(is_known).collect();
        alike.entry(rows).or_default().push(output);
    }
    alike.remove(&Vec::new());
    for (rows, alike) in alike {
        let sign = |(row, output): (usize, usize)| {
            let is = targets.is(rows[row], outputs[alike[output]]) == Some(true);
            if is { 1.0 } else { -1.0 }
        };
        let y = Array2::from_shape_fn((rows.len(), alike.len()), sign);
        let solved = solve(x.select(Axis(0), &rows).view(), y, alphas);
        for (model, (weight, bias)) in models.iter_mut().zip(solved) {
            for (column, &output) in alike.iter().enumerate() {
                model.weight.row_mut(output).assign(&weight.column(column));
                model.bias[output] = bias[column];
            }
        }
    }
    models
}

/// Weights `[F, O]` and biases `[O]` for each of `alphas`, of `x [N, F]` and `y [N, O]`.
fn solve(
    x: ArrayView2<'_, f16>,
    y: Array2<f64>,
    alphas: &[f64],
) -> Vec<(Array2<f64>, Array1<f64>)> {
    let (n, f) = x.dim();
    let mut mean = Array1::<f64>::zeros(f);
    x.outer_iter().for_each(|row| mean += &row.mapv(f64::from));
    mean /= n as f64;
    let y_mean = y.sum_axis(Axis(0)) / n as f64;
    let y = y - &y_mean;
    let centred = |x: ArrayView2<'_, f16>| x.mapv(f64::from) - &mean;
    // Fewer examples than features: the weights are `X' a` of `(X X' + alpha I) a = Y`.
    let wide = (n < f).then(|| centred(x));
    let (gram, right) = match &wide {
        Some(x) => (x.dot(&x.t()), y),
        None => {
            let (mut gram, mut right) = (Array2::zeros((f, f)), Array2::zeros((f, y.ncols())));
            let chunks = x.axis_chunks_iter(Axis(0), CHUNK);
            for (x, y) in chunks.zip(y.axis_chunks_iter(Axis(0), CHUNK)) {
                let x = centred(x);
                general_mat_mul(1.0, &x.t(), &y, 1.0, &mut right);
                let stripes = gram.axis_chunks_iter_mut(Axis(1), STRIPE).into_par_iter();
                let columns = x.axis_chunks_iter(Axis(1), STRIPE).into_par_iter();
                stripes.zip(columns).for_each(|(mut stripe, columns)| {
                    general_mat_mul(1.0, &x.t(), &columns, 1.0, &mut stripe);
                });
            }
            (gram, right)
        }
    };
    let solved = alphas.par_iter().map(|&alpha| {
        let mut a = gram.clone();
        a.diag_mut().mapv_inplace(|value| value + alpha);
        let inverse = inverse_factor(a);
        let solution = inverse.t().dot(&inverse.dot(&right));
        let weight = wide
            .as_ref()
            .map_or_else(|| solution.clone(), |x| x.t().dot(&solution));
        let bias = &y_mean - &mean.dot(&weight);
        (weight, bias)
    });
    solved.collect()
}

#[cfg(test)]
mod tests;
