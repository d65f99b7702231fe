//! From a cache to run records.
//!
//! Every probe goes the same way: [`Examples`] are read, cut into `Parts`, a [`Probe`] is fitted on
//! them and scores the last part, and the scores are measured.

mod centroid;
mod compare;
mod few_shot;
mod fitted;
mod identity;
mod knn;
mod linear;
mod logreg;
mod pairs;
mod parts;
mod permuted;
mod predict;
mod select;
mod task;

use std::time::Instant;

use cache::{CacheReader, Split};
use serde::Serialize;
use serde_json::{Map, Value};

pub use self::centroid::CentroidOptions;
pub use self::compare::{Comparison, compare};
pub use self::few_shot::{Draw, FewShot, few_shot};
pub(crate) use self::few_shot::{equidistant, spread};
use self::fitted::chosen;
pub(crate) use self::fitted::{Choice, Fitted};
pub use self::identity::{EVALUATION_VERSION, Identity};
pub(crate) use self::identity::{NOTHING_CHOSEN, hash};
pub use self::knn::{Features, IndexKind, KnnOptions};
pub use self::linear::LinearOptions;
pub use self::logreg::LogregOptions;
pub use self::pairs::{Pair, Pairs};
pub(crate) use self::pairs::{flatten, short};
pub(crate) use self::parts::Parts;
use self::permuted::permuted;
pub use self::predict::predict;
pub use self::select::Select;
pub(crate) use self::task::Task;
use crate::Error;
use crate::control::Control;
use crate::examples::{Examples, Pool, Selection, Tokens, Unit};
use crate::head::SavedHead;
use crate::metrics::measures::Confidence;
use crate::predictions::Predictions;
use crate::protocol::Protocol;
use crate::record::{self, RunRecord};

/// The share of the patients in `train` that is chosen on where a dataset has no `val`.
pub const VAL_SHARE: f64 = 0.2;

/// A warning where that share is given in vain.
pub(crate) const IDLE_SHARE: &str = "--val-share has no effect: the dataset has a `val`";

/// A kind of probe with its own options.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "probe", rename_all = "kebab-case")]
pub enum Probe {
    /// Nearest neighbours.
    Knn(KnnOptions),
    /// A grid of linear heads, trained by gradient descent.
    Linear(LinearOptions),
    /// Logistic regression with an L2 penalty.
    Logreg(LogregOptions),
    /// The nearest centroid.
    Centroid(CentroidOptions),
}

/// What all probes have in common.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// The rules.
    pub protocol: Protocol,
    /// What an example is; found from the labels if `None`.
    pub unit: Option<Unit>,
    /// How slices become volumes, where they do: [`Pool::Mean`] if `None`.
    pub pool: Option<Pool>,
    /// The name of the split of the samples; `None` for that of the extraction.
    pub split_name: Option<String>,
    /// Splits that the probe that is evaluated is fitted on.
    pub fit: Vec<Split>,
    /// The split to evaluate.
    pub eval: Split,
    /// The share of the patients in `train` that hyper-parameters are chosen on where a dataset has no
    /// `val`; that of the probe if `None`.
    pub val_share: Option<f64>,
    /// What is put in the place of features or labels.
    pub control: Option<Control>,
    /// What everything random begins with.
    pub seed: u64,
    /// How intervals are found, if at all.
    pub confidence: Option<Confidence>,
    /// Whether a patient's cases are measured as one.
    pub per_patient: bool,
}

/// One setting of a probe, evaluated.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// What came out.
    pub record: RunRecord,
    /// The scores behind it.
    pub predictions: Predictions,
    /// Names of the classes that are scored.
    pub classes: Vec<String>,
    /// The head, if the probe has one.
    pub head: Option<SavedHead>,
}

impl Probe {
    /// The word for it in records and on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Probe::Knn(_) => "knn",
            Probe::Linear(_) => "linear",
            Probe::Logreg(_) => "logreg",
            Probe::Centroid(_) => "centroid",
        }
    }

    /// Whether something is chosen: a setting, or thresholds.
    fn chooses(&self) -> bool {
        !matches!(self, Probe::Centroid(_))
    }

    /// The share of the patients in `train` that a probe is chosen on where a dataset has no `val`:
    /// DINOv2's for logistic regression.
    pub fn val_share(&self) -> f64 {
        match self {
            Probe::Logreg(_) => 0.1,
            Probe::Knn(_) | Probe::Linear(_) | Probe::Centroid(_) => VAL_SHARE,
        }
    }

    fn tokens(&self) -> Tokens {
        match self {
            Probe::Knn(options) => options.features.tokens(options.layer),
            Probe::Linear(options) => options.tokens(),
            Probe::Logreg(options) => options.features.tokens(options.layer),
            Probe::Centroid(options) => options.features.tokens(options.layer),
        }
    }

    /// One result per setting that is reported.
    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        match self {
            Probe::Knn(options) => knn::fit(task, options),
            Probe::Linear(options) => linear::fit(task, options).map(|fitted| vec![fitted]),
            Probe::Logreg(options) => logreg::fit(task, options).map(|fitted| vec![fitted]),
            Probe::Centroid(options) => Ok(vec![centroid::fit(task, options)]),
        }
    }
}

impl Settings {
    /// Reads what a probe is fitted on and evaluated on. Where there is no `val` to choose on, a part of
    /// `train` takes its place, if the protocol says so.
    fn examples(&self, reader: &CacheReader, probe: &Probe) -> Result<Examples, Error> {
        let mut examples = Examples::read(reader, &self.selection(probe.tokens()))?;
        let lacks_val = self.eval == Split::Test && examples.of(&[Split::Val]).is_empty();
        if lacks_val && self.protocol.holds_out() && probe.chooses() {
            let share = self.val_share.unwrap_or(probe.val_share());
            examples.hold_out(share, self.seed);
        }
        Ok(examples)
    }

    fn selection(&self, tokens: Tokens) -> Selection {
        Selection {
            tokens,
            unit: self.unit,
            pool: self.pool(),
            split: self.split_name.clone(),
            protocol: self.protocol,
            labelled: true,
            control: self.control.map(|control| (control, self.seed)),
        }
    }

    /// How slices become volumes.
    pub(crate) fn pool(&self) -> Pool {
        self.pool.unwrap_or(Pool::Mean)
    }

    /// The same without intervals, for results of which the spread is reported.
    fn without_intervals(&self) -> Settings {
        Settings {
            confidence: None,
            ..self.clone()
        }
    }
}

/// Evaluates a probe on a cache: a result per setting that it reports, in their order; with shuffled
/// labels, one result of all orders.
///
/// # Errors
///
/// What [`Examples::read`] gives, [`Error::EmptySplit`] if a part is empty, [`Error::OneClass`], and
/// what the probe's own options lead to.
pub fn evaluate(
    reader: &CacheReader,
    probe: &Probe,
    settings: &Settings,
) -> Result<Vec<Evaluated>, Error> {
    let start = Instant::now();
    let identity = settings.of_probe(reader, probe)?;
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
                    task.evaluated(probe.name(), chosen(fitted), None)
                },
            )?]
        }
        _ => {
            let (task, fitted) = whole(reader, probe, settings, &identity, &examples)?;
            let confidence = settings.confidence.as_ref();
            let fitted = fitted.into_iter();
            let evaluated = fitted.map(|one| task.evaluated(probe.name(), one, confidence));
            evaluated.collect::<Result<_, Error>>()?
        }
    };
    for evaluated in &mut evaluated {
        evaluated.record.seconds = start.elapsed().as_secs_f64();
    }
    Ok(evaluated)
}

/// Fits a probe on whole splits.
fn whole<'a>(
    reader: &'a CacheReader,
    probe: &Probe,
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

/// Parameters, and what the examples and the measured cases are.
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

/// A record of what is known before anything is fitted.
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
