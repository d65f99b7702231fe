//! Tests of all pairs of models.

use serde::Serialize;

use crate::holm::holm;
use crate::ranks::Table;
use crate::wilcoxon::{Wilcoxon, wilcoxon};

/// Wilcoxon's test of two models over the datasets that both have a score on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairTest {
    /// The first model.
    pub first: usize,
    /// The second model, a later one.
    pub second: usize,
    /// The test of the first less the second.
    #[serde(flatten)]
    pub test: Wilcoxon,
    /// The p-value after Holm's correction for all pairs of the table.
    pub p_holm: f64,
    /// Datasets that one of the two has no score on.
    pub left_out: Vec<usize>,
}

impl Table {
    /// Wilcoxon's signed-rank test of every pair, with Holm's correction. A pair is tested on the datasets that
    /// both have a score on, others are named.
    pub fn wilcoxon_holm(&self) -> Vec<PairTest> {
        let models = self.models();
        let pairs = (0..models).flat_map(|i| (i + 1..models).map(move |j| (i, j)));
        let mut tests: Vec<PairTest> = pairs.map(|pair| self.test(pair)).collect();
        let p: Vec<f64> = tests.iter().map(|pair| pair.test.p).collect();
        for (pair, p_holm) in tests.iter_mut().zip(holm(&p)) {
            pair.p_holm = p_holm;
        }
        tests
    }

    fn test(&self, (first, second): (usize, usize)) -> PairTest {
        let (mut differences, mut left_out) = (Vec::new(), Vec::new());
        for (row, scores) in self.rows().iter().enumerate() {
            match (scores[first], scores[second]) {
                (Some(a), Some(b)) => differences.push(a - b),
                _ => left_out.push(row),
            }
        }
        PairTest {
            first,
            second,
            test: wilcoxon(&differences),
            p_holm: 1.0,
            left_out,
        }
    }
}
