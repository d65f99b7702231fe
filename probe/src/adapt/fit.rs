//! An adaptation fitted on parts of the examples.

use std::path::PathBuf;

use cache::Split;
use ndarray::Array2;
use nn::transformer::{Network, Session};
use serde_json::json;

use super::applied::Blocks;
use super::backbone::Backbone;
use super::options::{Method, Options};
use super::residuals::Residuals;
use super::states::{self, CHOICE, Lock, TRAINING};
use super::train::{Phase, Trained, Training};
use super::{Store, memory, saved};
use crate::Error;
use crate::evaluate::{Choice, Fitted, LinearModel, Task, fields};
use crate::features::Tokens;
use crate::metrics::measures::Thresholds;
use crate::probes::linear::Loss;
use crate::scores::Scores;

/// Chooses the epoch on `val`, trains again on `parts.fit`, scores `parts.test`, and writes what was trained.
pub(super) fn fit(options: &Options, task: &Task<'_>, store: Store<'_>) -> Result<Fitted, Error> {
    common::reset_peak_rss();
    options.select.check(task)?;
    let _lock = Lock::of(store.runs, &task.identity.key)?;
    if task.parts.val.is_empty() {
        return Err(task.examples.empty_split(&[Split::Val]));
    }
    let reduction = task.settings.protocol.reduction();
    let loss = Loss::of(&task.examples.targets, task.classes(), reduction);
    let outputs = loss.outputs(task.classes());
    let backbone = Backbone::open(task.reader, store.models, options, outputs)?;
    let sizes = (options.blocks, options.batch_size);
    let residuals = Residuals::open(task.reader, task.examples, &backbone, sizes)?;
    let first = backbone.network(options, task.settings.seed)?;
    memory::check(
        task.reader,
        &backbone,
        options,
        &first,
        task.parts.fit.len(),
    )?;
    let (trainable, all) = (first.trained(), parameters(&backbone, options, &first));
    drop(first);
    let training = Training {
        task,
        options,
        residuals: &residuals,
        loss,
        store,
    };
    let files = states::files(store.runs, &task.identity.key);
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
    params.insert(measure.clone(), json!(chosen.value));
    params.insert(format!("start_{measure}"), json!(chosen.start));
    params.insert("train_loss".into(), json!(chosen.losses));
    params.insert("trainable_parameters".into(), json!(trainable));
    params.insert("parameters".into(), json!(all));
    params.insert("peak_memory_bytes".into(), json!(common::peak_rss_bytes()));
    params.insert("weights_sha256".into(), json!(backbone.weights_sha256));
    params.insert("adapter".into(), json!(folder));
    let mut head = task.head(linear(task, network), chosen.thresholds.as_ref());
    head.about.blocks = Some(Blocks {
        folder,
        options: options.clone(),
    });
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
        warnings: backbone
            .warnings
            .iter()
            .cloned()
            .chain(chosen.warnings)
            .collect(),
        head: Some(head),
        thresholds: chosen.thresholds,
    })
}

/// The head of a network. Its features are not tokens of a cache.
fn linear(task: &Task<'_>, network: &Network) -> LinearModel {
    let of = |name: &str| -> Vec<f64> {
        let mut tensors = network.parameters();
        let found = tensors.find(|tensor| tensor.name == name);
        let values = found.into_iter().flat_map(|tensor| tensor.data);
        values.copied().map(f64::from).collect()
    };
    let (weight, bias) = (of("head.weight"), of("head.bias"));
    let width = weight.len() / bias.len();
    LinearModel {
        tokens: Tokens::default(),
        columns: 0..width,
        weight: Array2::from_shape_fn((bias.len(), width), |(o, d)| weight[o * width + d]),
        bias: bias.into(),
        link: task.settings.protocol.link(),
    }
}

/// What was chosen on `val`.
struct Chosen {
    epochs: usize,
    /// The measure there.
    value: Option<f64>,
    /// The same before the first step.
    start: Option<f64>,
    /// Mean loss of each epoch.
    losses: Vec<f64>,
    thresholds: Option<Thresholds>,
    warnings: Vec<String>,
}

/// All parameters of the encoder, the head and the adapters.
fn parameters(backbone: &Backbone, options: &Options, network: &Network) -> u64 {
    let encoder = &backbone.encoder;
    let added = match options.method {
        Method::Lora => network.trained(),
        Method::Bitfit | Method::Full => (encoder.width + 1) * encoder.outputs,
    };
    backbone.parameters + added as u64
}

/// Relative change of a loss that counts as a fall.
const LEAST_FALL: f64 = 1e-4;

/// Plain words about a training that learned nothing.
fn useless(best: &Trained, measure: &str) -> Vec<String> {
    let is_above = |value: f64| best.start.is_none_or(|start| value > start);
    let measured = best
        .value
        .zip(best.start)
        .filter(|(value, _)| !is_above(*value));
    let measured = measured.map(|(value, start)| {
        format!(
            "the training did not help: {measure} on the examples that the epoch is chosen on was {start:.4} before the first step, and {value:.4} at best"
        )
    });
    let (first, later) = best.losses.split_first().unwrap_or((&0.0, &[]));
    let least = later.iter().copied().reduce(f64::min);
    let loss = least.filter(|least| *least > first * (1.0 - LEAST_FALL)).map(|least| {
        format!("the loss never fell: its mean was {first:.4} in the first epoch, and {least:.4} at the least later; try another --lr or --head-lr")
    });
    measured.into_iter().chain(loss).collect()
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
    let useless = useless(&best, options.select.measure());
    let on_test = (parts.chosen_on == Split::Test).then(|| "the epoch chosen on test".to_owned());
    let chosen = Chosen {
        epochs: best.epochs,
        value: best.value,
        start: best.start,
        losses: best.losses.clone(),
        thresholds,
        warnings: on_test.into_iter().chain(without).chain(useless).collect(),
    };
    if parts.fit == parts.train {
        return Ok((best, chosen));
    }
    drop(best);
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
