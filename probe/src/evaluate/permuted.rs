//! The control with shuffled labels: a permutation test of a probe.

use std::collections::BTreeMap;

use cache::Split;
use common::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Map, Value, json};

use super::average::spread;
use super::evaluated::Evaluated;
use super::fitted::ROUNDING;
use super::settings::Settings;
use crate::Error;
use crate::examples::Examples;
use crate::progress::Steps;
use crate::targets::Targets;

/// Evaluates with the true labels, and with `permutations` random orders of the labels of all splits. Those
/// of the evaluated split are permuted too: else a probe that orders the cases correctly by chance would
/// reach the result of the true labels. The record has the means and standard deviations over permutations,
/// and the p-value of the macro AUROC of the true labels,
/// `(1 + #(permuted >= true)) / (1 + permutations)` (Ojala and Garriga 2010).
///
/// # Errors
///
/// Those of `evaluate`.
pub(super) fn permuted(
    examples: &mut Examples,
    settings: &Settings,
    permutations: usize,
    steps: &Steps<'_>,
    evaluate: impl Fn(&Examples, &Steps<'_>) -> Result<Evaluated, Error>,
) -> Result<Evaluated, Error> {
    let mut evaluated = evaluate(examples, &steps.of("true labels"))?;
    let (mut metrics, mut chosen) = (Vec::new(), Vec::new());
    for number in 0..permutations as u64 {
        let permuted = shuffled(examples, settings.seed, number);
        let targets = std::mem::replace(&mut examples.targets, permuted);
        let part = format!("permutation {} of {permutations}", number + 1);
        let found = evaluate(examples, &steps.of(&part));
        examples.targets = targets;
        let record = found?.record;
        metrics.push(record.metrics);
        chosen.push(record.setting);
    }
    let record = &mut evaluated.record;
    let (mut means, deviations) = spread(&metrics);
    let auroc = |metrics: &Map<String, Value>| metrics.get("auroc_macro")?.as_f64();
    if let Some(observed) = auroc(&record.metrics) {
        let as_good = metrics
            .iter()
            .filter_map(auroc)
            .filter(|&a| a >= observed - ROUNDING);
        let p = (1 + as_good.count()) as f64 / (1 + permutations) as f64;
        means.insert("true_labels_auroc_macro".into(), observed.into());
        means.insert("p_permutation".into(), p.into());
    }
    record
        .params
        .insert("permutations".into(), json!(permutations));
    record
        .params
        .insert("setting_per_permutation".into(), json!(chosen));
    (record.metrics, record.spread) = (means, Some(deviations));
    record.chosen = None;
    Ok(evaluated)
}

/// Targets of all rows, permuted within each split among its patients (samples, if no patients are known).
/// Permutations of one seed differ by `number`.
///
/// A patient gets the targets of another patient, example by example, repeated if the other has fewer
/// examples. The targets of a patient thus stay as similar as they are.
pub(super) fn shuffled(examples: &Examples, seed: u64, number: u64) -> Targets {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let mut source: Vec<usize> = (0..examples.targets.len()).collect();
    for split in Split::ALL {
        let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for example in examples.of(&[split]) {
            let patient = examples.cases[example].cluster();
            patients.entry(patient).or_default().push(example);
        }
        let patients: Vec<Vec<usize>> = patients.into_values().collect();
        let mut dealt: Vec<&Vec<usize>> = patients.iter().collect();
        shuffle(&mut dealt, &mut rng);
        for (to, from) in patients.iter().zip(dealt) {
            for (&to, &from) in to.iter().zip(from.iter().cycle()) {
                for &row in &examples.rows[to] {
                    source[row] = examples.rows[from][0];
                }
            }
        }
    }
    examples.targets.select(&source)
}
