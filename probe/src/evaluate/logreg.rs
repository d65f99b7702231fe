//! Logistic regression.

use cache::Split;
use half::f16;
use ndarray::{Array1, Array2, ArrayView2};
use serde_json::{Map, Value, json};

use super::fitted::best;
use super::{Choice, Features, Fitted, Task};
use crate::Error;
use crate::head::SavedHead;
use crate::metrics::measures::Scored;
use crate::probes::linear::logits;
use crate::probes::logreg::{self, Data, Fit, Solver};

/// How logistic regression is fitted and chosen.
#[derive(Clone, Debug)]
pub struct LogregOptions {
    /// Inverses of the penalty's strength; the best on `val` is taken.
    pub cs: Vec<f64>,
    /// Which tokens are seen.
    pub features: Features,
    /// The block whose tokens are used, 1 for the last.
    pub layer: u32,
    /// Who minimises.
    pub solver: Solver,
}

/// Fits the path of penalties on the first part, chooses the one with the best macro AUROC on the
/// second (of equal ones the first), fits it anew on the third, and scores the last with it.
pub(super) fn fit(task: &Task<'_>, options: &LogregOptions) -> Result<Fitted, Error> {
    let parts = &task.parts;
    if parts.val.is_empty() {
        task.examples.part(&[Split::Val])?;
    }
    let path = solved(task, &parts.train, &options.cs, options.solver)?;
    let features = task.examples.plain(&parts.val);
    let scored = path
        .iter()
        .map(|fit| task.scored(&parts.val, scores(task, fit, features.view())));
    let scored = scored.collect::<Result<Vec<Scored>, Error>>()?;
    let undefined = task.settings.protocol.undefined_auroc();
    let aurocs: Vec<_> = scored.iter().map(|s| s.auroc_macro(undefined)).collect();
    let chosen = best(&aurocs).ok_or_else(|| Error::NoChoice {
        path: task.reader.dir().into(),
    })?;
    let fit = match parts.fit == parts.train {
        true => path[chosen].clone(),
        false => solved(task, &parts.fit, &[options.cs[chosen]], options.solver)?.remove(0),
    };
    let on = parts.chosen_on;
    let thresholds = (on == Split::Val).then(|| scored[chosen].best_thresholds());
    let (weight, bias) = single(&fit);
    let tokens = options.features.tokens(options.layer);
    let mut warnings = Vec::new();
    if on == Split::Test {
        warnings.push("C chosen on test".into());
    }
    if !fit.converged {
        warnings.push("the minimum was not reached".into());
    }
    Ok(Fitted {
        setting: format!("C={:.3e}", fit.c),
        params: params(options, &fit, aurocs[chosen]),
        scores: scores(task, &fit, task.examples.plain(&parts.test).view()),
        n_train: parts.fit.len(),
        choice: Some(Choice {
            is_chosen: true,
            on,
        }),
        warnings,
        head: Some(SavedHead::of(
            task,
            tokens,
            &weight,
            &bias,
            thresholds.as_ref(),
        )),
        thresholds,
    })
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
    task.probabilities(logits.view())
}

fn params(options: &LogregOptions, fit: &Fit, on_val: Option<f64>) -> Map<String, Value> {
    let params = json!({
        "C": fit.c,
        "grid_C": options.cs,
        "val_auroc_macro": on_val,
        "features": options.features.name(),
        "layer": options.layer,
        "solver": match options.solver {
            Solver::Lbfgs => "lbfgs",
            Solver::Linfa => "linfa",
        },
        "loss": fit.loss,
        "evaluations": fit.evaluations,
    });
    params.as_object().cloned().unwrap_or_default()
}
