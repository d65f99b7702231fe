//! From a cache to run records.
//!
//! All probes follow the same steps: [`Examples`] are read and divided into `Parts`, a `Probe` is fitted
//! on them and scores the last part, and the scores are measured.

mod choose;
mod compare;
mod few_shot;
mod fitted;
mod identity;
mod pairs;
mod parts;
mod permuted;
mod predict;
mod probe;
mod select;
mod settings;
mod task;

use std::time::Instant;

use cache::CacheReader;
use serde_json::{Map, Value};

pub(crate) use self::choose::{Grid, LinearModel, Report, choose};
pub use self::compare::{Comparison, compare};
pub(crate) use self::few_shot::{Draw, FewShot, equidistant, few_shot, spread};
use self::fitted::chosen;
pub(crate) use self::fitted::{Choice, Fitted, best};
pub use self::identity::{EVALUATION_VERSION, Identity};
pub(crate) use self::identity::{NOTHING_CHOSEN, hash, no_effect};
pub use self::pairs::{Pair, Pairs};
pub(crate) use self::pairs::{flatten, short};
pub(crate) use self::parts::Parts;
use self::permuted::permuted;
pub use self::predict::predict;
pub(crate) use self::probe::{Evaluate, Probe, VAL_SHARE, fields};
pub(crate) use self::select::Select;
pub use self::settings::Settings;
pub(crate) use self::task::Task;
use crate::Error;
use crate::control::Control;
use crate::examples::Examples;
use crate::head::SavedHead;
use crate::predictions::Predictions;
use crate::record::{self, RunRecord};

/// Warning that `--val-share` has no effect.
pub(crate) const IDLE_SHARE: &str = "--val-share has no effect: the dataset has a `val`";

/// Result of one setting of a probe.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Record of the result.
    pub record: RunRecord,
    /// Scores that were measured.
    pub predictions: Predictions,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The head, if the probe has one.
    pub head: Option<SavedHead>,
}

/// Evaluates a probe on a cache: one result per reported setting, or one result of all permutations of
/// the labels.
///
/// # Errors
///
/// Those of [`Examples::read`] and [`Probe::fit`], [`Error::EmptySplit`] if a part is empty, and
/// [`Error::OneClass`].
pub(crate) fn evaluate<P: Probe>(
    reader: &CacheReader,
    probe: &P,
    settings: &Settings,
) -> Result<Vec<Evaluated>, Error> {
    let start = Instant::now();
    let identity = settings.of_probe(reader, probe, None)?;
    let mut examples = settings.examples(reader, probe)?;
    let mut evaluated = match settings.control {
        Some(Control::ShuffledLabels { permutations }) => {
            let bare = settings.without_intervals();
            vec![permuted(
                &mut examples,
                settings,
                permutations,
                |examples| {
                    let (task, fitted) = whole(reader, probe, &bare, &identity, examples)?;
                    task.evaluated(P::NAME, chosen(fitted), None)
                },
            )?]
        }
        _ => {
            let (task, fitted) = whole(reader, probe, settings, &identity, &examples)?;
            let confidence = settings.confidence.as_ref();
            let fitted = fitted.into_iter();
            let evaluated = fitted.map(|one| task.evaluated(P::NAME, one, confidence));
            evaluated.collect::<Result<_, Error>>()?
        }
    };
    for evaluated in &mut evaluated {
        evaluated.record.seconds = start.elapsed().as_secs_f64();
    }
    Ok(evaluated)
}

/// Fits a probe on whole splits.
fn whole<'a, P: Probe>(
    reader: &'a CacheReader,
    probe: &P,
    settings: &'a Settings,
    identity: &'a Identity,
    examples: &'a Examples,
) -> Result<(Task<'a>, Vec<Fitted>), Error> {
    let task = Task {
        reader,
        settings,
        identity,
        examples,
        parts: Parts::whole(examples, settings)?,
    };
    task.check()?;
    let mut fitted = probe.fit(&task)?;
    let warnings = task.lint();
    for fitted in &mut fitted {
        fitted.warnings.extend(warnings.iter().cloned());
    }
    Ok((task, fitted))
}

/// Parameters of a record, with the kind of the examples and of the measured cases.
fn with_examples(
    mut params: Map<String, Value>,
    examples: &Examples,
    settings: &Settings,
) -> Map<String, Value> {
    let unit = examples.unit.name();
    let measured = if settings.per_patient {
        examples.cluster_word()
    } else {
        unit
    };
    params.insert("unit".into(), unit.into());
    params.insert("measured_unit".into(), measured.into());
    params.insert("pool".into(), settings.pool().name().into());
    if let Some(held_out) = &examples.held_out {
        params.insert("val_from_train".into(), held_out.to_json());
    }
    params
}

/// A record with the fields that are known before a probe is fitted.
pub(crate) fn blank(reader: &CacheReader, settings: &Settings, identity: &Identity) -> RunRecord {
    let meta = reader.meta();
    RunRecord {
        dataset: meta.dataset.clone(),
        model: meta.model.name.clone(),
        image_size: meta.image_size,
        probe: String::new(),
        protocol: settings.protocol.name().into(),
        setting: String::new(),
        params: Map::new(),
        control: settings.control.map(|control| control.name().into()),
        seed: settings.seed,
        split: settings.eval.name().into(),
        split_name: settings.split_name.clone(),
        split_sha256: identity.split_sha256.clone(),
        examples_sha256: identity.examples_sha256.clone(),
        settings: identity.settings.clone(),
        n_train: 0,
        n_test: 0,
        per_patient: settings.per_patient,
        chosen: None,
        chosen_on: None,
        metrics: Map::new(),
        ci: None,
        spread: None,
        warnings: Vec::new(),
        predictions: None,
        head: None,
        seconds: 0.0,
        peak_rss_bytes: common::peak_rss_bytes(),
        result: 1,
        results: 1,
        key: identity.key.clone(),
        evaluation_version: EVALUATION_VERSION,
        cache_sha256: reader.sha256().into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        time: record::now(),
    }
}
