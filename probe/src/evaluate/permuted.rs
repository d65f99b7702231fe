//! The control with shuffled labels: a permutation test of a probe.

use serde_json::{Map, Value, json};

use super::fitted::ROUNDING;
use super::{Evaluated, Settings, spread};
use crate::Error;
use crate::control;
use crate::examples::Examples;

/// Evaluates with the true labels, and with `permutations` random orders of the labels of all splits: of
/// those that are measured too, without which a probe that happens to order the cases the right way
/// round would be as good as with the true labels. The record has the means of the latter, their standard deviations, and the p-value
/// of the macro AUROC that the true labels give: `(1 + #(permuted >= true)) / (1 + permutations)`
/// (Ojala and Garriga 2010).
///
/// # Errors
///
/// What `evaluate` gives.
pub(super) fn permuted(
    examples: &mut Examples,
    settings: &Settings,
    permutations: usize,
    evaluate: impl Fn(&Examples) -> Result<Evaluated, Error>,
) -> Result<Evaluated, Error> {
    let mut evaluated = evaluate(examples)?;
    let (mut metrics, mut chosen) = (Vec::new(), Vec::new());
    for number in 0..permutations as u64 {
        let shuffled = control::shuffled(examples, settings.seed, number);
        let targets = std::mem::replace(&mut examples.targets, shuffled);
        let found = evaluate(examples);
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
