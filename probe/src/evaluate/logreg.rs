//! Logistic regression.

use cache::Split;
use half::f16;
use ndarray::{Array1, Array2, ArrayView2};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fitted::best;
use super::{Choice, Features, Fitted, Select, Task};
use crate::Error;
use crate::head::SavedHead;
use crate::metrics::measures::Scored;
use crate::probes::linear::logits;
use crate::probes::logreg::{self, Data, Fit, Solver};

/// How logistic regression is fitted and chosen.
#[derive(Clone, Debug, Serialize)]
pub struct LogregOptions {
    /// Inverses of the penalty's strength; the best on `val` is taken.
    pub cs: Vec<f64>,
    /// Which tokens are seen.
    pub features: Features,
    /// The block whose tokens are used, 1 for the last.
    pub layer: u32,
    /// Who minimises.
    pub solver: Solver,
    /// What the best C is best in.
    pub select: Select,
}

/// Fits the path of penalties on the first part, chooses the best one on the second (of equal ones the
/// first), fits it anew on the third, and scores the last with it. What has not reached its minimum is
/// not chosen.
pub(super) fn fit(task: &Task<'_>, options: &LogregOptions) -> Result<Fitted, Error> {
    let parts = &task.parts;
    options.select.check(task)?;
    if parts.val.is_empty() {
        task.examples.part(&[Split::Val])?;
    }
    let path = solved(task, &parts.train, &options.cs, options.solver)?;
    if path.iter().all(|fit| !fit.converged) {
        return Err(Error::LogregUnconverged {
            path: task.reader.dir().into(),
        });
    }
    let features = task.examples.plain(&parts.val);
    let scored = path
        .iter()
        .map(|fit| task.scored(&parts.val, scores(task, fit, features.view())));
    let scored = scored.collect::<Result<Vec<Scored>, Error>>()?;
    let undefined = task.settings.protocol.undefined_auroc();
    let measured: Vec<_> = path
        .iter()
        .zip(&scored)
        .map(|(fit, scored)| {
            options
                .select
                .of(scored, undefined)
                .filter(|_| fit.converged)
        })
        .collect();
    let chosen = best(&measured).ok_or_else(|| task.no_choice("C", None))?;
    let fit = if parts.fit == parts.train {
        path[chosen].clone()
    } else {
        solved(task, &parts.fit, &[options.cs[chosen]], options.solver)?.remove(0)
    };
    let on = parts.chosen_on;
    let (thresholds, without) = match on {
        Split::Val => task.thresholds(&scored[chosen]),
        _ => (None, None),
    };
    let (weight, bias) = single(&fit);
    let tokens = options.features.tokens(options.layer);
    Ok(Fitted {
        setting: format!("C={:.3e}", fit.c),
        params: params(options, &path, &fit, measured[chosen]),
        scores: scores(task, &fit, task.examples.plain(&parts.test).view()),
        n_train: parts.fit.len(),
        choice: Some(Choice {
            is_chosen: true,
            on,
        }),
        warnings: warnings(on, &path, &fit)
            .into_iter()
            .chain(without)
            .collect(),
        head: Some(SavedHead::of(
            task,
            tokens,
            &weight,
            &bias,
            false,
            thresholds.as_ref(),
        )),
        thresholds,
    })
}

fn warnings(on: Split, path: &[Fit], fit: &Fit) -> Vec<String> {
    let mut warnings = Vec::new();
    if on == Split::Test {
        warnings.push("C chosen on test".into());
    }
    let left_out = unconverged(path);
    if !left_out.is_empty() {
        let words: Vec<String> = left_out.iter().map(|c| format!("{c:.3e}")).collect();
        let words = words.join(", ");
        warnings.push(format!(
            "the minimum was not reached for C = {words}, left out"
        ));
    }
    if !fit.converged {
        warnings.push(format!("the minimum was not reached for C = {:.3e}", fit.c));
    }
    warnings
}

/// The `C`s whose minimum was not reached.
fn unconverged(path: &[Fit]) -> Vec<f64> {
    let left_out = path.iter().filter(|fit| !fit.converged);
    left_out.map(|fit| fit.c).collect()
}

fn solved(task: &Task<'_>, part: &[usize], cs: &[f64], solver: Solver) -> Result<Vec<Fit>, Error> {
    let (features, targets) = (task.examples.plain(part), task.examples.truth(part));
    let data = Data {
        features: features.view(),
        targets: &targets,
        classes: task.classes(),
    };
    logreg::fit(&data, cs, solver)
}

/// Weights and bias in f32, as they are saved.
fn single(fit: &Fit) -> (Array2<f32>, Array1<f32>) {
    (fit.weight.mapv(|w| w as f32), fit.bias.mapv(|b| b as f32))
}

fn scores(task: &Task<'_>, fit: &Fit, features: ArrayView2<'_, f16>) -> Array2<f64> {
    let (weight, bias) = single(fit);
    let logits = logits(features, weight.view(), bias.view());
    // A softmax under every protocol: nothing published has sigmoids of a multinomial model.
    task.probabilities(logits, false)
}

fn params(
    options: &LogregOptions,
    path: &[Fit],
    fit: &Fit,
    on_val: Option<f64>,
) -> Map<String, Value> {
    let mut params = json!({
        "C": fit.c,
        "grid_C": options.cs,
        "select": options.select,
        "features": options.features.name(),
        "layer": options.layer,
        "solver": match options.solver {
            Solver::Lbfgs => "lbfgs",
            Solver::Linfa => "linfa",
        },
        "loss": fit.loss,
        "evaluations": fit.evaluations,
        "converged": fit.converged,
        "unconverged_C": unconverged(path),
    });
    params[format!("val_{}", options.select.measure())] = json!(on_val);
    params.as_object().cloned().unwrap_or_default()
}
