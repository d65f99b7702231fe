//! Near-duplicates in different splits.

use cache::Split;
use ndarray::Axis;
use serde_json::{Value, json};

use super::subject::Subject;
use super::{Answer, Questions};
use crate::probes::search::neighbours;

/// Most pairs that a record lists.
const LISTED: usize = 100;

/// A sample of `val` or `test` and its nearest one in the splits before it.
struct Pair {
    query: usize,
    key: usize,
    cosine: f32,
}

/// Samples of `val` whose nearest sample in `train` has at least the asked cosine, and of `test` in `train` or `val`.
pub(super) fn answer(subject: &Subject, questions: &Questions) -> Answer {
    let answer = Answer::new(
        "duplicates".into(),
        "duplicates",
        json!({"cosine": questions.cosine}),
    );
    let mut pairs = nearest(subject, Split::Val, &[Split::Train]);
    pairs.extend(nearest(subject, Split::Test, &[Split::Train, Split::Val]));
    if pairs.is_empty() {
        return answer.without("the samples are not in several splits".into());
    }
    let mut answer = answer;
    answer.cases = pairs.len();
    let mut cosines: Vec<f32> = pairs.iter().map(|pair| pair.cosine).collect();
    cosines.sort_by(f32::total_cmp);
    pairs.retain(|pair| f64::from(pair.cosine) >= questions.cosine);
    pairs.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.query.cmp(&b.query)));
    let same = |pair: &&Pair| {
        let patient = |i: usize| subject.cases[i].patient.as_deref();
        patient(pair.query).is_some() && patient(pair.query) == patient(pair.key)
    };
    answer.measure("duplicates", pairs.len());
    answer.measure("share", pairs.len() as f64 / cosines.len() as f64);
    answer.measure("same_patient", pairs.iter().filter(same).count());
    answer.measure("highest_cosine", rounded(cosines[cosines.len() - 1]));
    answer.measure("median_cosine", rounded(cosines[cosines.len() / 2]));
    let listed = pairs
        .iter()
        .take(LISTED)
        .map(|pair| described(subject, pair));
    answer.params.insert("pairs".into(), listed.collect());
    answer
}

/// The nearest sample of each one of `split` among those of `others`.
fn nearest(subject: &Subject, split: Split, others: &[Split]) -> Vec<Pair> {
    let of = |wanted: &[Split]| -> Vec<usize> {
        let is = |i: &usize| {
            subject.cases[*i]
                .split
                .is_some_and(|split| wanted.contains(&split))
        };
        (0..subject.cases.len()).filter(is).collect()
    };
    let (queries, keys) = (of(&[split]), of(others));
    if queries.is_empty() || keys.is_empty() {
        return Vec::new();
    }
    let rows = |samples: &[usize]| subject.unit.select(Axis(0), samples);
    let found = neighbours(rows(&keys).view(), rows(&queries).view(), 1);
    let pair = |(row, query): (usize, &usize)| Pair {
        query: *query,
        key: keys[found.index[[row, 0]] as usize],
        cosine: found.similarity[[row, 0]],
    };
    queries.iter().enumerate().map(pair).collect()
}

fn described(subject: &Subject, pair: &Pair) -> Value {
    let case = |i: usize| {
        let case = &subject.cases[i];
        json!({"sample": case.sample, "split": case.split.map(Split::name), "patient": case.patient})
    };
    json!({"cosine": rounded(pair.cosine), "first": case(pair.query), "second": case(pair.key)})
}

/// A cosine in six digits, which f32 has.
fn rounded(cosine: f32) -> f64 {
    (f64::from(cosine) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::{cases, questions, subject};
    use ndarray::array;

    #[test]
    fn pairs_in_different_splits_are_found_the_most_similar_first() {
        let (train, val, test) = (Some(Split::Train), Some(Split::Val), Some(Split::Test));
        let x = array![
            [1.0, 0.0],
            [1.0, 0.001],
            [0.0, 1.0],
            [0.0, 1.0],
            [1.0, 1.0],
            [1.0, 1.0]
        ];
        let splits = [train, train, val, test, test, None];
        let subject = subject(x, cases(&["a", "b", "c", "c", "d", "e"], &splits));
        let answer = answer(&subject, &questions());
        let number = |name: &str| answer.metrics[name].as_f64().unwrap();
        // The two of `train` and the one without a split do not count.
        assert_eq!((number("duplicates"), number("same_patient")), (1.0, 1.0));
        assert_eq!(answer.cases, 3);
        let pairs = answer.params["pairs"].as_array().unwrap();
        assert_eq!(pairs[0]["first"]["split"], "test");
        assert_eq!(pairs[0]["second"]["split"], "val");
    }

    #[test]
    fn samples_of_one_split_have_no_duplicates_to_look_for() {
        let subject = subject(
            array![[1.0, 0.0], [1.0, 0.0]],
            cases(&["a", "b"], &[Some(Split::Train); 2]),
        );
        let answer = answer(&subject, &questions());
        assert!(answer.metrics.is_empty() && answer.params.contains_key("why"));
    }
}
