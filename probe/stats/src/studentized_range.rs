//! The studentized range of normal variables with known variance (infinitely many degrees of freedom).

use libm::{erfc, exp, expm1, log1p, pow};

use crate::Error;
use crate::error::check_share;

/// Distance between points of the trapezoidal rule, in standard deviations. The integrand is entire and falls
/// as a Gaussian, so that the error is of the order `exp(-2 π² / (k h²))`: below 1e-30 for 100 variables.
const STEP: f64 = 0.05;
/// Where the integrand is below 1e-22 of its maximum.
const REACH: f64 = 10.0;

/// The probability that the range of `k` standard normal variables exceeds `q`: SciPy's
/// `studentized_range.sf(q, k, inf)`.
///
/// Computes `k ∫ φ(z) (Φ(z)^(k-1) - (Φ(z) - Φ(z - q))^(k-1)) dz`, whose terms are all positive, so that small
/// probabilities keep their digits.
pub fn above(q: f64, k: usize) -> f64 {
    if q <= 0.0 || k < 2 {
        return 1.0;
    }
    let others = (k - 1) as f64;
    let steps = ((2.0 * REACH + q) / STEP).ceil() as usize;
    let at = |step: usize| {
        let z = step as f64 * STEP - REACH;
        let (below, far) = (normal_below(z), normal_below(z - q));
        let lost = -expm1(others * log1p(-(far / below).min(1.0)));
        exp(-z * z / 2.0) * pow(below, others) * lost
    };
    let sum: f64 = (0..=steps).map(at).sum();
    let density = 1.0 / std::f64::consts::TAU.sqrt();
    (k as f64 * density * STEP * sum).min(1.0)
}

/// The `q` that the range of `k` standard normal variables exceeds with a probability.
///
/// # Errors
///
/// [`Error::Share`] unless the probability lies between 0 and 1.
pub fn critical(alpha: f64, k: usize) -> Result<f64, Error> {
    check_share(alpha)?;
    let (mut low, mut high) = (0.0, 1.0);
    while above(high, k) > alpha && high < 100.0 {
        high *= 2.0;
    }
    // 60 halvings exhaust the digits.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if above(middle, k) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok((low + high) / 2.0)
}

/// The probability that a standard normal variable is below `z`.
pub(crate) fn normal_below(z: f64) -> f64 {
    erfc(-z / std::f64::consts::SQRT_2) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_two_is_a_normal_difference() {
        for q in [0.1, 1.0, 2.77, 6.0, 12.0] {
            let expected = erfc(q / 2.0);
            assert!((above(q, 2) / expected - 1.0).abs() < 1e-12, "{q}");
        }
        assert_eq!((above(0.0, 5), above(-1.0, 5)), (1.0, 1.0));
    }

    #[test]
    fn a_critical_value_is_exceeded_with_its_probability() {
        for k in [2, 3, 13, 100] {
            for alpha in [0.001, 0.05, 0.1, 0.9] {
                let q = critical(alpha, k).unwrap();
                assert!((above(q, k) - alpha).abs() < 1e-12, "{k} {alpha}");
            }
        }
        assert_eq!(critical(0.0, 3), Err(Error::Share { found: 0.0 }));
    }
}
