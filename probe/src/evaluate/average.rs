//! Averages over several draws.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::protocol::Protocol;
use crate::record::RunRecord;

/// Parameter of random draws that all take all examples there are: they differ by the seed of the head alone.
pub(crate) const EXHAUSTED: &str = "draws_take_all";

/// Number of draws of `shots` examples: `repeats`, or 1 if all examples are taken (`None`) or the protocol
/// makes a single draw.
pub(crate) fn draws(protocol: Protocol, shots: Option<usize>, repeats: usize) -> u64 {
    if protocol.one_draw() || shots.is_none() {
        1
    } else {
        repeats as u64
    }
}

/// Makes `first`, a record of one of `all` draws, the record of all: with their warnings and, of several,
/// the means and standard deviations of their measures.
pub(crate) fn average(first: &mut RunRecord, all: &[RunRecord]) {
    let warnings = all.iter().flat_map(|record| record.warnings.clone());
    first.warnings = warnings.collect::<BTreeSet<String>>().into_iter().collect();
    let takes_all = |draw: &RunRecord| draw.params.get(EXHAUSTED) == Some(&json!(true));
    let take_all = all.len() > 1 && all.iter().all(takes_all);
    first.params.shift_remove(EXHAUSTED);
    if take_all {
        first.params.insert(EXHAUSTED.into(), json!(true));
    }
    if all.len() > 1 {
        let metrics: Vec<_> = all.iter().map(|record| record.metrics.clone()).collect();
        let (means, deviations) = spread(&metrics);
        (first.metrics, first.spread) = (means, Some(deviations));
        first.ci = None;
    }
}

/// Means of the measures that all draws have, with other values that are equal in all draws; and their
/// standard deviations with the values of the draws.
pub(super) fn spread(draws: &[Map<String, Value>]) -> (Map<String, Value>, Map<String, Value>) {
    let (mut means, mut spread) = (Map::new(), Map::new());
    for name in draws[0].keys() {
        let found: Option<Vec<f64>> = draws.iter().map(|draw| draw.get(name)?.as_f64()).collect();
        let Some(found) = found else {
            if draws
                .iter()
                .all(|draw| draw.get(name) == draws[0].get(name))
            {
                means.insert(name.clone(), draws[0][name].clone());
            }
            continue;
        };
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let squares: f64 = found.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (found.len() - 1) as f64).sqrt();
        means.insert(name.clone(), mean.into());
        spread.insert(name.clone(), json!({"sd": deviation, "draws": found}));
    }
    (means, spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_that_all_draws_have_are_averaged() {
        let draw = |value: f64| Map::from_iter([("auroc_macro".to_owned(), json!(value))]);
        let mut last = draw(3.0);
        last.insert("brier".into(), json!(0.5));
        let found = spread(&[draw(1.0), draw(2.0), last]);
        assert_eq!(Value::Object(found.0), json!({"auroc_macro": 2.0}));
        assert_eq!(found.1["auroc_macro"]["sd"], 1.0);
    }
}
