//! Cross-validation: the cases of all folds measured together.

use std::collections::BTreeSet;
use std::path::Path;

use ndarray::{Axis, concatenate};
use serde_json::{Map, Value, json};

use super::folds::Folds;
use crate::Error;
use crate::evaluate::{Evaluated, Settings, average, hash};
use crate::examples::Clusters;
use crate::metrics::bootstrap::{few_units, is_of_few_units};
use crate::metrics::measures::{Measures, Scored};
use crate::predictions::Predictions;
use crate::record::{self, RunRecord};
use crate::scores::Scores;
use crate::segment::{VolumeTable, few_patients, measures_by_volume};
use crate::targets::Targets;

/// Measures that depend on thresholds, which differ between folds: their means over folds are reported, no
/// pooled values.
const BY_THRESHOLD: [&str; 5] = [
    "f1",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
    "threshold",
];

/// Result of all folds.
#[derive(Clone, Debug)]
pub enum Pooled {
    /// Of scores.
    Scores(Box<Evaluated>),
    /// Of segmented volumes.
    Volumes(Box<RunRecord>, VolumeTable),
    /// Means over folds, of segmentations by the study's protocol: their measures count the pixels of all
    /// volumes together, which the saved tables do not hold.
    Means(Box<RunRecord>),
}

/// Key of the pooled result of evaluations with these keys.
pub fn pool_key(folds: Folds, keys: &[&str]) -> String {
    hash(&(folds.split_name(), keys))[..16].into()
}

/// Pools the results of all folds. `records` are those of each fold, in their order; of several results of a
/// fold the chosen one counts. Each case is evaluated in one fold; intervals draw patients.
///
/// # Errors
///
/// [`Error::FoldOfControl`] for a control without scores, [`Error::Fold`] if a fold has no single result with scores, and those of reading and measuring scores.
pub fn pool(
    records: &[&[RunRecord]],
    folds: Folds,
    runs: &Path,
    settings: &Settings,
) -> Result<Pooled, Error> {
    // Means over permutations are no scores.
    let mut all = records.iter().copied().flatten();
    let mean = all.find(|record| record.spread.is_some());
    if let Some(control) = mean.and_then(|record| record.control.clone()) {
        return Err(Error::FoldOfControl { control });
    }
    let chosen = (0..).zip(records).map(|(fold, records)| {
        let one = chosen(records).filter(|record| record.predictions.is_some());
        one.ok_or_else(|| Error::Fold {
            name: Folds::name(fold),
        })
    });
    let chosen: Vec<&RunRecord> = chosen.collect::<Result<_, _>>()?;
    if chosen.is_empty() {
        return Err(Error::Fold {
            name: Folds::name(0),
        });
    }
    let keys: Vec<&str> = chosen.iter().map(|record| record.key.as_str()).collect();
    let mut record = together(&chosen, folds, pool_key(folds, &keys));
    let files: Vec<_> = chosen
        .iter()
        .filter_map(|record| Some(runs.join(record.predictions.as_ref()?)))
        .collect();
    let confidence = settings.confidence.as_ref();
    if record.metrics.contains_key("dice_pooled") {
        let all: Vec<RunRecord> = chosen.into_iter().cloned().collect();
        average(&mut record, &all);
        return Ok(Pooled::Means(Box::new(record)));
    }
    if record.probe == "segment" {
        let tables = files.iter().map(|file| VolumeTable::read(file));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        same_classes(tables.iter().map(|table| &table.names))?;
        let table = VolumeTable::join(tables);
        let measures = measures_by_volume(&table, confidence)?;
        record.warnings.extend(few_patients(&table, confidence));
        record.n_test = table.volumes.len();
        measured(&mut record, measures, &chosen);
        return Ok(Pooled::Volumes(Box::new(record), table));
    }
    let tables = files.iter().map(|file| Predictions::read(file));
    let tables = tables.collect::<Result<Vec<_>, _>>()?;
    same_classes(tables.iter().map(|(_, names)| names))?;
    let (predictions, classes) = joined(tables);
    let scored = Scored::new(&predictions)?;
    let clusters = Clusters::of(&predictions.cases);
    if confidence.is_some() {
        let few = few_units(&clusters.names, clusters.word);
        record.warnings.extend(few);
    }
    let measures = scored.measures(
        &classes,
        &clusters,
        &scored.default_thresholds(),
        settings.protocol.undefined_auroc(),
        confidence,
    )?;
    record.n_test = predictions.cases.len();
    measured(&mut record, measures, &chosen);
    if record.metrics.contains_key("thresholds") {
        let names = BY_THRESHOLD.iter();
        record
            .metrics
            .retain(|name, _| !names.clone().any(|of| name.starts_with(of)));
    }
    Ok(Pooled::Scores(Box::new(Evaluated {
        record,
        predictions,
        classes,
        head: None,
    })))
}

/// Checks that the files of all folds have the same classes.
fn same_classes<'a>(names: impl Iterator<Item = &'a Vec<String>>) -> Result<(), Error> {
    let names: Vec<&Vec<String>> = names.collect();
    let other = (0..).zip(&names).find(|(_, of)| **of != names[0]);
    match other {
        None => Ok(()),
        Some((fold, _)) => Err(Error::Fold {
            name: Folds::name(fold),
        }),
    }
}

/// The chosen result of an evaluation, or its only one.
fn chosen(records: &[RunRecord]) -> Option<&RunRecord> {
    match records {
        [only] => Some(only),
        several => several.iter().find(|record| record.chosen == Some(true)),
    }
}

/// A record of all folds, without measures.
fn together(chosen: &[&RunRecord], folds: Folds, key: String) -> RunRecord {
    let of = |part: fn(&RunRecord) -> &str| -> Vec<&str> {
        chosen.iter().map(|record| part(record)).collect()
    };
    let examples = of(|record| &record.examples_sha256);
    let mut settings = chosen[0].settings.clone();
    settings.insert("split_name".into(), folds.split_name().into());
    let keep = ["unit", "measured_unit", "pool", "train"];
    let mut params = chosen[0].params.clone();
    params.retain(|name, _| keep.contains(&name.as_str()));
    let sizes: Vec<usize> = chosen.iter().map(|record| record.n_train).collect();
    params.insert("train_per_fold".into(), json!(sizes));
    params.insert(
        "setting_per_fold".into(),
        json!(of(|record| &record.setting)),
    );
    params.insert("key_per_fold".into(), json!(of(|record| &record.key)));
    // All folds together have more patients than each.
    let warnings = chosen.iter().flat_map(|record| record.warnings.clone());
    let warnings = warnings.filter(|warning| !is_of_few_units(warning));
    RunRecord {
        setting: format!("{} folds", folds.0),
        params,
        split_name: Some(folds.split_name()),
        split_sha256: None,
        examples_sha256: hash(&examples),
        settings,
        n_train: sizes.iter().sum::<usize>() / sizes.len(),
        chosen: None,
        chosen_on: None,
        warnings: warnings.collect::<BTreeSet<_>>().into_iter().collect(),
        predictions: None,
        pictures: Vec::new(),
        name: String::new(),
        head: None,
        n_test: chosen.iter().map(|record| record.n_test).sum(),
        seconds: chosen.iter().map(|record| record.seconds).sum(),
        result: 1,
        results: 1,
        key,
        // No single command makes the record, but the study does.
        command: String::new(),
        time: record::now(),
        ..chosen[0].clone()
    }
}

/// Adds the pooled measures, and those of the folds with their mean and standard deviation.
fn measured(record: &mut RunRecord, measures: Measures, chosen: &[&RunRecord]) {
    let mut folds = Map::new();
    for name in chosen[0].metrics.keys() {
        let values = chosen
            .iter()
            .map(|record| record.metrics.get(name)?.as_f64());
        if let Some(values) = values.collect::<Option<Vec<f64>>>() {
            folds.insert(name.clone(), spread(&values));
        }
    }
    record.params.insert("folds".into(), folds.into());
    (record.metrics, record.ci) = (measures.values, measures.ci);
}

/// Mean and standard deviation (n - 1) of the values of the folds.
fn spread(values: &[f64]) -> Value {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let sd = (squares / (values.len() - 1) as f64).sqrt();
    json!({"mean": mean, "sd": sd, "values": values})
}

/// The cases of all tables, which have the same classes.
fn joined(tables: Vec<(Predictions, Vec<String>)>) -> (Predictions, Vec<String>) {
    let names = tables[0].1.clone();
    let views: Vec<_> = tables
        .iter()
        .map(|(of, _)| of.scores.values.view())
        .collect();
    let values = concatenate(Axis(0), &views).unwrap_or_default();
    let single = tables.iter().map(|(of, _)| match &of.targets {
        Targets::Single(labels) => Some(labels.clone()),
        Targets::Multi(_) => None,
    });
    let targets = match single.collect::<Option<Vec<_>>>() {
        Some(labels) => Targets::Single(labels.concat()),
        None => {
            let states = tables.iter().filter_map(|(of, _)| match &of.targets {
                Targets::Multi(states) => Some(states.view()),
                Targets::Single(_) => None,
            });
            let states: Vec<_> = states.collect();
            Targets::Multi(concatenate(Axis(0), &states).unwrap_or_default())
        }
    };
    let kind = tables[0].0.scores.kind;
    let cases = tables.into_iter().flat_map(|(of, _)| of.cases).collect();
    let predictions = Predictions {
        scores: Scores { values, kind },
        targets,
        cases,
    };
    (predictions, names)
}
