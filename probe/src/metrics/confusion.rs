//! Confusion counts, at a threshold or by the highest score.

use std::iter::Sum;

use ndarray::{Array2, ArrayView2};

use super::ranked::Ranked;
use super::scored::SingleLabel;
use super::weights::Weights;

/// Confusion counts of a class.
///
/// Measures are `None` where their denominator is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Positive cases predicted as positive.
    pub true_positives: u64,
    /// Negative cases predicted as positive.
    pub false_positives: u64,
    /// Negative cases predicted as negative.
    pub true_negatives: u64,
    /// Positive cases predicted as negative.
    pub false_negatives: u64,
}

impl Confusion {
    /// Counts for a class if scores of at least `threshold` are predicted as positive.
    ///
    /// # Panics
    ///
    /// If `weights` lacks one of the class's cases.
    pub fn at(threshold: f64, class: &Ranked, weights: &Weights) -> Confusion {
        let mut counts = Confusion::default();
        for step in class.steps(weights) {
            if step.score >= threshold {
                counts.true_positives += step.positives;
                counts.false_positives += step.negatives;
            } else {
                counts.false_negatives += step.positives;
                counts.true_negatives += step.negatives;
            }
        }
        counts
    }

    /// The share of positive cases found; `None` without positive cases.
    pub fn sensitivity(&self) -> Option<f64> {
        share(
            self.true_positives,
            self.true_positives + self.false_negatives,
        )
    }

    /// The share of negative cases taken as negative; `None` without negative cases.
    pub fn specificity(&self) -> Option<f64> {
        share(
            self.true_negatives,
            self.true_negatives + self.false_positives,
        )
    }

    /// `2 TP / (2 TP + FP + FN)`, the harmonic mean of precision and sensitivity; `None` if no case is positive or
    /// predicted as positive.
    pub fn f1(&self) -> Option<f64> {
        let right = 2 * self.true_positives;
        share(right, right + self.false_positives + self.false_negatives)
    }

    /// Share of correct predictions; `None` without cases.
    pub fn accuracy(&self) -> Option<f64> {
        let right = self.true_positives + self.true_negatives;
        share(right, right + self.false_positives + self.false_negatives)
    }

    /// Mean of sensitivity and specificity; `None` if one of them is.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some(f64::midpoint(self.sensitivity()?, self.specificity()?))
    }
}

/// Counts of several classes together.
impl Sum for Confusion {
    fn sum<I: Iterator<Item = Confusion>>(counts: I) -> Confusion {
        counts.fold(Confusion::default(), |a, b| Confusion {
            true_positives: a.true_positives + b.true_positives,
            false_positives: a.false_positives + b.false_positives,
            true_negatives: a.true_negatives + b.true_negatives,
            false_negatives: a.false_negatives + b.false_negatives,
        })
    }
}

/// Threshold with the highest F1, of several the highest score. It must be chosen on other cases than those that
/// [`Confusion::at`] applies it to.
///
/// `None` without a positive case, when F1 is 0 at every threshold.
///
/// # Panics
///
/// If `weights` lacks one of the class's cases.
pub fn best_f1_threshold(class: &Ranked, weights: &Weights) -> Option<f64> {
    let [positives, _] = class.totals(weights);
    let (mut found, mut taken, mut best) = (0, 0, (0.0, None));
    for step in class.steps(weights) {
        found += step.positives;
        taken += step.positives + step.negatives;
        let f1 = (2 * found) as f64 / (positives + taken) as f64;
        if f1 > best.0 {
            best = (f1, Some(step.score));
        }
    }
    best.1
}

/// Counts `[C, C]` of cases by class (rows) and predicted class (columns).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix(Array2<u64>);

impl Matrix {
    /// Counts cases by the class with the highest score, of equal scores the first.
    ///
    /// # Panics
    ///
    /// If `weights` lacks a case.
    pub fn new(scored: &SingleLabel, weights: &Weights) -> Matrix {
        let classes = scored.scores().ncols();
        let mut counts = Array2::zeros((classes, classes));
        let pairs = scored.labels().iter().zip(scored.predicted());
        for (case, (&label, predicted)) in pairs.enumerate() {
            counts[[label, predicted]] += u64::from(weights.of(case));
        }
        Matrix(counts)
    }

    /// The counts, `[C, C]`.
    pub fn counts(&self) -> ArrayView2<'_, u64> {
        self.0.view()
    }

    /// Each class against the rest, `[C]`.
    pub fn classes(&self) -> Vec<Confusion> {
        (0..self.0.nrows()).map(|class| self.class(class)).collect()
    }

    fn class(&self, class: usize) -> Confusion {
        let true_positives = self.0[[class, class]];
        let false_positives = self.0.column(class).sum() - true_positives;
        let false_negatives = self.0.row(class).sum() - true_positives;
        let wrong = false_positives + false_negatives;
        Confusion {
            true_positives,
            false_positives,
            true_negatives: self.0.sum() - true_positives - wrong,
            false_negatives,
        }
    }

    /// Share of correctly predicted cases; `None` without cases.
    pub fn accuracy(&self) -> Option<f64> {
        share(self.0.diag().sum(), self.0.sum())
    }

    /// The mean sensitivity of the classes that occur, as scikit-learn's
    /// `balanced_accuracy_score`; `None` if fewer than two occur.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let classes = self.classes();
        let occurring: Vec<f64> = classes.iter().filter_map(Confusion::sensitivity).collect();
        (occurring.len() > 1).then(|| occurring.iter().sum::<f64>() / occurring.len() as f64)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::super::scored::multi_label;
    use super::*;

    fn ranked(scores: &[f64], positives: &[bool]) -> Ranked {
        let scores = Array2::from_shape_vec((scores.len(), 1), scores.to_vec()).unwrap();
        let targets = positives.iter().copied().map(Some).collect();
        let targets = Array2::from_shape_vec((positives.len(), 1), targets).unwrap();
        multi_label(scores.view(), targets.view())
            .unwrap()
            .remove(0)
    }

    #[test]
    fn scores_of_the_threshold_are_positive() {
        let class = ranked(&[0.2, 0.5, 0.5, 0.8], &[true, true, false, false]);
        let counts = Confusion::at(0.5, &class, &Weights(vec![5, 1, 2, 3]));
        let expected = Confusion {
            true_positives: 1,
            false_positives: 5,
            true_negatives: 0,
            false_negatives: 5,
        };
        assert_eq!(counts, expected);
        assert_eq!(counts.specificity(), Some(0.0));
    }

    #[test]
    fn of_equal_f1_the_highest_threshold_is_chosen() {
        // F1 is 2/3 at 0.9, 1/2 at 0.7, and 2/3 at 0.4.
        let class = ranked(&[0.9, 0.7, 0.4, 0.4], &[true, false, true, false]);
        assert_eq!(best_f1_threshold(&class, &Weights::once(4)), Some(0.9));
        // With the third case heavy, 0.4 alone is the best.
        let heavy = Weights(vec![1, 1, 9, 1]);
        assert_eq!(best_f1_threshold(&class, &heavy), Some(0.4));
    }

    #[test]
    fn without_positives_there_is_no_threshold() {
        let class = ranked(&[0.9, 0.1], &[false, false]);
        assert_eq!(best_f1_threshold(&class, &Weights::once(2)), None);
        let counts = Confusion::at(0.95, &class, &Weights::once(2));
        assert_eq!(
            [
                counts.sensitivity(),
                counts.f1(),
                counts.balanced_accuracy()
            ],
            [None; 3]
        );
        assert_eq!(counts.accuracy(), Some(1.0));
    }

    #[test]
    fn a_single_class_has_no_balanced_accuracy() {
        let scores = array![[0.9, 0.1], [0.2, 0.8]];
        let one = SingleLabel::new(scores.view(), &[0, 0]).unwrap();
        let matrix = Matrix::new(&one, &Weights::once(2));
        assert_eq!(matrix.accuracy(), Some(0.5));
        assert_eq!(matrix.balanced_accuracy(), None);
    }

    #[test]
    fn counts_of_classes_add_up() {
        let class = ranked(&[0.2, 0.5, 0.8], &[true, true, false]);
        let counts = Confusion::at(0.5, &class, &Weights::once(3));
        let sum: Confusion = [counts, counts].into_iter().sum();
        assert_eq!(sum, Confusion::at(0.5, &class, &Weights(vec![2; 3])));
    }
}
