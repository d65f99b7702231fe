//! Application of a trained head to another cache.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use cache::CacheReader;
use serde_json::{Map, Value, json};

use super::evaluated::{Evaluated, blank, with_examples};
use super::settings::Settings;
use crate::Error;
use crate::adapt::Folders;
use crate::examples::{Case, Clusters, Examples, Selection};
use crate::head::{About, SavedHead};
use crate::metrics::bootstrap::few_units;
use crate::metrics::measures::{Measures, Scored, Thresholds};
use crate::origin::{Mismatch, Part};
use crate::predictions::Predictions;
use crate::record::RunRecord;
use crate::targets::Targets;

/// Applies a head from `file`, by blocks in `folders` if it was trained with some, to the examples of a cache, labelled or not: to those of the evaluated
/// split, or to all. If the cache has the classes of the head, labelled examples are also measured, by
/// the protocol of the head.
///
/// # Errors
///
/// [`Error::HeadTokens`] if the cache's tokens are of another backbone or recipe,
/// [`Error::HeadWidth`], [`Error::EmptySplit`], and [`Error::Cache`] if the cache cannot be read; for trained blocks also
/// those of [`adapt::evaluate`](crate::adapt::evaluate) about tokens and weights.
pub fn predict(
    reader: &CacheReader,
    (head, file): (&SavedHead, &Path),
    settings: &Settings,
    part: Part,
    (mismatch, folders): (Mismatch, Folders<'_>),
) -> Result<Evaluated, Error> {
    let start = Instant::now();
    let identity = settings.of_head(reader, (head, file), part)?;
    let about = &head.about;
    let mut warnings = about.origin.check(reader, mismatch)?;
    let selection = Selection {
        labelled: false,
        protocol: about.protocol,
        ..settings.selection(about.stored())
    };
    let examples = Examples::read(reader, &selection)?;
    let rows = match part {
        Part::All => (0..examples.cases.len()).collect(),
        Part::Split => examples.part(&[settings.eval])?,
    };
    let has_classes = examples.classes == about.classes;
    let all = applied(reader, head, (&examples, &rows), folders)?;
    let is_labelled = |&row: &usize| has_classes && examples.is_labelled[row];
    let is_labelled: Vec<bool> = rows.iter().map(is_labelled).collect();
    let known = known(&all, &is_labelled, about.is_single_label);
    warnings.extend(if examples.classes.is_empty() {
        Some("the dataset has no labels: nothing measured".to_owned())
    } else {
        coverage(has_classes, known.len(), all.cases.len())
    });
    let evaluated = all.cases.iter().map(Case::who);
    warnings.extend(about.origin.overlap(reader, evaluated));
    let mut labelled = labelled(&all, &known, about.is_single_label);
    let mut predictions = all;
    if settings.per_patient {
        labelled = labelled.map(|cases| cases.per_patient()).transpose()?;
        predictions = of_patients(&predictions, &known)?;
    }
    let measures = match &labelled {
        Some(labelled) => measured(labelled, about, settings, &mut warnings)?,
        None => Measures::default(),
    };
    let params = params(about, file, predictions.cases.len());
    let mut record = RunRecord {
        probe: "predict".into(),
        setting: format!("head of {}", about.origin.dataset),
        params: with_examples(params, &examples, settings),
        n_test: labelled.map_or(0, |labelled| labelled.cases.len()),
        metrics: measures.values,
        ci: measures.ci,
        warnings,
        seconds: start.elapsed().as_secs_f64(),
        ..blank(reader, settings, &identity)
    };
    if part == Part::All {
        record.split = "all".into();
    }
    Ok(Evaluated {
        record,
        predictions,
        classes: about.classes.clone(),
        head: None,
    })
}

/// Scores of some examples, with the known targets of the classes of the head.
fn applied(
    reader: &CacheReader,
    head: &SavedHead,
    (examples, rows): (&Examples, &[usize]),
    folders: Folders<'_>,
) -> Result<Predictions, Error> {
    let classes = &head.about.classes;
    let targets = match examples.truth(rows) {
        known @ Targets::Multi(_) if examples.classes == *classes => known,
        _ => Targets::unknown(rows.len(), classes.len()),
    };
    Ok(Predictions {
        scores: head.scores(reader, examples, rows, folders)?,
        targets,
        cases: examples.cases(rows),
    })
}

fn params(about: &About, file: &Path, scored: usize) -> Map<String, Value> {
    Map::from_iter([
        ("head".to_owned(), json!(file.display().to_string())),
        ("trained_on".to_owned(), json!(about.origin.dataset)),
        ("scored".to_owned(), json!(scored)),
    ])
}

/// Indices of the labelled cases with known targets. If classes are exclusive, the target of a case of
/// several classes (a volume whose slices differ) is not known.
fn known(predictions: &Predictions, is_labelled: &[bool], is_single_label: bool) -> Vec<usize> {
    let Targets::Multi(states) = &predictions.targets else {
        return Vec::new();
    };
    let present = |case: usize| states.row(case).iter().flatten().filter(|&&is| is).count();
    let is_known = |&case: &usize| is_labelled[case] && (!is_single_label || present(case) == 1);
    (0..states.nrows()).filter(is_known).collect()
}

/// The `known` cases; `None` if there is none.
fn labelled(
    predictions: &Predictions,
    known: &[usize],
    is_single_label: bool,
) -> Option<Predictions> {
    let labelled = predictions.part(known);
    let targets = if is_single_label {
        labelled.targets.exclusive()?
    } else {
        labelled.targets
    };
    (!known.is_empty()).then_some(Predictions {
        targets,
        ..labelled
    })
}

/// One case per patient: the mean over its `known` cases, as when the head was trained, or over all of
/// its cases if none is known.
fn of_patients(predictions: &Predictions, known: &[usize]) -> Result<Predictions, Error> {
    let cases = &predictions.cases;
    let measured: BTreeSet<&str> = known.iter().map(|&case| cases[case].cluster()).collect();
    let others = (0..cases.len()).filter(|&case| !measured.contains(cases[case].cluster()));
    let part: Vec<usize> = known.iter().copied().chain(others).collect();
    predictions.part(&part).per_patient()
}

fn measured(
    labelled: &Predictions,
    about: &About,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<Measures, Error> {
    let scored = Scored::new(labelled)?;
    let thresholds = match &about.thresholds {
        Some(values) if values.len() == scored.classes.len() => Thresholds {
            rule: "val-f1",
            values: values.clone(),
        },
        _ => scored.default_thresholds(),
    };
    let clusters = Clusters::of(&labelled.cases);
    let undefined = about.protocol.undefined_auroc();
    let confidence = settings.confidence.as_ref();
    if confidence.is_some() {
        warnings.extend(few_units(&clusters.names, clusters.word));
    }
    scored.measures(
        &about.classes,
        &clusters,
        &thresholds,
        undefined,
        confidence,
    )
}

/// Warning if not all cases are measured.
fn coverage(has_classes: bool, measured: usize, all: usize) -> Option<String> {
    match (has_classes, measured) {
        (false, _) => {
            Some("the dataset has other classes than the head: nothing measured".to_owned())
        }
        (true, 0) => Some("no example is labelled: nothing measured".to_owned()),
        (true, measured) if measured < all => Some(format!(
            "{measured} of {all} examples are labelled and measured"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;
    use crate::scores::Scores;

    #[test]
    fn a_volume_of_several_exclusive_classes_leaves_the_others_measured() {
        let (yes, no) = (Some(true), Some(false));
        let case = |number: usize| Case {
            sample: number.to_string(),
            slice: None,
            patient: None,
            split: None,
        };
        let predictions = Predictions {
            scores: Scores::probabilities(Array2::zeros((4, 2))),
            targets: Targets::Multi(array![[yes, no], [yes, yes], [None, None], [no, yes]]),
            cases: (0..4).map(case).collect(),
        };
        let of = |is_single_label| {
            let known = known(&predictions, &[true, true, false, true], is_single_label);
            labelled(&predictions, &known, is_single_label).unwrap()
        };
        let found = of(true);
        assert_eq!(found.targets, Targets::Single(vec![0, 1]));
        assert_eq!(found.cases, [case(0), case(3)]);
        assert_eq!(of(false).cases.len(), 3);
    }
}
