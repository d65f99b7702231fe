//! One class against the rest: cases in order of score, and measures of this order.

use super::weights::Weights;
use crate::Error;
use crate::error::MeasureError;

/// A case with its score for one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Example {
    pub(super) case: u32,
    pub(super) score: f64,
    pub(super) positive: bool,
}

/// Scores and targets of a class, sorted once for many measures.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    class: usize,
    /// Highest score first.
    cases: Vec<(u32, bool)>,
    ties: Vec<Tie>,
}

/// Cases of equal scores: those after the ones of the tie before, up to `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tie {
    score: f64,
    end: usize,
}

/// Weights of the positive and negative cases of one score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step<'a> {
    pub(super) score: f64,
    pub(super) cases: &'a [(u32, bool)],
    pub(super) positives: u64,
    pub(super) negatives: u64,
}

impl Ranked {
    pub(super) fn new(class: usize, mut examples: Vec<Example>) -> Ranked {
        // Minus zero equals zero but would be sorted before it.
        examples.iter_mut().for_each(|e| e.score += 0.0);
        examples.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.case.cmp(&b.case)));
        let mut end = 0;
        let tie = |equals: &[Example]| {
            end += equals.len();
            let score = equals[0].score;
            Tie { score, end }
        };
        let ties = examples
            .chunk_by(|a, b| a.score == b.score)
            .map(tie)
            .collect();
        let cases = examples.iter().map(|e| (e.case, e.positive)).collect();
        Ranked { class, cases, ties }
    }

    /// Scores of the cases for a class, and which of them are of it.
    pub(crate) fn of(
        class: usize,
        scores: impl Iterator<Item = f64>,
        is_positive: impl Fn(usize) -> bool,
    ) -> Ranked {
        let examples = scores.enumerate().map(|(case, score)| Example {
            case: case as u32,
            score,
            positive: is_positive(case),
        });
        Ranked::new(class, examples.collect())
    }

    /// Cases of several classes as one class, for micro averages.
    pub fn pooled(classes: &[Ranked]) -> Ranked {
        Ranked::new(0, classes.iter().flat_map(Ranked::examples).collect())
    }

    /// Index of the class.
    pub fn class(&self) -> usize {
        self.class
    }

    /// Cases, highest score first; of equal scores in their order.
    pub(super) fn examples(&self) -> impl Iterator<Item = Example> + '_ {
        self.tied().flat_map(|(score, cases)| {
            cases.iter().map(move |&(case, positive)| Example {
                case,
                score,
                positive,
            })
        })
    }

    /// Weight of the cases of each score, highest score first.
    pub(super) fn steps<'a>(&'a self, weights: &'a Weights) -> impl Iterator<Item = Step<'a>> + 'a {
        self.tied().map(|(score, cases)| {
            let (mut positives, mut all) = (0, 0);
            for &(case, positive) in cases {
                let weight = u64::from(weights.of(case as usize));
                all += weight;
                positives += weight * u64::from(positive);
            }
            let negatives = all - positives;
            Step {
                score,
                cases,
                positives,
                negatives,
            }
        })
    }

    fn tied(&self) -> impl Iterator<Item = (f64, &[(u32, bool)])> + '_ {
        let mut start = 0;
        self.ties.iter().map(move |tie| {
            let cases = &self.cases[start..tie.end];
            start = tie.end;
            (tie.score, cases)
        })
    }

    /// Weights with which each case of the class counts once.
    pub(super) fn once(&self) -> Weights {
        let last = self.cases.iter().map(|case| case.0).max();
        Weights::once(last.map_or(0, |last| last as usize + 1))
    }

    /// Weights of positive and of negative cases.
    pub fn totals(&self, weights: &Weights) -> [u64; 2] {
        let add = |[p, n]: [u64; 2], step: Step<'_>| [p + step.positives, n + step.negatives];
        self.steps(weights).fold([0, 0], add)
    }

    /// Checks that two classes have the same cases, with the same targets.
    ///
    /// # Errors
    ///
    /// [`MeasureError::UnlikeCases`] if they do not.
    pub fn check_same_cases(&self, other: &Ranked) -> Result<(), Error> {
        let sorted = |ranked: &Ranked| {
            let mut cases = ranked.cases.clone();
            cases.sort_unstable();
            cases
        };
        if sorted(self) == sorted(other) {
            Ok(())
        } else {
            Err(Error::Measure(MeasureError::UnlikeCases))
        }
    }
}

/// Area under the ROC curve: the probability that a positive case scores higher than a negative
/// one, where equal scores count half (Hanley and McNeil 1982). Exact: a ratio of integers.
///
/// `None` without a positive or without a negative case.
///
/// # Panics
///
/// If `weights` lacks one of the class's cases.
pub fn auroc(class: &Ranked, weights: &Weights) -> Option<f64> {
    let (mut half_wins, mut positives, mut negatives) = (0, 0, 0);
    for step in class.steps(weights) {
        half_wins += step.negatives * (2 * positives + step.positives);
        positives += step.positives;
        negatives += step.negatives;
    }
    let pairs: u64 = positives * negatives;
    (pairs > 0).then(|| half_wins as f64 / (2 * pairs) as f64)
}

/// Average precision: `sum (R_i - R_(i-1)) P_i` over the distinct scores from the highest down,
/// where `P_i` and `R_i` are precision and recall if scores from the `i`-th up are predicted as present. As
/// scikit-learn's `average_precision_score`, without interpolation.
///
/// `None` without a positive case, and without a negative one, for which every order has the value 1.
///
/// # Panics
///
/// If `weights` lacks one of the class's cases.
pub fn average_precision(class: &Ranked, weights: &Weights) -> Option<f64> {
    let (mut sum, mut positives, mut all) = (0.0, 0, 0);
    for step in class.steps(weights) {
        positives += step.positives;
        all += step.positives + step.negatives;
        if step.positives > 0 {
            sum += step.positives as f64 * (positives as f64 / all as f64);
        }
    }
    (0 < positives && positives < all).then(|| sum / positives as f64)
}

/// A measure of each class, `[C]`.
pub fn per_class(
    classes: &[Ranked],
    weights: &Weights,
    measure: impl Fn(&Ranked, &Weights) -> Option<f64>,
) -> Vec<Option<f64>> {
    classes
        .iter()
        .map(|class| measure(class, weights))
        .collect()
}

/// The macro average: the mean over the classes whose measure is defined; `None` if none is.
pub fn mean_defined(values: &[Option<f64>]) -> Option<f64> {
    let defined: Vec<f64> = values.iter().copied().flatten().collect();
    (!defined.is_empty()).then(|| defined.iter().sum::<f64>() / defined.len() as f64)
}

/// Mean over classes, `None` if one is undefined: for resamples, all of which must have the same classes.
pub fn mean_of_all(values: &[Option<f64>]) -> Option<f64> {
    let complete = values.iter().all(Option::is_some);
    complete.then(|| mean_defined(values)).flatten()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::super::scored::multi_label;
    use super::*;

    fn ranked(scores: &[f64], targets: &[u8]) -> Ranked {
        let examples = scores.iter().zip(targets).enumerate();
        let example = |(case, (&score, &target)): (usize, (&f64, &u8))| Example {
            case: case as u32,
            score,
            positive: target == 1,
        };
        Ranked::new(0, examples.map(example).collect())
    }

    #[test]
    fn zeros_of_either_sign_are_ties() {
        let class = ranked(&[0.0, -0.0, 0.0, -0.0], &[1, 0, 0, 1]);
        let once = Weights::once(4);
        assert_eq!(auroc(&class, &once), Some(0.5));
        assert_eq!(average_precision(&class, &once), Some(0.5));
    }

    #[test]
    fn a_class_without_positives_or_negatives_has_neither_auroc_nor_average_precision() {
        let once = Weights::once(2);
        let (none, all) = (ranked(&[0.1, 0.2], &[0, 0]), ranked(&[0.1, 0.2], &[1, 1]));
        assert_eq!([auroc(&none, &once), auroc(&all, &once)], [None; 2]);
        let precisions = [&none, &all].map(|class| average_precision(class, &once));
        assert_eq!(precisions, [None; 2]);
        assert_eq!(auroc(&ranked(&[], &[]), &Weights::once(0)), None);
    }

    #[test]
    fn a_class_whose_only_positive_weighs_nothing_has_no_auroc() {
        let class = ranked(&[0.3, 0.2, 0.1], &[0, 1, 0]);
        assert_eq!(auroc(&class, &Weights(vec![2, 0, 1])), None);
        assert_eq!(average_precision(&class, &Weights(vec![2, 0, 1])), None);
    }

    #[test]
    fn blanks_are_left_out_of_their_class_only() {
        let scores = array![[0.1, 0.4], [0.2, 0.3], [0.3, 0.2], [0.4, 0.1]];
        let mut targets = Array2::from_elem((4, 2), Some(true));
        targets[[0, 0]] = Some(false);
        targets[[3, 0]] = None;
        targets[[0, 1]] = Some(false);
        let once = Weights::once(4);
        let classes = multi_label(scores.view(), targets.view()).unwrap();
        assert_eq!(classes[0].totals(&once), [2, 1]);
        assert_eq!(classes[1].totals(&once), [3, 1]);
        let found = per_class(&classes, &once, auroc);
        assert_eq!(found, [Some(1.0), Some(0.0)]);
        assert_eq!(mean_defined(&found), Some(0.5));
        assert_eq!(Ranked::pooled(&classes).totals(&once), [5, 2]);
    }

    #[test]
    fn the_mean_of_no_defined_class_is_undefined() {
        assert_eq!(mean_defined(&[None, None]), None);
        assert_eq!(mean_defined(&[None, Some(0.25), Some(0.75)]), Some(0.5));
        assert_eq!(mean_of_all(&[None, Some(0.25), Some(0.75)]), None);
        assert_eq!(mean_of_all(&[Some(0.25), Some(0.75)]), Some(0.5));
        assert_eq!(mean_of_all(&[]), None);
    }

    #[test]
    fn classes_of_other_cases_or_other_truth_are_told_apart() {
        let class = ranked(&[0.1, 0.2, 0.3], &[0, 1, 0]);
        assert!(
            class
                .check_same_cases(&ranked(&[3.0, 2.0, 1.0], &[0, 1, 0]))
                .is_ok()
        );
        for other in [
            ranked(&[0.1, 0.2], &[0, 1]),
            ranked(&[0.1, 0.2, 0.3], &[0, 0, 1]),
        ] {
            assert!(matches!(
                class.check_same_cases(&other),
                Err(Error::Measure(MeasureError::UnlikeCases))
            ));
        }
    }
}
