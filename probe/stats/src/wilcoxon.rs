//! Wilcoxon's signed-rank test.

use serde::Serialize;

use crate::ranks::{average_ranks, ties};
use crate::studentized_range::normal_below;

/// Most pairs for which p-values are exact if no difference is zero and no two are equal.
const MOST_EXACT: usize = 50;
/// Most pairs for which p-values are exact in any case.
const MOST_TIED: usize = 13;

/// How a p-value was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// From all signs of the differences.
    Exact,
    /// From a normal distribution with the variance of tied ranks, without a continuity correction.
    Normal,
}

/// Wilcoxon's signed-rank test of paired values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wilcoxon {
    /// Pairs, those without a difference included.
    pub pairs: usize,
    /// Pairs without a difference. They are dropped before ranking (Wilcoxon's rule).
    pub zeros: usize,
    /// The lower of the sums of ranks of positive and of negative differences.
    pub statistic: f64,
    /// Two-sided p-value; 1 if no pair differs.
    pub p: f64,
    /// How it was computed.
    pub method: Method,
    /// The matched-pairs rank-biserial correlation, an effect size from -1 to 1 (Kerby 2014): the share of the
    /// sum of ranks for which the first is higher, less that for which the second is. `None` if no pair differs.
    pub rank_biserial: Option<f64>,
}

/// Tests whether paired differences, first less second, are symmetric about 0.
///
/// The p-value is SciPy's `wilcoxon` with its defaults (`method="auto"`, `zero_method="wilcox"`): exact for up
/// to 50 pairs without zeros and ties and for up to 13 pairs with them, and else approximate. If no pair
/// differs it is 1, where SciPy's is undefined. Differences must be finite.
pub fn wilcoxon(differences: &[f64]) -> Wilcoxon {
    let kept: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let sizes: Vec<f64> = kept.iter().map(|d| d.abs()).collect();
    let ranks = average_ranks(&sizes);
    let tied = ties(&sizes);
    let [plus, minus] = sums(&kept, &ranks);
    let (pairs, zeros) = (differences.len(), differences.len() - kept.len());
    let is_plain = zeros == 0 && tied.is_empty();
    let is_exact = pairs <= MOST_TIED || is_plain && pairs <= MOST_EXACT || kept.is_empty();
    let (p, method) = if is_exact {
        (exact(&ranks, plus.min(minus)), Method::Exact)
    } else {
        (normal(kept.len(), &tied, plus), Method::Normal)
    };
    Wilcoxon {
        pairs,
        zeros,
        statistic: plus.min(minus),
        p,
        method,
        rank_biserial: (!kept.is_empty()).then(|| (plus - minus) / (plus + minus)),
    }
}

/// The rank-biserial correlation alone, for draws of its interval.
pub fn rank_biserial(differences: &[f64]) -> Option<f64> {
    let kept: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let sizes: Vec<f64> = kept.iter().map(|d| d.abs()).collect();
    let [plus, minus] = sums(&kept, &average_ranks(&sizes));
    (!kept.is_empty()).then(|| (plus - minus) / (plus + minus))
}

/// The sums of the ranks of positive and of negative differences.
fn sums(differences: &[f64], ranks: &[f64]) -> [f64; 2] {
    let (mut plus, mut minus) = (0.0, 0.0);
    for (difference, rank) in differences.iter().zip(ranks) {
        if *difference > 0.0 {
            plus += rank;
        } else {
            minus += rank;
        }
    }
    [plus, minus]
}

/// Twice the share of the signs for which the positive ranks sum to at most `lower`, at most 1. Counts the sums
/// of subsets of the doubled ranks, which are whole numbers.
fn exact(ranks: &[f64], lower: f64) -> f64 {
    let doubled: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank) as usize).collect();
    // Shares of the signs by their sum.
    let mut shares = vec![0.0; doubled.iter().sum::<usize>() + 1];
    shares[0] = 1.0;
    for rank in doubled {
        for sum in (0..shares.len()).rev() {
            let with = sum.checked_sub(rank).map_or(0.0, |sum| shares[sum]);
            shares[sum] = (shares[sum] + with) / 2.0;
        }
    }
    let below: f64 = shares[..=(2.0 * lower) as usize].iter().sum();
    (2.0 * below).min(1.0)
}

fn normal(count: usize, tied: &[usize], plus: f64) -> f64 {
    let n = count as f64;
    let ties: f64 = tied.iter().map(|&t| t as f64).map(|t| t * t * t - t).sum();
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - ties / 2.0) / 24.0;
    let z = (plus - n * (n + 1.0) / 4.0) / variance.sqrt();
    (2.0 * normal_below(-z.abs())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_that_do_not_differ_tell_nothing() {
        for count in [0, 3, 60] {
            let found = wilcoxon(&vec![0.0; count]);
            assert_eq!((found.p, found.rank_biserial), (1.0, None));
        }
    }

    #[test]
    fn the_fewest_pairs_cannot_be_significant() {
        let found = wilcoxon(&[0.3, 0.1, 0.2, 0.5, 0.4]);
        assert_eq!((found.p, found.rank_biserial), (2.0 / 32.0, Some(1.0)));
        let other = wilcoxon(&[-0.3, -0.1, -0.2, -0.5, -0.4]);
        assert_eq!((other.p, other.rank_biserial), (found.p, Some(-1.0)));
        assert_eq!(rank_biserial(&[0.2, 0.0, -0.1]), Some(1.0 / 3.0));
    }
}
