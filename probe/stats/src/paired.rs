//! Student's t-test of paired differences.

use serde::Serialize;
use statrs::function::beta::beta_reg;

use crate::error::check_share;
use crate::{Error, Interval};

/// The mean of paired differences, by Student's t distribution: SciPy's `ttest_rel`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// The mean difference.
    pub mean: f64,
    /// The standard deviation of the differences.
    pub deviation: f64,
    /// Its interval.
    pub interval: Interval,
    /// Two-sided p-value of no difference; 1 if the differences are all 0, and 0 if they are all equal.
    pub p: f64,
}

/// Tests whether the mean of differences, at least two, is 0; `None` for fewer. Takes the level of the interval.
///
/// # Errors
///
/// [`Error::Share`] unless the level lies between 0 and 1.
pub fn paired(differences: &[f64], level: f64) -> Result<Option<Paired>, Error> {
    check_share(level)?;
    if differences.len() < 2 {
        return Ok(None);
    }
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    let deviation = (squares / (n - 1.0)).sqrt();
    let error = deviation / n.sqrt();
    let p = if mean == 0.0 {
        1.0
    } else {
        beyond(mean.abs() / error, n - 1.0)
    };
    let reach = critical(1.0 - level, n - 1.0) * error;
    Ok(Some(Paired {
        mean,
        deviation,
        interval: [mean - reach, mean + reach],
        p,
    }))
}

/// The probability that a variable of Student's t distribution lies at least as far from 0 as `t`.
fn beyond(t: f64, freedom: f64) -> f64 {
    if t.is_infinite() {
        return 0.0;
    }
    beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t))
}

/// The `t` beyond which a variable lies with a probability.
fn critical(alpha: f64, freedom: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while beyond(high, freedom) > alpha && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if beyond(middle, freedom) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_that_do_not_vary_are_certain() {
        let found = paired(&[0.5, 0.5], 0.95).unwrap().unwrap();
        assert_eq!((found.p, found.interval), (0.0, [0.5, 0.5]));
        let found = paired(&[0.0, 0.0, 0.0], 0.95).unwrap().unwrap();
        assert_eq!((found.p, found.interval), (1.0, [0.0, 0.0]));
        assert_eq!(paired(&[0.5], 0.95), Ok(None));
    }
}
