//! Variance of AUROC, and the test of two AUROCs, by DeLong et al. (1988), computed from ranks in `O(N log N)` as
//! by Sun and Xu (2014).
//!
//! Cases are assumed to be independent. If patients have several, intervals are too narrow: use
//! [`Bootstrap`](super::bootstrap::Bootstrap).

use super::confidence::{Interval, Level, two_sided};
use super::ranked::Ranked;
use crate::Error;

/// An AUROC and its variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delong {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Variance of `auroc`.
    pub variance: f64,
}

/// Difference of two AUROCs on the same cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// First AUROC minus the second.
    pub difference: f64,
    /// Variance of `difference`.
    pub variance: f64,
}

/// The AUROC of a class and its variance.
///
/// `None` with fewer than two positive or two negative cases.
pub fn delong(class: &Ranked) -> Option<Delong> {
    let placements = Placements::of(class);
    Some(Delong {
        auroc: mean(&placements.positives)?,
        variance: placements.variance()?,
    })
}

/// Compares two AUROCs on the same cases; these need not be in the same order.
///
/// `None` with fewer than two positive or two negative cases.
///
/// # Errors
///
/// [`MeasureError::UnlikeCases`](crate::error::MeasureError::UnlikeCases) if the cases or their truth differ.
pub fn delong_test(first: &Ranked, second: &Ranked) -> Result<Option<Difference>, Error> {
    first.check_same_cases(second)?;
    let placements = Placements::of(first).less(&Placements::of(second));
    let difference = || {
        Some(Difference {
            difference: mean(&placements.positives)?,
            variance: placements.variance()?,
        })
    };
    Ok(difference())
}

impl Delong {
    /// `auroc ± z sqrt(variance)`, clipped to 0 and 1. `None` if the variance is 0, as for an AUROC of 1, for
    /// which the method gives no interval.
    pub fn interval(&self, level: Level) -> Option<Interval> {
        let Interval { low, high } = normal(self.auroc, self.variance, level)?;
        Some(Interval {
            low: low.max(0.0),
            high: high.min(1.0),
        })
    }
}

impl Difference {
    /// `difference ± z sqrt(variance)`; `None` where the variance is 0.
    pub fn interval(&self, level: Level) -> Option<Interval> {
        normal(self.difference, self.variance, level)
    }

    /// `difference / sqrt(variance)`; `None` where the variance is 0, as for equal orders.
    pub fn z(&self) -> Option<f64> {
        (self.variance > 0.0).then(|| self.difference / self.variance.sqrt())
    }

    /// The two-sided p-value of no difference; `None` where the variance is 0.
    pub fn p(&self) -> Option<f64> {
        self.z().map(two_sided)
    }
}

fn normal(value: f64, variance: f64, level: Level) -> Option<Interval> {
    let reach = level.z() * variance.sqrt();
    (variance > 0.0).then_some(Interval {
        low: value - reach,
        high: value + reach,
    })
}

/// For each positive case the share of negative ones that it scores higher than, and for each
/// negative case the share of positive ones that score higher, equal scores counting half: DeLong's
/// `V10` and `V01`, in the order of the cases.
struct Placements {
    positives: Vec<f64>,
    negatives: Vec<f64>,
}

impl Placements {
    fn of(class: &Ranked) -> Placements {
        let once = class.once();
        let [m, n] = class.totals(&once);
        let (mut positives, mut negatives) = (0, 0);
        let mut placed = Vec::new();
        for step in class.steps(&once) {
            let above = (2 * positives + step.positives) as f64 / (2 * m) as f64;
            positives += step.positives;
            negatives += step.negatives;
            let below = (2 * (n - negatives) + step.negatives) as f64 / (2 * n) as f64;
            let share = |positive| if positive { below } else { above };
            placed.extend(step.cases.iter().map(|&(case, is)| (case, is, share(is))));
        }
        placed.sort_unstable_by_key(|place| place.0);
        let of = |positive| {
            let places = placed.iter().filter(|place| place.1 == positive);
            places.map(|place| place.2).collect()
        };
        Placements {
            positives: of(true),
            negatives: of(false),
        }
    }

    fn less(&self, other: &Placements) -> Placements {
        let less = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        Placements {
            positives: less(&self.positives, &other.positives),
            negatives: less(&self.negatives, &other.negatives),
        }
    }

    fn variance(&self) -> Option<f64> {
        let of_mean = |values: &[f64]| Some(variance(values)? / values.len() as f64);
        Some(of_mean(&self.positives)? + of_mean(&self.negatives)?)
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares = values.iter().map(|value| (value - mean) * (value - mean));
    (values.len() > 1).then(|| squares.sum::<f64>() / (values.len() - 1) as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis};
    use proptest::prelude::*;

    use super::super::ranked::auroc;
    use super::super::scored::multi_label;
    use super::*;
    use crate::error::MeasureError;

    fn class(scores: &[f64], targets: &[u8]) -> Ranked {
        let scores = Array2::from_shape_vec((scores.len(), 1), scores.to_vec()).unwrap();
        let targets = targets.iter().map(|&target| Some(target == 1)).collect();
        let targets = Array2::from_shape_vec((scores.nrows(), 1), targets).unwrap();
        multi_label(scores.view(), targets.view())
            .unwrap()
            .remove(0)
    }

    /// Variance of the AUROC from a matrix of wins, a row per positive case.
    fn pair_by_pair(positives: &[u8], negatives: &[u8]) -> f64 {
        let win = |p: u8, n: u8| f64::from(u8::from(p > n)) + f64::from(u8::from(p == n)) / 2.0;
        let wins = Array2::from_shape_fn((positives.len(), negatives.len()), |(i, j)| {
            win(positives[i], negatives[j])
        });
        let of_means = |axis| {
            let means = wins.mean_axis(Axis(axis)).unwrap();
            means.var(1.0) / means.len() as f64
        };
        of_means(1) + of_means(0)
    }

    proptest! {
        #[test]
        fn variance_equals_pair_by_pair(
            positives in prop::collection::vec(0..9_u8, 2..40),
            negatives in prop::collection::vec(0..9_u8, 2..40),
        ) {
            let scores = positives.iter().chain(&negatives).map(|&score| f64::from(score));
            let targets = [vec![1; positives.len()], vec![0; negatives.len()]].concat();
            let class = class(&scores.collect::<Vec<_>>(), &targets);
            let found = delong(&class).unwrap();
            prop_assert!((found.variance - pair_by_pair(&positives, &negatives)).abs() < 1e-14);
            prop_assert!((found.auroc - auroc(&class, &class.once()).unwrap()).abs() < 1e-14);
        }
    }

    #[test]
    fn a_perfect_order_has_no_interval() {
        let class = class(&[1.0, 2.0, 3.0, 4.0], &[0, 0, 1, 1]);
        let found = delong(&class).unwrap();
        assert_eq!((found.auroc, found.variance), (1.0, 0.0));
        assert_eq!(found.interval(Level::new(0.95).unwrap()), None);
    }

    #[test]
    fn an_interval_ends_at_one() {
        let class = class(&[1.0, 2.0, 4.0, 3.0, 5.0, 6.0], &[0, 0, 0, 1, 1, 1]);
        let found = delong(&class).unwrap();
        assert_eq!(Some(found.auroc), auroc(&class, &class.once()));
        let Interval { low, high } = found.interval(Level::new(0.95).unwrap()).unwrap();
        assert_eq!(high, 1.0);
        assert!(low > 0.0 && low < found.auroc);
    }

    #[test]
    fn equal_orders_have_no_p_value() {
        let (targets, scores) = ([0, 1, 0, 1, 1], [0.1, 0.3, 0.5, 0.5, 0.9]);
        let squared = scores.map(|score| score * score);
        let test = delong_test(&class(&scores, &targets), &class(&squared, &targets));
        let found = test.unwrap().unwrap();
        assert_eq!((found.difference, found.variance), (0.0, 0.0));
        assert_eq!((found.z(), found.p()), (None, None));
    }

    #[test]
    fn one_positive_case_has_no_variance() {
        let class = class(&[0.1, 0.2, 0.3], &[0, 1, 0]);
        assert_eq!(delong(&class), None);
        assert_eq!(delong_test(&class, &class).unwrap(), None);
    }

    #[test]
    fn tests_on_other_cases_are_refused() {
        let (first, second) = (class(&[0.1, 0.2], &[0, 1]), class(&[0.1, 0.2], &[1, 0]));
        assert!(matches!(
            delong_test(&first, &second),
            Err(Error::Measure(MeasureError::UnlikeCases))
        ));
    }
}
