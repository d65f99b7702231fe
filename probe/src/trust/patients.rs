//! Whether a patient is found again by the nearest neighbour among other samples.

use std::collections::HashMap;

use common::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::json;

use super::subject::Subject;
use super::{Answer, Questions, p_value};
use crate::Error;
use crate::metrics::bootstrap::{Bootstrap, few_units};
use crate::metrics::confidence::Level;
use crate::metrics::weights::Weights;
use crate::probes::search::{Neighbours, neighbours};

/// Neighbours that are looked at.
const NEAREST: usize = 5;

/// Rank-1 rate of samples whose patient has another one, against chance.
pub(super) fn answer(subject: &Subject, questions: &Questions) -> Result<Answer, Error> {
    let answer = Answer::new("patients".into(), "patients", json!({"nearest": NEAREST}));
    let known: Vec<usize> = (0..subject.cases.len())
        .filter(|i| subject.cases[*i].patient.is_some())
        .collect();
    if known.is_empty() {
        return Ok(answer.without("the cache names no patients".into()));
    }
    let subject = subject.select(&known);
    let mut number = HashMap::new();
    let patients: Vec<usize> = subject
        .cases
        .iter()
        .map(|case| {
            let next = number.len();
            *number.entry(case.cluster()).or_insert(next)
        })
        .collect();
    let counts = counts(&patients);
    let queries: Vec<usize> = (0..patients.len())
        .filter(|i| counts[patients[*i]] > 1)
        .collect();
    if queries.is_empty() {
        return Ok(answer.without("no patient has several samples".into()));
    }
    let nearest = neighbours(subject.unit.view(), subject.unit.view(), NEAREST + 1).without_self(0);
    let chance: f64 = queries
        .iter()
        .map(|i| (counts[patients[*i]] - 1) as f64)
        .sum::<f64>()
        / (queries.len() * (patients.len() - 1)) as f64;
    let mut answer = answer;
    answer.cases = queries.len();
    let found = |patients: &[usize], rank: usize| rate(&nearest, patients, &counts, rank);
    answer.measure("rank1", found(&patients, 1));
    answer.measure("rank5", found(&patients, NEAREST));
    answer.measure("chance_rank1", chance);
    answer.measure(
        "patients",
        counts.iter().filter(|count| **count > 1).count(),
    );
    answer.measure("samples", patients.len());
    let permuted = |number: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(questions.seed);
        rng.set_stream(number);
        let mut patients = patients.clone();
        shuffle(&mut patients, &mut rng);
        found(&patients, 1)
    };
    let permuted: Vec<f64> = (0..questions.permutations as u64).map(permuted).collect();
    if !permuted.is_empty() {
        answer.measure("p", p_value(found(&patients, 1), &permuted));
    }
    if let Some(confidence) = questions.confidence {
        let hits = hits(&nearest, &patients, &queries);
        let of: Vec<usize> = queries.iter().map(|i| patients[*i]).collect();
        answer.warnings.extend(few_units(&of, "patient"));
        if let Ok(bootstrap) = Bootstrap::new(&of, confidence.draws, confidence.seed) {
            let level = Level::new(confidence.level)?;
            let interval = bootstrap
                .interval(level, |weights| mean(&hits, weights))
                .interval;
            answer.interval(
                "rank1",
                interval.map(|ends| [ends.low, ends.high]),
                (confidence.level, "patient"),
            );
        }
    }
    Ok(answer)
}

/// Samples of each patient.
fn counts(patients: &[usize]) -> Vec<usize> {
    let mut counts = vec![0; patients.iter().max().map_or(0, |most| most + 1)];
    patients.iter().for_each(|patient| counts[*patient] += 1);
    counts
}

/// Share of the samples of patients with several that have one of the same patient among the `rank` nearest.
fn rate(nearest: &Neighbours, patients: &[usize], counts: &[usize], rank: usize) -> f64 {
    let (mut found, mut all) = (0usize, 0usize);
    for (patient, nearest) in patients.iter().zip(nearest.index.outer_iter()) {
        if counts[*patient] > 1 {
            all += 1;
            let is_same = |key: &u32| patients[*key as usize] == *patient;
            found += usize::from(nearest.iter().take(rank).any(is_same));
        }
    }
    found as f64 / all.max(1) as f64
}

/// Whether the nearest sample of each query is of the same patient.
fn hits(nearest: &Neighbours, patients: &[usize], queries: &[usize]) -> Vec<bool> {
    let hit = |query: &usize| {
        let first = nearest.index.row(*query).first().copied();
        first.is_some_and(|key| patients[key as usize] == patients[*query])
    };
    queries.iter().map(hit).collect()
}

fn mean(hits: &[bool], weights: &Weights) -> Option<f64> {
    let all: u32 = (0..hits.len()).map(|i| weights.of(i)).sum();
    let found: u32 = (0..hits.len())
        .filter(|i| hits[*i])
        .map(|i| weights.of(i))
        .sum();
    (all > 0).then(|| f64::from(found) / f64::from(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::{cases, questions, subject};
    use ndarray::array;

    #[test]
    fn patients_are_found_by_their_nearest_sample() {
        // Two samples of `a` side by side, two of `b` of which one is nearer to `c`.
        let x = array![
            [1.0, 0.0],
            [0.99, 0.1],
            [0.0, 1.0],
            [-1.0, 0.1],
            [-1.0, 0.0]
        ];
        let subject = subject(x, cases(&["a", "a", "b", "b", "c"], &[None; 5]));
        let answer = answer(&subject, &questions()).unwrap();
        let number = |name: &str| answer.metrics[name].as_f64().unwrap();
        assert_eq!((number("rank1"), number("rank5")), (0.5, 1.0));
        assert_eq!((number("chance_rank1"), number("patients")), (0.25, 2.0));
        assert_eq!(answer.cases, 4);
    }

    #[test]
    fn no_patient_with_several_samples_is_said() {
        let subject = subject(
            array![[1.0, 0.0], [0.0, 1.0]],
            cases(&["a", "b"], &[None; 2]),
        );
        let answer = answer(&subject, &questions()).unwrap();
        assert!(answer.metrics.is_empty());
        assert_eq!(answer.params["why"], "no patient has several samples");
    }
}
