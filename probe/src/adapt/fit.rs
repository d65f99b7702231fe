//! An adaptation fitted on parts of the examples.

use std::path::{Path, PathBuf};

use cache::Split;
use nn::transformer::{Network, Session};
use serde_json::json;

use super::backbone::Backbone;
use super::options::Options;
use super::residuals::Residuals;
use super::train::{Phase, Trained, Training};
use super::{Store, saved};
use crate::Error;
use crate::evaluate::{Choice, Fitted, Task, fields};
use crate::metrics::measures::Thresholds;
use crate::probes::linear::Loss;
use crate::scores::Scores;

/// The training by which the epoch is chosen.
const CHOICE: &str = "choice";
/// The training of the network that is measured.
const TRAINING: &str = "training";

/// The files of the states of both trainings of the evaluation `key`, in the folder of run records `runs`.
pub(super) fn states(runs: &Path, key: &str) -> [PathBuf; 2] {
    [CHOICE, TRAINING].map(|phase| runs.join(format!("training/adapt-{key}-{phase}.safetensors")))
}

/// Chooses the epoch on `val`, trains again on `parts.fit`, scores `parts.test`, and writes what was trained.
pub(super) fn fit(options: &Options, task: &Task<'_>, store: Store<'_>) -> Result<Fitted, Error> {
    options.select.check(task)?;
    if task.parts.val.is_empty() {
        return Err(task.examples.empty_split(&[Split::Val]));
    }
    let reduction = task.settings.protocol.reduction();
    let loss = Loss::of(&task.examples.targets, task.classes(), reduction);
    let outputs = loss.outputs(task.classes());
    let backbone = Backbone::open(task.reader, store.models, options, outputs)?;
    let sizes = (options.blocks, options.batch_size);
    let residuals = Residuals::open(task.reader, task.examples, &backbone.encoder, sizes)?;
    let training = Training {
        task,
        options,
        residuals: &residuals,
        loss,
        store,
    };
    let files = states(store.runs, &task.identity.key);
    let (trained, chosen) = train(&training, &backbone, &files)?;
    let parts = (&trained.network, &trained.session);
    let test = scores(
        &training,
        parts,
        &task.parts.test,
        (TRAINING, chosen.epochs),
    )?;
    let folder = format!("adapters/adapt-{}", task.identity.key);
    let network = &trained.network;
    saved::write(&store.runs.join(&folder), &backbone, options, task, network)?;
    let mut params = fields(options);
    let measure = format!("val_{}", options.select.measure());
    params.insert("best_epoch".into(), json!(chosen.epochs));
    params.insert(measure, json!(chosen.value));
    params.insert("trained_parameters".into(), json!(network.trained()));
    params.insert("weights_sha256".into(), json!(backbone.weights_sha256));
    params.insert("adapter".into(), json!(folder));
    let (method, blocks, epochs) = (options.method.name(), options.blocks, chosen.epochs);
    Ok(Fitted {
        setting: format!("{method} blocks={blocks} epoch={epochs}"),
        params,
        scores: test,
        n_train: task.parts.fit.len(),
        choice: Some(Choice {
            is_chosen: true,
            on: task.parts.chosen_on,
        }),
        warnings: chosen.warnings,
        head: None,
        thresholds: chosen.thresholds,
    })
}

/// What was chosen on `val`.
struct Chosen {
    epochs: usize,
    /// The measure there.
    value: Option<f64>,
    thresholds: Option<Thresholds>,
    warnings: Vec<String>,
}

/// Chooses the epoch, and trains again on `parts.fit`; `files` are the states of both trainings.
fn train(
    training: &Training<'_>,
    backbone: &Backbone,
    files: &[PathBuf; 2],
) -> Result<(Trained, Chosen), Error> {
    let (task, options) = (training.task, training.options);
    let (parts, seed) = (&task.parts, task.settings.seed);
    let best = training.run(
        backbone.network(options, seed)?,
        &Phase {
            name: CHOICE,
            checkpoint: &files[0],
            part: &parts.train,
            is_watched: true,
            epochs: options.epochs,
        },
    )?;
    let at = (CHOICE, best.epochs);
    let on_val = scores(training, (&best.network, &best.session), &parts.val, at)?;
    let on_val = task.scored(&parts.val, on_val)?;
    let (thresholds, without) = match parts.chosen_on {
        Split::Val => task.thresholds(&on_val),
        _ => (None, None),
    };
    let on_test = (parts.chosen_on == Split::Test).then(|| "the epoch chosen on test".to_owned());
    let chosen = Chosen {
        epochs: best.epochs,
        value: best.value,
        thresholds,
        warnings: on_test.into_iter().chain(without).collect(),
    };
    if parts.fit == parts.train {
        return Ok((best, chosen));
    }
    let trained = training.run(
        backbone.network(options, seed)?,
        &Phase {
            name: TRAINING,
            checkpoint: &files[1],
            part: &parts.fit,
            is_watched: false,
            epochs: chosen.epochs,
        },
    )?;
    Ok((trained, chosen))
}

/// Scores of a part of the examples, by their plain views, in a phase after an epoch.
pub(super) fn scores(
    training: &Training<'_>,
    (network, session): (&Network, &Session),
    part: &[usize],
    (phase, epoch): (&'static str, usize),
) -> Result<Scores, Error> {
    let task = training.task;
    let rows: Vec<usize> = part
        .iter()
        .map(|&example| task.examples.rows[example][0])
        .collect();
    let outputs = training.loss.outputs(task.classes());
    let logits = training
        .residuals
        .logits(network, session, &rows, outputs)?;
    if logits.iter().any(|logit| !logit.is_finite()) {
        return Err(training.diverged(phase, epoch));
    }
    let link = task.settings.protocol.link();
    Ok(link.scores(logits, task.is_single_label(), task.classes()))
}
