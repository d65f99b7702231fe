use ndarray::{Array2, array};

use super::*;
use crate::examples::{Case, Clusters};
use crate::scores::Scores;

const NO_ONE: Clusters<'_> = Clusters {
    names: Vec::new(),
    word: "patient",
};

fn scored(scores: Array2<f64>, targets: Targets) -> Scored {
    scored_as(ScoreKind::Probability, scores, targets)
}

fn scored_as(kind: ScoreKind, values: Array2<f64>, targets: Targets) -> Scored {
    let case = |number: usize| Case {
        sample: number.to_string(),
        slice: None,
        patient: None,
        split: None,
    };
    let cases = (0..targets.len()).map(case).collect();
    Scored::new(&Predictions {
        scores: Scores { values, kind },
        targets,
        cases,
    })
    .unwrap()
}

fn names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

#[test]
fn a_class_without_positives_is_named_and_left_out_of_means_or_counts_as_told() {
    let scores = array![[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.2, 0.1, 0.4]];
    let scored = scored(scores, Targets::Single(vec![0, 1, 1]));
    assert_eq!(scored.auroc_macro(None), Some(0.75));
    assert_eq!(scored.auroc_macro(Some(0.0)), Some(0.5));
    let found = scored
        .measures(&names(3), &NO_ONE, &scored.default_thresholds(), None, None)
        .unwrap();
    assert_eq!(found.values["auroc_undefined"], json!(["2"]));
    assert_eq!(found.values["accuracy"], json!(2.0 / 3.0));
    assert_eq!(found.values["positives"], json!({"0": 1, "1": 2, "2": 0}));
    assert!(found.ci.is_none());
}

#[test]
fn nothing_is_defined_where_no_class_is() {
    let scored = scored(
        array![[0.9], [0.1]],
        Targets::Multi(array![[Some(true)], [None]]),
    );
    assert_eq!(scored.auroc_macro(Some(0.0)), None);
}

#[test]
fn thresholds_of_other_cases_decide_f1() {
    let targets = || Targets::Multi(array![[Some(true)], [Some(false)], [Some(true)]]);
    let on_val = scored(array![[0.3], [0.1], [0.2]], targets())
        .best_thresholds()
        .unwrap();
    assert_eq!((on_val.rule, &on_val.values[..]), ("val-f1", &[0.2][..]));
    let scored = scored(array![[0.25], [0.1], [0.1]], targets());
    let found = scored
        .measures(&names(1), &NO_ONE, &on_val, None, None)
        .unwrap();
    assert_eq!(found.values["f1_macro"], json!(2.0 / 3.0));
    assert_eq!(found.values["sensitivity_per_class"], json!({"0": 0.5}));
    let half = scored
        .measures(&names(1), &NO_ONE, &scored.default_thresholds(), None, None)
        .unwrap();
    assert_eq!(half.values["f1_macro"], json!(0.0));
}

#[test]
fn intervals_shrink_with_a_mean_that_counts_undefined_classes_as_0() {
    let row = |i: usize| [if i.is_multiple_of(3) { 0.7 } else { 0.2 }, 0.5];
    let scores = Array2::from_shape_fn((30, 2), |(i, c)| row(i)[c]);
    let targets = Array2::from_shape_fn((30, 2), |(i, c)| Some(c == 0 && i % 4 == 0));
    let scored = scored(scores, Targets::Multi(targets));
    let clusters: Vec<String> = (0..30).map(|i| i.to_string()).collect();
    let clusters = Clusters {
        names: clusters.iter().map(String::as_str).collect(),
        word: "patient",
    };
    let confidence = Confidence {
        draws: 200,
        level: 0.9,
        seed: 1,
    };
    let ci = |undefined| {
        let half = scored.default_thresholds();
        let found = scored.measures(&names(2), &clusters, &half, undefined, Some(&confidence));
        let ci = found.unwrap().ci.unwrap();
        [0, 1].map(|at| ci["auroc_macro"][at].as_f64().unwrap())
    };
    let (left_out, counted) = (ci(None), ci(Some(0.0)));
    assert!(left_out[0] < left_out[1]);
    assert_eq!(counted, left_out.map(|bound| bound / 2.0));
    let one = Clusters {
        names: vec!["p"; 30],
        word: "patient",
    };
    let alone = scored.measures(
        &names(2),
        &one,
        &scored.default_thresholds(),
        None,
        Some(&confidence),
    );
    assert!(alone.unwrap().ci.is_none());
}

#[test]
fn two_exclusive_classes_are_answered_by_one_rule() {
    let scores = array![[0.7, 0.3], [0.6, 0.4], [0.9, 0.1], [0.2, 0.8]];
    let scored = scored(scores, Targets::Single(vec![1, 0, 0, 1]));
    let quarter = Thresholds {
        rule: "val-f1",
        values: vec![0.25],
    };
    let found = scored
        .measures(&names(2), &NO_ONE, &quarter, None, None)
        .unwrap()
        .values;
    assert_eq!(found["sensitivity_per_class"], json!({"1": 1.0}));
    assert_eq!(found["specificity_per_class"], json!({"1": 0.5}));
    assert_eq!(found["balanced_accuracy"], json!(0.75));
}

#[test]
fn scores_that_are_no_probabilities_are_answered_by_the_highest() {
    let scores = array![[0.02, 0.1], [0.1, 0.0], [0.05, 0.07]];
    let scored = scored(scores, Targets::Single(vec![1, 0, 0]));
    let found = scored
        .measures(&names(2), &NO_ONE, &scored.default_thresholds(), None, None)
        .unwrap()
        .values;
    assert_eq!(found["sensitivity_per_class"], json!({"1": 1.0}));
    assert_eq!(found["specificity_per_class"], json!({"1": 0.5}));
    assert_eq!(found["f1_macro"], json!(2.0 / 3.0));
    for name in ["brier", "ece", "thresholds", "threshold_rule"] {
        assert!(!found.contains_key(name), "{name}");
    }
}

#[test]
fn decision_values_have_no_brier_score_and_a_threshold_of_0() {
    // Values that could be probabilities.
    let single = array![[0.4, 0.6], [0.7, 0.3], [0.2, 0.8]];
    let multi = array![[0.4, -0.6], [-0.7, 0.3], [0.2, 0.8]];
    let of_single = Targets::Single(vec![1, 0, 0]);
    let (yes, no) = (Some(true), Some(false));
    let of_multi = Targets::Multi(array![[yes, no], [no, yes], [no, yes]]);
    for (scores, targets, accuracy) in
        [(single, of_single, 2.0 / 3.0), (multi, of_multi, 5.0 / 6.0)]
    {
        let scored = scored_as(ScoreKind::DecisionValue, scores, targets);
        let thresholds = scored.default_thresholds();
        assert_eq!((thresholds.rule, thresholds.values[0]), ("0", 0.0));
        let found = scored.measures(&names(2), &NO_ONE, &thresholds, None, None);
        let found = found.unwrap().values;
        assert!(!found.contains_key("brier") && !found.contains_key("ece"));
        assert_eq!(found["accuracy"], json!(accuracy));
    }
}
