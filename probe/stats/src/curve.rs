//! Learning curves: how the error falls with the number of patients, and how many a measure needs.
//!
//! The curve is the inverse power law `error(n) = floor + scale n^-exponent` (Cortes et al. 1993; Figueroa et
//! al. 2012), with `floor >= 0` and `scale >= 0`, fitted by weighted least squares to the mean error of each
//! number. It describes averages over draws of training patients, on the same test cases: its intervals do not
//! cover the choice of the test cases.

mod law;
mod need;

use serde::Serialize;

use self::law::{Point, law};
pub use self::need::{MOST_BEYOND, Need, Unmet};
use crate::resample::Draws;
use crate::{Error, Interval};

/// Fewest numbers of patients for a curve of three parameters.
pub const FEWEST_SIZES: usize = 4;

/// Share of the variance of the means below which a curve fits badly, if they also differ from it by more than
/// their spread explains.
const LEAST_EXPLAINED: f64 = 0.9;
/// Weighted squares per degree of freedom that the spread of the draws explains; 1 is expected, and the spread
/// of few draws is itself uncertain.
const MOST_SQUARES: f64 = 10.0;

/// Errors at one number of patients.
#[derive(Clone, Debug, PartialEq)]
pub struct Size {
    /// The number of patients (mean over draws).
    pub n: f64,
    /// The error of each draw, such as 1 - AUROC.
    pub errors: Vec<f64>,
}

/// The curve `floor + scale n^-exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Curve {
    /// The error that no number of patients goes below, at least 0.
    pub floor: f64,
    /// The error above the floor at `n` = 1.
    pub scale: f64,
    /// How fast the error falls.
    pub exponent: f64,
}

/// A fitted curve and its uncertainty.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The curve.
    pub curve: Curve,
    /// Percentile intervals of floor, scale and exponent over draws.
    pub intervals: [Interval; 3],
    /// Sizes as fitted, from the smallest: `n`, mean error, and the standard deviation that weighs it.
    pub points: Vec<[f64; 3]>,
    /// Number of bootstrap draws that could not be fitted.
    pub failed: usize,
    bootstrap: Vec<Curve>,
    draws: Draws,
}

/// Why there is no curve.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoFit {
    /// Fewer than [`FEWEST_SIZES`] numbers of patients.
    #[error(
        "sizes of the training set that are measured: {found}; a curve of three parameters needs at least {FEWEST_SIZES}"
    )]
    Sizes {
        /// Different numbers.
        found: usize,
    },
    /// The largest number is less than four times the smallest.
    #[error(
        "the largest training set is only {ratio:.1} times the smallest: a curve needs at least 4 times"
    )]
    Range {
        /// Largest by smallest.
        ratio: f64,
    },
    /// No number of patients was drawn twice with different results.
    #[error(
        "the draws do not differ, or there is only one of each size: the spread over several draws weighs the points"
    )]
    Spread,
    /// The error of the largest number is not clearly lower than that of the smallest.
    #[error(
        "the error does not clearly fall: it is {first:.4} with the smallest training set and {last:.4} with the largest, and the standard error of the difference is {deviation:.4}"
    )]
    Fall {
        /// Mean error of the smallest number.
        first: f64,
        /// Mean error of the largest number.
        last: f64,
        /// Standard error of their difference.
        deviation: f64,
    },
    /// The best exponent is at an end of the range that is searched.
    #[error(
        "the measured points do not bend as a power law: the best exponent is {exponent}, the end of the searched range"
    )]
    Shape {
        /// The exponent.
        exponent: f64,
    },
    /// The curve misses the measured errors by far more than their spread.
    #[error(
        "no power law fits: the best one misses the measured error at {n:.0} by {miss:.4}, the standard error there is {deviation:.4}"
    )]
    Misfit {
        /// The number of patients that is missed most.
        n: f64,
        /// The difference.
        miss: f64,
        /// The standard error of the measured mean.
        deviation: f64,
    },
    /// Numbers that cannot be fitted.
    #[error("a number of patients or an error is not a finite number of at least 0")]
    Number,
    /// Parameters of the draws that mean nothing.
    #[error(transparent)]
    Draws(#[from] Error),
}

impl Curve {
    /// The error that is expected of `n` patients.
    pub fn error(&self, n: f64) -> f64 {
        self.floor + self.scale * libm::pow(n, -self.exponent)
    }

    /// The number of patients at which the error is expected to reach a value; `None` if it is at or below the
    /// floor.
    pub fn patients(&self, error: f64) -> Option<f64> {
        let above = error - self.floor;
        (above > 0.0).then(|| libm::pow(self.scale / above, 1.0 / self.exponent))
    }
}

impl Fit {
    /// The percentile interval of the expected error of `n` patients.
    pub fn error_interval(&self, n: f64) -> Interval {
        let errors = self.bootstrap.iter().map(|curve| curve.error(n));
        self.draws.interval(errors.collect())
    }

    /// The largest number of patients that was measured.
    pub fn most(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point[0])
    }
}

/// Fits a curve; the bootstrap draws anew among the draws of each number of patients.
///
/// A point weighs as the inverse square of its standard deviation: that of its draws, divided by the root of
/// their number. A number with one draw, such as all patients, or with equal draws, has no deviation of its
/// own: the smallest of a single draw among the others stands for it. Sizes with equal `n` are one.
///
/// # Errors
///
/// [`NoFit`] if the measured errors do not support a curve.
pub fn fit(sizes: &[Size], draws: &Draws) -> Result<Fit, NoFit> {
    draws.check()?;
    let sizes = merged(sizes)?;
    let points = points(&sizes).ok_or(NoFit::Spread)?;
    check(&points)?;
    let curve = law(&points).map_err(|exponent| NoFit::Shape { exponent })?;
    check_fit(&points, &curve)?;
    let mut bootstrap = Vec::with_capacity(draws.count);
    for number in 0..draws.count {
        let drawn = sizes.iter().zip(&points).enumerate();
        let drawn: Vec<Point> = drawn
            .map(|(at, (size, point))| {
                // Each size has streams of its own.
                let stream = number * sizes.len() + at;
                let picked = draws.draw(stream, size.errors.len());
                let sum: f64 = picked.iter().map(|&pick| size.errors[pick]).sum();
                Point {
                    error: sum / picked.len() as f64,
                    ..*point
                }
            })
            .collect();
        bootstrap.extend(law(&drawn).ok());
    }
    let failed = draws.count - bootstrap.len();
    if 2 * bootstrap.len() < draws.count {
        return Err(NoFit::Shape {
            exponent: curve.exponent,
        });
    }
    let of = |part: fn(&Curve) -> f64| draws.interval(bootstrap.iter().map(part).collect());
    Ok(Fit {
        curve,
        intervals: [
            of(|curve| curve.floor),
            of(|curve| curve.scale),
            of(|curve| curve.exponent),
        ],
        points: points
            .iter()
            .map(|point| [point.n, point.error, point.deviation])
            .collect(),
        failed,
        bootstrap,
        draws: *draws,
    })
}

/// The sizes from the smallest, those of equal `n` together.
fn merged(sizes: &[Size]) -> Result<Vec<Size>, NoFit> {
    let mut sorted: Vec<&Size> = sizes
        .iter()
        .filter(|size| !size.errors.is_empty())
        .collect();
    sorted.sort_by(|a, b| a.n.total_cmp(&b.n));
    let mut found: Vec<Size> = Vec::new();
    for size in sorted {
        let is_number = |error: &f64| error.is_finite() && *error >= 0.0;
        if !(size.n.is_finite() && size.n > 0.0 && size.errors.iter().all(is_number)) {
            return Err(NoFit::Number);
        }
        match found.last_mut() {
            Some(last) if last.n == size.n => last.errors.extend(&size.errors),
            _ => found.push(size.clone()),
        }
    }
    if found.len() < FEWEST_SIZES {
        return Err(NoFit::Sizes { found: found.len() });
    }
    Ok(found)
}

/// Means and their standard deviations; `None` if no size has a spread.
fn points(sizes: &[Size]) -> Option<Vec<Point>> {
    let spreads: Vec<f64> = sizes.iter().map(|size| deviation(&size.errors)).collect();
    let positive = spreads.iter().copied().filter(|&spread| spread > 0.0);
    let least = positive.min_by(f64::total_cmp)?;
    let points = sizes.iter().zip(spreads).map(|(size, spread)| {
        let count = size.errors.len() as f64;
        let spread = if spread > 0.0 { spread } else { least };
        Point {
            n: size.n,
            error: size.errors.iter().sum::<f64>() / count,
            deviation: spread / count.sqrt(),
        }
    });
    Some(points.collect())
}

/// The standard deviation of a sample; 0 of one value.
fn deviation(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    if values.len() < 2 {
        return 0.0;
    }
    let found = (squares / (values.len() - 1) as f64).sqrt();
    // What is left of equal values is rounding.
    if found > 1e-12 * mean.abs() {
        found
    } else {
        0.0
    }
}

fn check(points: &[Point]) -> Result<(), NoFit> {
    let (first, last) = (points[0], points[points.len() - 1]);
    let ratio = last.n / first.n;
    if ratio < 4.0 {
        return Err(NoFit::Range { ratio });
    }
    let deviation = first.deviation.hypot(last.deviation);
    if first.error - last.error <= 2.0 * deviation {
        return Err(NoFit::Fall {
            first: first.error,
            last: last.error,
            deviation,
        });
    }
    Ok(())
}

/// Refuses a curve that explains less than [`LEAST_EXPLAINED`] of the variance of the means and whose weighted
/// squares exceed [`MOST_SQUARES`] times their degrees of freedom.
fn check_fit(points: &[Point], curve: &Curve) -> Result<(), NoFit> {
    let miss = |point: &Point| point.error - curve.error(point.n);
    let count = points.len() as f64;
    let mean = points.iter().map(|point| point.error).sum::<f64>() / count;
    let all: f64 = points
        .iter()
        .map(|point| (point.error - mean).powi(2))
        .sum();
    let rest: f64 = points.iter().map(|point| miss(point).powi(2)).sum();
    let weighted = |point: &Point| (miss(point) / point.deviation).abs();
    let squares: f64 = points.iter().map(|point| weighted(point).powi(2)).sum();
    if 1.0 - rest / all >= LEAST_EXPLAINED || squares <= MOST_SQUARES * (count - 3.0) {
        return Ok(());
    }
    let worst = points
        .iter()
        .max_by(|a, b| weighted(a).total_cmp(&weighted(b)));
    worst.map_or(Ok(()), |point| {
        Err(NoFit::Misfit {
            n: point.n,
            miss: miss(point).abs(),
            deviation: point.deviation,
        })
    })
}

#[cfg(test)]
mod tests;
