//! Nemenyi's test of all pairs.

use serde::Serialize;

use crate::ranks::Ranks;
use crate::{Error, studentized_range};

/// Nemenyi's test of all pairs of models by their mean ranks (Demšar 2006, section 3.2.2). It accounts for the
/// number of pairs; ties are not corrected for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Nemenyi {
    /// p-values `[K, K]`: scikit-posthocs' `posthoc_nemenyi_friedman`. That of a model with itself is 1.
    pub p: Vec<Vec<f64>>,
    models: usize,
    datasets: usize,
}

impl Ranks {
    /// Nemenyi's test of all pairs.
    pub fn nemenyi(&self) -> Nemenyi {
        let models = self.models();
        let unit = unit(models, self.rows.len());
        let of = |i: usize, j: usize| {
            let q = (self.mean[i] - self.mean[j]).abs() / unit;
            studentized_range::above(q * std::f64::consts::SQRT_2, models)
        };
        let row = |i: usize| (0..models).map(|j| of(i, j)).collect();
        let p = (0..models).map(row).collect();
        Nemenyi {
            p,
            models,
            datasets: self.rows.len(),
        }
    }
}

impl Nemenyi {
    /// The difference of mean ranks beyond which two models differ at a level such as 0.05.
    ///
    /// # Errors
    ///
    /// [`Error::Share`] unless `alpha` lies between 0 and 1.
    pub fn critical_difference(&self, alpha: f64) -> Result<f64, Error> {
        let q = studentized_range::critical(alpha, self.models)?;
        Ok(q / std::f64::consts::SQRT_2 * unit(self.models, self.datasets))
    }
}

/// The standard error of a difference of mean ranks, `sqrt(K (K + 1) / (6 N))`.
fn unit(models: usize, datasets: usize) -> f64 {
    let k = models as f64;
    (k * (k + 1.0) / (6.0 * datasets as f64)).sqrt()
}
