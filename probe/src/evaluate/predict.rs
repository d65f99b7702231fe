//! What a trained head says of another cache.

use std::path::Path;
use std::time::Instant;

use cache::CacheReader;
use serde_json::{Map, Value, json};

use super::{Evaluated, Settings, blank, with_examples};
use crate::Error;
use crate::examples::{Case, Examples, Selection};
use crate::head::{About, SavedHead};
use crate::metrics::measures::{Measures, Scored, Thresholds};
use crate::predictions::Predictions;
use crate::record::RunRecord;
use crate::targets::Targets;

/// Applies a head out of `file` to the examples of a cache, labelled or not: to those of the split to
/// evaluate, or to `all`. Where the cache has the head's classes,
/// what is labelled is measured too.
///
/// # Errors
///
/// [`Error::HeadModel`] if the cache is of another backbone, [`Error::HeadWidth`],
/// [`Error::EmptySplit`], and [`Error::Cache`] if the cache cannot be read.
pub fn predict(
    reader: &CacheReader,
    head: &SavedHead,
    file: &Path,
    settings: &Settings,
    all: bool,
) -> Result<Evaluated, Error> {
    let start = Instant::now();
    let about = &head.about;
    check_backbone(reader, &about.model)?;
    let selection = Selection {
        labelled: false,
        ..settings.selection(about.tokens.clone())
    };
    let examples = Examples::read(reader, &selection)?;
    let part = match all {
        true => (0..examples.cases.len()).collect(),
        false => examples.part(&[settings.eval])?,
    };
    let has_classes = examples.classes == about.classes;
    let targets = match examples.truth(&part) {
        known @ Targets::Multi(_) if has_classes => known,
        _ => Targets::unknown(part.len(), about.classes.len()),
    };
    let mut predictions = Predictions {
        scores: head.scores(reader, &examples, &part)?,
        targets,
        cases: examples.cases(&part),
    };
    if settings.per_patient {
        predictions = predictions.per_patient()?;
    }
    let labelled = labelled(&predictions, about.is_single_label);
    let measures = match &labelled {
        Some(labelled) => measured(labelled, about, settings)?,
        None => Measures {
            values: Map::new(),
            ci: None,
        },
    };
    let mut record = RunRecord {
        probe: "predict".into(),
        setting: format!("head of {}", about.dataset),
        params: with_examples(params(about, file), &examples, settings),
        n_test: predictions.cases.len(),
        metrics: measures.values,
        ci: measures.ci,
        warnings: warnings(has_classes, labelled.as_ref(), predictions.cases.len()),
        seconds: start.elapsed().as_secs_f64(),
        key: settings.key(reader, &(head, all))?,
        ..blank(reader, settings, examples.split_sha256.clone())
    };
    if all {
        record.split = "all".into();
    }
    Ok(Evaluated {
        record,
        predictions,
        classes: about.classes.clone(),
        head: None,
    })
}

/// Whether the cache is of the backbone whose tokens a head was trained on.
pub(crate) fn check_backbone(reader: &CacheReader, model: &str) -> Result<(), Error> {
    let found = &reader.meta().model.name;
    match found == model {
        true => Ok(()),
        false => Err(Error::HeadModel {
            path: reader.dir().into(),
            found: found.clone(),
            expected: model.into(),
        }),
    }
}

fn params(about: &About, file: &Path) -> Map<String, Value> {
    Map::from_iter([
        ("head".to_owned(), json!(file.display().to_string())),
        ("trained_on".to_owned(), json!(about.dataset)),
    ])
}

/// The cases of which something is known; `None` if there is none.
fn labelled(predictions: &Predictions, is_single_label: bool) -> Option<Predictions> {
    let Targets::Multi(states) = &predictions.targets else {
        return None;
    };
    let is_known = |&case: &usize| states.row(case).iter().any(Option::is_some);
    let known: Vec<usize> = (0..states.nrows()).filter(is_known).collect();
    let targets = predictions.targets.select(&known);
    let targets = match is_single_label {
        true => targets.exclusive()?,
        false => targets,
    };
    let cases: Vec<Case> = known
        .iter()
        .map(|&c| predictions.cases[c].clone())
        .collect();
    (!cases.is_empty()).then(|| Predictions {
        scores: predictions.scores.select(ndarray::Axis(0), &known),
        targets,
        cases,
    })
}

fn measured(labelled: &Predictions, about: &About, settings: &Settings) -> Result<Measures, Error> {
    let scored = Scored::new(labelled)?;
    let thresholds = match &about.thresholds {
        Some(values) if values.len() == scored.classes.len() => Thresholds {
            rule: "val-f1",
            values: values.clone(),
        },
        _ => scored.half(),
    };
    let clusters: Vec<&str> = labelled.cases.iter().map(Case::cluster).collect();
    let undefined = about.protocol.undefined_auroc();
    let confidence = settings.confidence.as_ref();
    scored.measures(
        &about.classes,
        &clusters,
        &thresholds,
        undefined,
        confidence,
    )
}

fn warnings(has_classes: bool, labelled: Option<&Predictions>, all: usize) -> Vec<String> {
    let measured = labelled.map_or(0, |labelled| labelled.cases.len());
    match (has_classes, measured) {
        (false, _) => vec!["the dataset has other classes than the head: nothing measured".into()],
        (true, 0) => vec!["no example is labelled: nothing measured".into()],
        (true, measured) if measured < all => {
            vec![format!(
                "{measured} of {all} examples are labelled and measured"
            )]
        }
        _ => Vec::new(),
    }
}
