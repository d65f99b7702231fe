//! Calibration of probabilities.
//!
//! A score outside of 0 to 1 is not a probability, nor are scores of exclusive classes that do not sum to 1, up
//! to rounding (1e-6).

use ndarray::Axis;

use super::ranked::Ranked;
use super::scored::{SingleLabel, first_highest};
use super::weights::Weights;

/// Bins of equal width between 0 and 1.
const BINS: usize = 15;

/// Distance above an edge of a bin, in widths of a bin, that counts as rounding: a score that is
/// computed as a sum or a quotient misses its exact value by about 1e-15.
const EDGE: f64 = 1e-9;

/// Distance beyond 0 or 1 that counts as rounding.
const SLACK: f64 = 1e-6;

/// Difference between confidence and the share of correct predictions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// The mean over the bins, each counting as much as its cases: the expected calibration error.
    pub expected: f64,
    /// The largest difference of a bin that has cases: the maximum calibration error.
    pub maximum: f64,
}

/// The mean score of the cases of a bin, the share of them that is right, and their weight.
pub type BinOf = (f64, f64, u64);

/// The bins of [`calibration`] that have cases, for a calibration curve of several classes together.
///
/// `None` without cases, and where a score is no probability.
///
/// # Panics
///
/// If `weights` lacks one of the classes' cases.
pub fn reliability(classes: &[Ranked], weights: &Weights) -> Option<Vec<BinOf>> {
    let bins = bins(classes.iter().flat_map(|class| class.answers(weights)))?;
    Some(filled(&bins))
}

/// The Brier score of a class, `mean (p - y)^2`, from 0 to 1; scikit-learn's `brier_score_loss` for
/// two classes (Brier 1950).
///
/// `None` without cases, and where a score is no probability.
///
/// # Panics
///
/// If `weights` lacks one of the class's cases.
pub fn brier(class: &Ranked, weights: &Weights) -> Option<f64> {
    let error = |(score, positive, weight): Answer| {
        let off = score - f64::from(u8::from(positive));
        (off * off, weight)
    };
    mean(
        probabilities(class.answers(weights))?
            .into_iter()
            .map(error),
    )
}

/// Calibration of a class: differences between its score and the share of positive cases in 15 bins of equal
/// width. Bin `i` holds scores above `i / 15` up to `(i + 1) / 15`, and the first also 0 (Naeini et al. 2015).
/// Scores that differ from an edge only by rounding lie on it.
///
/// `None` without cases, and where a score is no probability.
///
/// # Panics
///
/// If `weights` lacks one of the class's cases.
pub fn calibration(class: &Ranked, weights: &Weights) -> Option<Calibration> {
    binned(class.answers(weights))
}

impl SingleLabel {
    /// Whether the scores of every case are from 0 to 1 and add up to 1.
    pub fn are_probabilities(&self) -> bool {
        self.scores()
            .rows()
            .into_iter()
            .all(|row| row.iter().copied().all(is_probability) && (row.sum() - 1.0).abs() <= SLACK)
    }

    /// The Brier score, `mean sum_c (p_c - y_c)^2`, from 0 to 2 (Brier 1950); scikit-learn's
    /// `brier_score_loss` for more than two classes. For two classes it is twice that of
    /// [`brier`].
    ///
    /// `None` where scores are no probabilities, or no case has weight.
    ///
    /// # Panics
    ///
    /// If `weights` lacks a case.
    pub fn brier(&self, weights: &Weights) -> Option<f64> {
        if !self.are_probabilities() {
            return None;
        }
        let scores = self.scores();
        let errors = scores.axis_iter(Axis(0)).zip(self.labels()).enumerate();
        mean(errors.map(|(case, (row, &label))| {
            let off = |(class, p): (usize, &f64)| p - f64::from(u8::from(class == label));
            let error = row.iter().enumerate().map(off).map(|off| off * off).sum();
            (error, weights.of(case))
        }))
    }

    /// The bins of [`calibration`](Self::calibration) that have cases.
    ///
    /// `None` where scores are no probabilities, or no case has weight.
    ///
    /// # Panics
    ///
    /// If `weights` lacks a case.
    pub fn reliability(&self, weights: &Weights) -> Option<Vec<BinOf>> {
        self.are_probabilities()
            .then(|| bins(self.highest(weights)))
            .flatten()
            .map(|bins| filled(&bins))
    }

    /// The highest score of each case.
    fn highest<'a>(&'a self, weights: &'a Weights) -> impl Iterator<Item = Answer> + 'a {
        (0..self.cases()).map(move |case| {
            let scores = self.scores();
            let row = scores.row(case);
            let predicted = first_highest(row);
            let is_right = predicted == self.labels()[case];
            (row[predicted], is_right, weights.of(case))
        })
    }

    /// Calibration of the highest score of each case: differences from the share of correct predictions in the
    /// bins of [`calibration`] (Guo et al. 2017).
    ///
    /// `None` where scores are no probabilities, or no case has weight.
    ///
    /// # Panics
    ///
    /// If `weights` lacks a case.
    pub fn calibration(&self, weights: &Weights) -> Option<Calibration> {
        if !self.are_probabilities() {
            return None;
        }
        binned(self.highest(weights))
    }
}

/// A score, whether it is correct, and its weight.
type Answer = (f64, bool, u32);

impl Ranked {
    fn answers<'a>(&'a self, weights: &'a Weights) -> impl Iterator<Item = Answer> + 'a {
        self.examples()
            .map(|e| (e.score, e.positive, weights.of(e.case as usize)))
    }
}

fn is_probability(score: f64) -> bool {
    (-SLACK..=1.0 + SLACK).contains(&score)
}

fn probabilities(answers: impl Iterator<Item = Answer>) -> Option<Vec<Answer>> {
    answers
        .map(|answer| is_probability(answer.0).then_some(answer))
        .collect()
}

fn mean(values: impl Iterator<Item = (f64, u32)>) -> Option<f64> {
    let add =
        |(sum, all), (value, weight)| (sum + value * f64::from(weight), all + u64::from(weight));
    let (sum, all) = values.fold((0.0, 0), add);
    (all > 0).then(|| sum / all as f64)
}

#[derive(Clone, Copy, Default)]
struct Bin {
    confidence: f64,
    right: u64,
    all: u64,
}

/// `ceil(15 score) - 1`, from 0 to 14.
fn bin_of(score: f64) -> usize {
    let above = (score * BINS as f64 - EDGE).ceil() as usize;
    above.clamp(1, BINS) - 1
}

fn bins(answers: impl Iterator<Item = Answer>) -> Option<[Bin; BINS]> {
    let mut bins = [Bin::default(); BINS];
    for (score, right, weight) in probabilities(answers)? {
        let bin = &mut bins[bin_of(score)];
        bin.confidence += score * f64::from(weight);
        bin.right += u64::from(weight) * u64::from(right);
        bin.all += u64::from(weight);
    }
    bins.iter().any(|bin| bin.all > 0).then_some(bins)
}

fn filled(bins: &[Bin; BINS]) -> Vec<BinOf> {
    let filled = bins.iter().filter(|bin| bin.all > 0);
    let means = filled.map(|bin| {
        let all = bin.all as f64;
        (bin.confidence / all, bin.right as f64 / all, bin.all)
    });
    means.collect()
}

fn binned(answers: impl Iterator<Item = Answer>) -> Option<Calibration> {
    let bins = bins(answers)?;
    let all: u64 = bins.iter().map(|bin| bin.all).sum();
    let filled = bins.iter().filter(|bin| bin.all > 0);
    let gaps = filled.map(|bin| ((bin.confidence - bin.right as f64).abs(), bin.all as f64));
    Some(Calibration {
        expected: gaps.clone().map(|(gap, _)| gap).sum::<f64>() / all as f64,
        maximum: gaps.map(|(gap, all)| gap / all).fold(0.0, f64::max),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayView2, array};

    use super::super::scored::multi_label;
    use super::*;

    fn class(scores: ArrayView2<f64>, positive: bool) -> Ranked {
        let targets = Array2::from_elem(scores.dim(), Some(positive));
        multi_label(scores, targets.view()).unwrap().remove(0)
    }

    #[test]
    fn a_bin_takes_its_upper_edge_and_not_its_lower() {
        // 0.2 = 3 / 15 is alone in the third bin: right once of once, the others in the fourth.
        let scores = array![[0.2], [0.21], [0.25]];
        let found = calibration(&class(scores.view(), true), &Weights::once(3)).unwrap();
        assert!((found.maximum - 0.8).abs() < 1e-12);
        assert!((found.expected - (0.8 + 0.79 + 0.75) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn rounding_does_not_move_a_score_from_an_edge() {
        for edge in 1..=BINS {
            // Sums of `edge` fifteenths and of thirtieths differ from the quotient.
            let exact = edge as f64 / BINS as f64;
            let fifteenths: f64 = vec![1.0 / 15.0; edge].iter().sum();
            let thirtieths: f64 = vec![1.0 / 30.0; 2 * edge].iter().sum();
            for score in [
                exact,
                fifteenths,
                thirtieths,
                exact.next_up(),
                exact.next_down(),
            ] {
                assert_eq!(bin_of(score), edge - 1, "{score}");
            }
            assert_eq!(bin_of(exact + 1e-6), edge.min(BINS - 1));
        }
        assert_eq!(
            (bin_of(0.0), bin_of(-1e-9), bin_of(1.0 + 1e-9)),
            (0, 0, BINS - 1)
        );
    }

    #[test]
    fn certain_scores_are_in_the_outer_bins() {
        let scores = array![[0.0], [1.0], [1.0 + 1e-9], [-1e-9]];
        let found = calibration(&class(scores.view(), true), &Weights::once(4)).unwrap();
        assert!((found.maximum - 1.0).abs() < 1e-8);
        assert!((found.expected - 0.5).abs() < 1e-8);
    }

    #[test]
    fn scores_that_are_no_probabilities_have_no_calibration() {
        for scores in [array![[0.5], [1.5]], array![[-0.1], [0.5]]] {
            let class = class(scores.view(), true);
            let once = Weights::once(2);
            assert_eq!(brier(&class, &once), None);
            assert_eq!(calibration(&class, &once), None);
        }
        let logits = array![[2.0, -1.0], [0.5, 0.5]];
        let shares_of_more = array![[0.05, 0.01], [0.1, 0.0]];
        for scores in [logits, shares_of_more] {
            let single = SingleLabel::new(scores.view(), &[0, 1]).unwrap();
            assert_eq!(single.brier(&Weights::once(2)), None);
            assert_eq!(single.calibration(&Weights::once(2)), None);
        }
    }

    #[test]
    fn a_heavy_case_counts_as_several() {
        let scores = array![[0.3], [0.8]];
        let twice = array![[0.3], [0.8], [0.8]];
        let (heavy, twice) = (class(scores.view(), true), class(twice.view(), true));
        let (weights, once) = (Weights(vec![1, 2]), Weights::once(3));
        assert_eq!(brier(&heavy, &weights), brier(&twice, &once));
        assert_eq!(calibration(&heavy, &weights), calibration(&twice, &once));
        assert_eq!(brier(&heavy, &Weights(vec![0, 0])), None);
        assert_eq!(calibration(&heavy, &Weights(vec![0, 0])), None);
    }

    #[test]
    fn two_exclusive_classes_have_twice_the_brier_score_of_one() {
        let scores = array![[0.25, 0.75], [0.5, 0.5], [0.875, 0.125]];
        let single = SingleLabel::new(scores.view(), &[1, 0, 1]).unwrap();
        let once = Weights::once(3);
        let one = brier(&single.classes()[0], &once).unwrap();
        assert_eq!(single.brier(&once), Some(2.0 * one));
    }
}
