//! Votes and measures against scikit-learn and a restatement in NumPy (scripts/dev/golden_probe.py).
#![allow(clippy::unwrap_used)]

use ndarray::{Array2, ArrayView2};
use probe::examples::{Case, Clusters};
use probe::metrics::measures::{Measures, Scored};
use probe::predictions::Predictions;
use probe::probes::knn::{self, Classes, Vote, Whole};
use probe::probes::ml_knn::MlKnn;
use probe::probes::search::neighbours;
use probe::scores::Scores;
use probe::targets::Targets;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    single_label: Single,
    multi_label: Multi,
    votes: Votes,
}

#[derive(Deserialize)]
struct Votes {
    train: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
    labels: Vec<u32>,
    targets: Vec<Vec<u8>>,
    ks: Vec<usize>,
    majority_single: Vec<Vec<Vec<f64>>>,
    majority_multi: Vec<Vec<Vec<f64>>>,
    distance_single: Vec<Vec<Vec<f64>>>,
    distance_multi: Vec<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
struct Single {
    train: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
    labels: Vec<u32>,
    test_labels: Vec<u32>,
    ks: Vec<usize>,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Deserialize)]
struct Multi {
    train: Vec<Vec<f32>>,
    test: Vec<Vec<f32>>,
    targets: Vec<Vec<u8>>,
    test_targets: Vec<Vec<u8>>,
    ks: Vec<usize>,
    with_self: Expected,
    without_self: Expected,
}

#[derive(Deserialize)]
struct Expected {
    scores: Vec<Vec<Vec<f64>>>,
    auroc: Vec<Vec<Option<f64>>>,
    accuracy: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/knn.json")).unwrap()
}

fn matrix<T: Copy>(rows: &[Vec<T>]) -> Array2<T> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn assert_close(found: f64, expected: f64) {
    assert!(
        (found - expected).abs() < 1e-6,
        "{found}, expected {expected}"
    );
}

impl Expected {
    fn check(&self, scores: &[Array2<f64>], targets: &Targets) {
        assert_eq!(scores.len(), self.scores.len());
        for (i, scores) in scores.iter().enumerate() {
            let expected = matrix(&self.scores[i]);
            assert_eq!(scores.dim(), expected.dim());
            scores
                .iter()
                .zip(&expected)
                .for_each(|(&a, &b)| assert_close(a, b));
            let (aurocs, measures) = measured(scores, targets);
            let number = |name: &str| measures.values[name].as_f64().unwrap();
            assert_close(number("accuracy"), self.accuracy[i]);
            self.check_auroc(i, &aurocs, number("auroc_macro"));
        }
    }

    fn check_auroc(&self, i: usize, found: &[Option<f64>], macro_mean: f64) {
        assert_eq!(found.len(), self.auroc[i].len());
        for (found, expected) in found.iter().zip(&self.auroc[i]) {
            assert_eq!(found.is_some(), expected.is_some());
            assert_close(found.unwrap_or(0.0), expected.unwrap_or(0.0));
        }
        let defined: Vec<f64> = self.auroc[i].iter().copied().flatten().collect();
        let mean = defined.iter().sum::<f64>() / defined.len() as f64;
        assert_close(macro_mean, mean);
    }
}

fn measured(scores: &Array2<f64>, targets: &Targets) -> (Vec<Option<f64>>, Measures) {
    let case = |number: usize| Case {
        sample: number.to_string(),
        slice: None,
        patient: None,
        split: None,
    };
    let predictions = Predictions {
        scores: Scores::probabilities(scores.clone()),
        targets: targets.clone(),
        cases: (0..targets.len()).map(case).collect(),
    };
    let scored = Scored::new(&predictions).unwrap();
    let names: Vec<String> = (0..scores.ncols()).map(|class| class.to_string()).collect();
    let measures = scored
        .measures(
            &names,
            &Clusters::of(&[]),
            &scored.default_thresholds(),
            None,
            None,
        )
        .unwrap();
    (scored.auroc(), measures)
}

#[test]
fn softmax_votes_equal_the_reference() {
    let Single {
        train,
        test,
        labels,
        test_labels,
        ks,
        expected,
    } = golden().single_label;
    let (train, test) = (matrix(&train), matrix(&test));
    let search = |queries: ArrayView2<f32>, k| neighbours(train.view(), queries, k);
    let (labels, classes) = (labels.as_slice(), 5);
    let classes = Classes::Single { labels, classes };
    let vote = (Vote::Softmax { temperature: 0.07 }, Whole::LargestK);
    let scores = knn::scores(search, classes, test.view(), &ks, vote);
    expected.check(&scores, &Targets::Single(test_labels));
}

#[test]
fn majority_and_distance_votes_equal_scikit_learn() {
    let golden = golden().votes;
    let (train, test) = (matrix(&golden.train), matrix(&golden.test));
    let targets = matrix(&golden.targets).mapv(|target| target == 1);
    let (labels, classes) = (golden.labels.as_slice(), 5);
    let single = Classes::Single { labels, classes };
    let multi = Classes::Multi(targets.view());
    let search = |queries: ArrayView2<f32>, k| neighbours(train.view(), queries, k);
    for (vote, classes, expected) in [
        (Vote::Majority, single, golden.majority_single),
        (Vote::Majority, multi, golden.majority_multi),
        (Vote::Distance, single, golden.distance_single),
        (Vote::Distance, multi, golden.distance_multi),
    ] {
        let found = knn::scores(
            search,
            classes,
            test.view(),
            &golden.ks,
            (vote, Whole::OwnK),
        );
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            let expected = matrix(expected);
            assert_eq!(found.dim(), expected.dim());
            let pairs = found.iter().zip(&expected);
            pairs.for_each(|(&a, &b)| assert_close(a, b));
        }
    }
}

#[test]
fn ml_knn_equals_the_reference() {
    let golden = golden().multi_label;
    let (train, test) = (matrix(&golden.train), matrix(&golden.test));
    let targets = matrix(&golden.targets).mapv(|target| target == 1);
    let test_targets = matrix(&golden.test_targets).mapv(|target| target == 1);
    for (count_self, expected) in [(true, golden.with_self), (false, golden.without_self)] {
        let search = |queries: ArrayView2<f32>, k| neighbours(train.view(), queries, k);
        let model = MlKnn::fit(search, train.view(), targets.view(), &golden.ks, count_self);
        let scores = model.scores(test.view());
        expected.check(&scores, &Targets::Multi(test_targets.mapv(Some)));
    }
}
