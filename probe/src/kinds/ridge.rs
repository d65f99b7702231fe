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
use ndarray::{Array1, Array2, ArrayView2, Axis};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::TokenArgs;
use crate::Error;
use crate::evaluate::{Fitted, Grid, LinearModel, Probe, Report, Select, Task, choose, fields};
use crate::features::Tokens;
use crate::probes::linear::Link;
use crate::probes::ridge::solve;
use crate::protocol::Protocol;
use crate::targets::Targets;
use crate::values::positive;

/// Strengths of the penalty.
const ALPHAS: &str = "0.001,0.01,0.1,1,10,100,1000,10000,100000,1000000";

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

    fn tokens(&self, _: u32) -> Tokens {
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
        task.steps.say("ridge regression");
        let (features, targets) = (task.examples.plain(part), task.examples.truth(part));
        let alphas = only.map_or(&alphas[..], |index| &alphas[index..=index]);
        Ok(fit(features.view(), &targets, task.classes(), alphas))
    }

    fn linear(&self, model: &Model) -> LinearModel {
        LinearModel {
            tokens: self.1.tokens.tokens(),
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

#[cfg(test)]
mod tests;
