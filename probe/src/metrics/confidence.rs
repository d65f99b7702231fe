//! Confidence levels, intervals, and the normal distribution.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

use crate::Error;
use crate::error::MeasureError;

/// A confidence level, for instance 0.95.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level(f64);

impl Level {
    /// Takes a level between 0 and 1.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Level`] if it is 0, 1, outside of these, or NaN.
    pub fn new(level: f64) -> Result<Level, Error> {
        if 0.0 < level && level < 1.0 {
            Ok(Level(level))
        } else {
            Err(Error::Measure(MeasureError::Level { found: level }))
        }
    }

    /// Share outside of the interval, half of it on each side.
    pub(super) fn outside(self) -> f64 {
        1.0 - self.0
    }

    /// The `z` such that a standard normal variable lies within `-z..z` with this probability.
    ///
    /// Newton's method on `erfc(x) = 1 - level`, where `z = x * sqrt(2)`. `erfc` is convex from 0
    /// on, so the steps from there never go too far.
    pub(super) fn z(self) -> f64 {
        let mut x = 0.0_f64;
        for _ in 0..100 {
            let step = (libm::erfc(x) - self.outside()) / (FRAC_2_SQRT_PI * (-x * x).exp());
            x += step;
            if step <= f64::EPSILON * x {
                break;
            }
        }
        x * SQRT_2
    }
}

/// Bounds of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The probability that a standard normal variable lies at least as far from 0 as `z`.
pub(super) fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() / SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of SciPy's `norm.ppf`.
    #[test]
    fn quantiles_equal_the_reference() {
        let known = [
            (0.5, 0.674_489_750_196_081_7),
            (0.9, 1.644_853_626_951_472_2),
            (0.95, 1.959_963_984_540_054),
            (0.99, 2.575_829_303_548_900_4),
            (0.999_999, 4.891_638_475_699_01),
        ];
        for (level, z) in known {
            let found = Level::new(level).unwrap().z();
            assert!((found - z).abs() < 1e-9, "{level}: {found}, expected {z}");
            assert!((two_sided(-found) - (1.0 - level)).abs() < 1e-15);
        }
    }

    #[test]
    fn levels_that_are_no_probability_are_refused() {
        for level in [0.0, 1.0, -0.5, 95.0, f64::NAN] {
            assert!(matches!(
                Level::new(level),
                Err(Error::Measure(MeasureError::Level { .. }))
            ));
        }
    }
}
