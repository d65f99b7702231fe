//! Measures of classification.

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::ranked::{self, Example, Ranked};

/// A class against the rest.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassAuroc {
    /// The class's number.
    pub class: usize,
    /// Examples of the class.
    pub positives: usize,
    /// Area under the ROC curve, or `None` where all examples or none are of the class.
    pub auroc: Option<f64>,
}

/// Measures of scores `[N, C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// Each class against the rest; only class 1 where a single-label task has two classes.
    pub classes: Vec<ClassAuroc>,
    /// Mean over the classes whose AUROC is defined, or `None` where there is none.
    pub auroc_macro: Option<f64>,
    /// Single-label: the share of examples whose class has the highest score (of equal scores the
    /// first). Multi-label: the share of right answers, over all examples and classes, when scores
    /// of at least 0.5 are taken as present.
    pub accuracy: f64,
}

/// Area under the ROC curve: the probability that a positive example scores higher than a negative
/// one, equal scores counting half. Exact; `None` without an example of either kind.
///
/// `scores` and `positives` are both `[N]`.
pub fn auroc(scores: ArrayView1<f64>, positives: &[bool]) -> Option<f64> {
    let cases = scores.iter().zip(positives).enumerate();
    let example = |(case, (&score, &positive)): (usize, (&f64, &bool))| Example {
        case: case as u32,
        score,
        positive,
    };
    let class = Ranked::new(0, cases.map(example).collect());
    ranked::auroc(&class, &class.once())
}

/// Measures `scores [N, C]` against one class per example, `labels [N]`.
pub fn single_label(scores: ArrayView2<f64>, labels: &[u32]) -> Classification {
    let first = usize::from(scores.ncols() == 2);
    let against_rest = |class: usize| labels.iter().map(|&l| l as usize == class).collect();
    let classes = (first..scores.ncols()).map(|c| class_auroc(scores, c, against_rest(c)));
    let rows = scores.axis_iter(Axis(0)).zip(labels);
    let right = rows
        .filter(|(row, label)| first_highest(*row) == **label as usize)
        .count();
    Classification::new(classes.collect(), right as f64 / labels.len() as f64)
}

/// Measures `scores [N, C]` against classes each present or absent, `targets [N, C]`.
pub fn multi_label(scores: ArrayView2<f64>, targets: ArrayView2<bool>) -> Classification {
    let classes =
        (0..scores.ncols()).map(|class| class_auroc(scores, class, targets.column(class).to_vec()));
    let answers = scores.iter().zip(&targets);
    let right = answers
        .filter(|&(&score, &target)| (score >= 0.5) == target)
        .count();
    Classification::new(classes.collect(), right as f64 / targets.len() as f64)
}

impl Classification {
    fn new(classes: Vec<ClassAuroc>, accuracy: f64) -> Classification {
        let defined: Vec<f64> = classes.iter().filter_map(|class| class.auroc).collect();
        let mean = defined.iter().sum::<f64>() / defined.len() as f64;
        let auroc_macro = (!defined.is_empty()).then_some(mean);
        Classification {
            classes,
            auroc_macro,
            accuracy,
        }
    }
}

fn class_auroc(scores: ArrayView2<f64>, class: usize, positives: Vec<bool>) -> ClassAuroc {
    ClassAuroc {
        class,
        positives: positives.iter().filter(|&&positive| positive).count(),
        auroc: auroc(scores.column(class), &positives),
    }
}

pub(super) fn first_highest(row: ArrayView1<f64>) -> usize {
    let higher = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (1..row.len()).fold(0, higher)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};
    use proptest::prelude::*;

    use super::*;

    fn pair_by_pair(examples: &[(u8, bool)]) -> Option<f64> {
        let (mut wins, mut pairs) = (0.0, 0.0);
        for (high, _) in examples.iter().filter(|e| e.1) {
            for (low, _) in examples.iter().filter(|e| !e.1) {
                wins += if high > low {
                    1.0
                } else {
                    0.5 * f64::from(high == low)
                };
                pairs += 1.0;
            }
        }
        (pairs > 0.0).then(|| wins / pairs)
    }

    proptest! {
        #[test]
        fn auroc_equals_pair_by_pair(
            examples in prop::collection::vec((0..9_u8, any::<bool>()), 0..60),
        ) {
            let scores: Array1<f64> = examples.iter().map(|e| f64::from(e.0)).collect();
            let positives: Vec<bool> = examples.iter().map(|e| e.1).collect();
            prop_assert_eq!(auroc(scores.view(), &positives), pair_by_pair(&examples));
        }
    }

    #[test]
    fn auroc_of_ties_is_half() {
        assert_eq!(
            auroc(array![0.0, -0.0, 0.0].view(), &[true, false, false]),
            Some(0.5)
        );
    }

    #[test]
    fn undefined_classes_are_left_out_of_the_mean() {
        let scores = array![[0.9, 0.2, 0.1], [0.1, 0.8, 0.3], [0.2, 0.1, 0.4]];
        let found = single_label(scores.view(), &[0, 1, 1]);
        assert_eq!(
            found.classes[2],
            ClassAuroc {
                class: 2,
                positives: 0,
                auroc: None
            }
        );
        assert_eq!(found.auroc_macro, Some((1.0 + 0.5) / 2.0));
        assert_eq!(found.accuracy, 2.0 / 3.0);
    }

    #[test]
    fn two_classes_are_measured_by_the_second() {
        let scores = array![[0.5, 0.5], [0.3, 0.9]];
        let found = single_label(scores.view(), &[0, 1]);
        assert_eq!(
            found.classes,
            [ClassAuroc {
                class: 1,
                positives: 1,
                auroc: Some(1.0)
            }]
        );
        assert_eq!(found.accuracy, 1.0);
    }

    #[test]
    fn multi_label_accuracy_counts_every_answer() {
        let found = multi_label(
            array![[0.5, 0.4], [0.6, 0.1]].view(),
            array![[true, true], [false, false]].view(),
        );
        assert_eq!(found.accuracy, 0.5);
        assert_eq!(found.auroc_macro, Some(0.5));
    }
}
