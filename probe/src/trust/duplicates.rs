//! Near-duplicates in different splits.

use cache::Split;
use common::draw::equidistant;
use ndarray::Axis;
use serde_json::{Value, json};

use super::subject::Subject;
use super::{Answer, Questions};
use crate::probes::search::neighbours;

/// Most pairs that a record lists.
const LISTED: usize = 100;
/// Share of the usual distance of neighbours within which samples are near-duplicates. Cosines of neighbours differ by
/// orders of magnitude between backbones; copies of an image, encoded again, scaled by a half or made brighter by a
/// twentieth, are nearer than this.
pub const USUAL_SHARE: f64 = 0.1;
/// The cosine of near-duplicates if no usual distance is known.
const COSINE: f64 = 0.99;
/// Samples whose nearest neighbours give the usual distance.
const MOST_USUAL: usize = 2000;
/// Neighbours among which one of another patient is looked for.
const NEAREST: usize = 8;

/// A sample of `val` or `test` and its nearest one in the splits before it.
struct Pair {
    query: usize,
    key: usize,
    cosine: f32,
}

/// Samples of `val` whose nearest sample in `train` has at least a cosine, and of `test` in `train` or `val`.
pub(super) fn answer(subject: &Subject, questions: &Questions) -> Answer {
    let usual = usual_distance(subject);
    let found = usual.map(|usual| 1.0 - USUAL_SHARE * f64::from(usual));
    let cosine = questions.cosine.or(found).unwrap_or(COSINE);
    let params = json!({
        "cosine": rounded(cosine),
        "cosine_is_found": questions.cosine.is_none() && found.is_some(),
        "usual_distance": usual.map(|usual| rounded(usual.into())),
    });
    let answer = Answer::new("duplicates".into(), "duplicates", params);
    let mut pairs = nearest(subject, Split::Val, &[Split::Train]);
    pairs.extend(nearest(subject, Split::Test, &[Split::Train, Split::Val]));
    if pairs.is_empty() {
        return answer.without("the samples are not in several splits".into());
    }
    let mut answer = answer;
    answer.cases = pairs.len();
    let mut cosines: Vec<f32> = pairs.iter().map(|pair| pair.cosine).collect();
    cosines.sort_by(f32::total_cmp);
    pairs.retain(|pair| f64::from(pair.cosine) >= cosine);
    pairs.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.query.cmp(&b.query)));
    let same = |pair: &&Pair| {
        let patient = |i: usize| subject.cases[i].patient.as_deref();
        patient(pair.query).is_some() && patient(pair.query) == patient(pair.key)
    };
    answer.measure("duplicates", pairs.len());
    answer.measure("share", pairs.len() as f64 / cosines.len() as f64);
    answer.measure("same_patient", pairs.iter().filter(same).count());
    answer.measure("highest_cosine", rounded(cosines[cosines.len() - 1].into()));
    answer.measure("median_cosine", rounded(cosines[cosines.len() / 2].into()));
    let listed = pairs
        .iter()
        .take(LISTED)
        .map(|pair| described(subject, pair));
    answer.params.insert("pairs".into(), listed.collect());
    answer
}

/// The samples of some splits.
fn of(subject: &Subject, wanted: &[Split]) -> Vec<usize> {
    let is = |i: &usize| {
        subject.cases[*i]
            .split
            .is_some_and(|split| wanted.contains(&split))
    };
    (0..subject.cases.len()).filter(is).collect()
}

/// The median distance, 1 - cosine, of samples of `train` to the nearest one of another patient; `None` if there is none.
fn usual_distance(subject: &Subject) -> Option<f32> {
    let keys = of(subject, &[Split::Train]);
    let queries: Vec<usize> = equidistant(keys.len(), MOST_USUAL)
        .into_iter()
        .map(|at| keys[at])
        .collect();
    if keys.len() < 2 {
        return None;
    }
    let rows = |samples: &[usize]| subject.unit.select(Axis(0), samples);
    // The first is the sample itself, or an equal one.
    let count = keys.len().min(NEAREST);
    let found = neighbours(rows(&keys).view(), rows(&queries).view(), count);
    let distance = |(row, query): (usize, &usize)| {
        let query = subject.cases[*query].cluster();
        let other = (0..count).find(|&rank| {
            let key = keys[found.index[[row, rank]] as usize];
            subject.cases[key].cluster() != query
        })?;
        Some(1.0 - found.similarity[[row, other]])
    };
    let distances = queries.iter().enumerate().filter_map(distance);
    let mut distances: Vec<f32> = distances.collect();
    distances.sort_by(f32::total_cmp);
    distances.get(distances.len() / 2).copied()
}

/// The nearest sample of each one of `split` among those of `others`.
fn nearest(subject: &Subject, split: Split, others: &[Split]) -> Vec<Pair> {
    let (queries, keys) = (of(subject, &[split]), of(subject, others));
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
    json!({"cosine": rounded(pair.cosine.into()), "first": case(pair.query), "second": case(pair.key)})
}

/// A cosine in six digits, which f32 has.
fn rounded(cosine: f64) -> f64 {
    (cosine * 1e6).round() / 1e6
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
    fn the_cosine_follows_from_the_usual_distance_of_other_patients() {
        let train = Some(Split::Train);
        let at = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        // Patients of `train` are 10 degrees apart; a second image of the first is at 1 degree.
        let x = [
            at(0.0),
            at(1.0),
            at(10.0),
            at(20.0),
            at(30.0),
            at(2.0),
            at(5.0),
        ];
        let x = ndarray::arr2(&x);
        let splits = [
            train,
            train,
            train,
            train,
            train,
            Some(Split::Test),
            Some(Split::Test),
        ];
        let mut questions = questions();
        questions.cosine = None;
        let subject = subject(x, cases(&["a", "a", "b", "c", "d", "e", "f"], &splits));
        let found = answer(&subject, &questions);
        let cosine = found.params["cosine"].as_f64().unwrap();
        let expected = 1.0 - USUAL_SHARE * (1.0 - 10_f64.to_radians().cos());
        assert!((cosine - expected).abs() < 1e-6, "{cosine}");
        assert_eq!(found.params["cosine_is_found"], true);
        // 1 degree from the nearest, and 4.
        assert_eq!(found.metrics["duplicates"], 1);
        questions.cosine = Some(0.9);
        assert_eq!(answer(&subject, &questions).metrics["duplicates"], 2);
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
