//! Metrics against scikit-learn, SciPy and restatements in NumPy (scripts/dev/golden_metrics.py).
#![allow(clippy::unwrap_used)]

use ndarray::Array2;
use probe::metrics::bootstrap::{Bootstrap, Sampled};
use probe::metrics::calibration::{Calibration, brier, calibration};
use probe::metrics::confidence::{Interval, Level};
use probe::metrics::confusion::{Confusion, Matrix, best_f1_threshold};
use probe::metrics::delong::{delong, delong_test};
use probe::metrics::mcnemar::mcnemar;
use probe::metrics::ranked::{Ranked, auroc, average_precision, mean_defined, per_class};
use probe::metrics::scored::{SingleLabel, multi_label};
use probe::metrics::weights::Weights;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    multi_label: MultiLabel,
    single_label: Vec<Single>,
    delong: Delong,
    mcnemar: Vec<McNemar>,
    bootstrap: Resampled,
}

#[derive(Deserialize)]
struct MultiLabel {
    scores: Vec<Vec<f64>>,
    targets: Vec<Vec<Option<u8>>>,
    #[serde(flatten)]
    expected: Classes,
}

#[derive(Deserialize)]
struct Single {
    scores: Vec<Vec<f64>>,
    labels: Vec<u32>,
    #[serde(flatten)]
    expected: Classes,
    matrix: Vec<Vec<u64>>,
    accuracy: f64,
    balanced_accuracy: f64,
    f1: Vec<f64>,
    f1_macro: f64,
    brier: f64,
    calibration: [f64; 2],
}

/// AUROC and average precision are the two of `macro` and of `micro`.
#[derive(Deserialize)]
struct Classes {
    classes: Vec<Class>,
    r#macro: [f64; 2],
    micro: [f64; 2],
}

#[derive(Deserialize)]
struct Class {
    auroc: Option<f64>,
    average_precision: Option<f64>,
    brier: Option<f64>,
    calibration: Option<[f64; 2]>,
    thresholded: Option<Thresholded>,
}

#[derive(Deserialize)]
struct Thresholded {
    threshold: f64,
    counts: [u64; 4],
    sensitivity: f64,
    specificity: f64,
    f1: f64,
    accuracy: f64,
    balanced_accuracy: f64,
}

#[derive(Deserialize)]
struct Delong {
    scores: Vec<Vec<f64>>,
    targets: Vec<u8>,
    aurocs: Vec<[f64; 2]>,
    intervals: Vec<[f64; 2]>,
    tests: Vec<DelongTest>,
}

#[derive(Deserialize)]
struct DelongTest {
    difference: f64,
    variance: f64,
    z: f64,
    p: f64,
}

#[derive(Deserialize)]
struct McNemar {
    only_first: u64,
    only_second: u64,
    p: f64,
}

#[derive(Deserialize)]
struct Resampled {
    seed: u64,
    draws: usize,
    patients: Vec<String>,
    /// The weight of each case in the first draws.
    weights: Vec<Vec<u32>>,
    targets: Vec<Vec<Option<u8>>>,
    tables: [Vec<Vec<f64>>; 2],
    classes: Vec<[f64; 2]>,
    undefined: usize,
    mean: [f64; 2],
    difference: [f64; 2],
    p: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/metrics.json")).unwrap()
}

fn matrix<T: Copy>(rows: &[Vec<T>]) -> Array2<T> {
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn ranked(scores: &[Vec<f64>], targets: &[Vec<Option<u8>>]) -> Vec<Ranked> {
    let targets = matrix(targets).mapv(|target| target.map(|target| target == 1));
    multi_label(matrix(scores).view(), targets.view()).unwrap()
}

fn level() -> Level {
    Level::new(0.95).unwrap()
}

fn assert_close(found: impl Into<Option<f64>>, expected: impl Into<Option<f64>>) {
    let (found, expected) = (found.into(), expected.into());
    let close = match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
        (found, expected) => found == expected,
    };
    assert!(close, "{found:?}, expected {expected:?}");
}

fn assert_within(found: Option<Interval>, [low, high]: [f64; 2]) {
    let found = found.unwrap();
    assert_close(found.low, low);
    assert_close(found.high, high);
}

fn assert_calibrated(found: Option<Calibration>, expected: Option<[f64; 2]>) {
    assert_close(found.map(|c| c.expected), expected.map(|c| c[0]));
    assert_close(found.map(|c| c.maximum), expected.map(|c| c[1]));
}

impl Classes {
    fn check(&self, classes: &[Ranked], weights: &Weights) {
        assert_eq!(classes.len(), self.classes.len());
        for (class, expected) in classes.iter().zip(&self.classes) {
            expected.check(class, weights);
        }
        let pooled = Ranked::pooled(classes);
        for (i, measure) in [auroc, average_precision].into_iter().enumerate() {
            let found = mean_defined(&per_class(classes, weights, measure));
            assert_close(found, self.r#macro[i]);
            assert_close(measure(&pooled, weights), self.micro[i]);
        }
    }
}

impl Class {
    fn check(&self, class: &Ranked, weights: &Weights) {
        assert_close(auroc(class, weights), self.auroc);
        assert_close(average_precision(class, weights), self.average_precision);
        assert_close(brier(class, weights), self.brier);
        assert_calibrated(calibration(class, weights), self.calibration);
        let threshold = best_f1_threshold(class, weights);
        assert_eq!(threshold, self.thresholded.as_ref().map(|t| t.threshold));
        if let Some(expected) = &self.thresholded {
            expected.check(Confusion::at(expected.threshold, class, weights));
        }
    }
}

impl Thresholded {
    fn check(&self, found: Confusion) {
        let [
            true_positives,
            false_positives,
            true_negatives,
            false_negatives,
        ] = self.counts;
        let expected = Confusion {
            true_positives,
            false_positives,
            true_negatives,
            false_negatives,
        };
        assert_eq!(found, expected);
        assert_close(found.sensitivity(), self.sensitivity);
        assert_close(found.specificity(), self.specificity);
        assert_close(found.f1(), self.f1);
        assert_close(found.accuracy(), self.accuracy);
        assert_close(found.balanced_accuracy(), self.balanced_accuracy);
    }
}

#[test]
fn measures_of_classes_with_ties_and_blanks_equal_scikit_learn() {
    let golden = golden().multi_label;
    let classes = ranked(&golden.scores, &golden.targets);
    let once = Weights::once(golden.scores.len());
    golden.expected.check(&classes, &once);
}

#[test]
fn measures_of_exclusive_classes_equal_scikit_learn() {
    for golden in golden().single_label {
        let scored = SingleLabel::new(matrix(&golden.scores).view(), &golden.labels).unwrap();
        let once = Weights::once(scored.cases());
        golden.expected.check(&scored.classes(), &once);
        let found = Matrix::new(&scored, &once);
        assert_eq!(found.counts(), matrix(&golden.matrix));
        assert_close(found.accuracy(), golden.accuracy);
        assert_close(found.balanced_accuracy(), golden.balanced_accuracy);
        let f1: Vec<Option<f64>> = found.classes().iter().map(Confusion::f1).collect();
        f1.iter()
            .zip(golden.f1)
            .for_each(|(&f, e)| assert_close(f, e));
        assert_close(mean_defined(&f1), golden.f1_macro);
        assert_close(scored.brier(&once), golden.brier);
        assert_calibrated(scored.calibration(&once), Some(golden.calibration));
    }
}

#[test]
fn delong_equals_a_restatement_pair_by_pair() {
    let golden = golden().delong;
    let targets: Vec<_> = golden.targets.iter().map(|&t| vec![Some(t); 3]).collect();
    let classes = ranked(&golden.scores, &targets);
    let expected = golden.aurocs.iter().zip(golden.intervals);
    for (class, (&[auroc, variance], interval)) in classes.iter().zip(expected) {
        let found = delong(class).unwrap();
        assert_close(found.auroc, auroc);
        assert_close(found.variance, variance);
        assert_within(found.interval(level()), interval);
    }
    for (class, expected) in classes.iter().zip(golden.tests) {
        let found = delong_test(class, &classes[2]).unwrap().unwrap();
        assert_close(found.difference, expected.difference);
        assert_close(found.variance, expected.variance);
        assert_close(found.z(), expected.z);
        assert_close(found.p(), expected.p);
    }
}

#[test]
fn mcnemar_equals_the_binomial_test() {
    for expected in golden().mcnemar {
        let (a, b) = (expected.only_first, expected.only_second);
        let first: Vec<bool> = (0..a + b).map(|i| i < a).collect();
        let second: Vec<bool> = first.iter().map(|right| !right).collect();
        let found = mcnemar(&first, &second).unwrap();
        assert_eq!((found.only_first, found.only_second), (a, b));
        assert!((found.p / expected.p - 1.0).abs() < 1e-10, "{}", found.p);
    }
}

#[test]
fn bootstraps_equal_a_restatement_over_resampled_cases() {
    let golden = golden().bootstrap;
    let bootstrap = Bootstrap::new(&golden.patients, golden.draws, golden.seed).unwrap();
    for (number, expected) in golden.weights.iter().enumerate() {
        let draw = bootstrap.draw(number as u64);
        let found = (0..expected.len()).map(|case| draw.of(case));
        assert_eq!(&found.collect::<Vec<_>>(), expected);
    }
    let [first, second] = golden.tables.map(|scores| ranked(&scores, &golden.targets));
    let found = bootstrap.intervals(level(), &first, auroc);
    for (found, expected) in found.classes.iter().zip(golden.classes) {
        assert_within(found.interval, expected);
    }
    let undefined: Vec<usize> = found.classes.iter().map(|class| class.undefined).collect();
    assert_eq!(undefined, [0, golden.undefined]);
    assert_eq!(found.mean.undefined, golden.undefined);
    assert_within(found.mean.interval, golden.mean);
    let alone: Sampled = bootstrap.interval(level(), |weights| auroc(&first[1], weights));
    assert_eq!(alone, found.classes[1]);
    let [first, second] = [&first[0], &second[0]];
    let compare = bootstrap.compare(level(), |w| auroc(first, w), |w| auroc(second, w));
    let compared = compare.unwrap();
    assert_within(compared.sampled.interval, golden.difference);
    assert_close(compared.p, golden.p);
}
