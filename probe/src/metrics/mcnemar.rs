//! McNemar's test of equal accuracy on the same cases.

use std::f64::consts::LN_2;

use crate::Error;
use crate::error::MeasureError;

/// McNemar's test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Cases that only the first predicts correctly.
    pub only_first: u64,
    /// Cases that only the second predicts correctly.
    pub only_second: u64,
    /// Two-sided p-value of equal accuracy; 1 if the two agree on all cases.
    pub p: f64,
}

/// Compares two vectors `[N]` of correct predictions, case by case (McNemar 1947).
///
/// The p-value is exact: twice the probability of at most `min(only_first, only_second)` heads in
/// as many tosses of a fair coin as there are cases on which the two differ, at most 1. Cases are assumed to be
/// independent; if patients have several, use
/// [`Bootstrap::compare`](super::bootstrap::Bootstrap::compare).
///
/// # Errors
///
/// [`MeasureError::UnlikeAnswers`] if there are not as many of both, and [`MeasureError::NoCases`] if there are
/// none.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Result<McNemar, Error> {
    let (found, expected) = (second.len(), first.len());
    if found != expected {
        return Err(Error::Measure(MeasureError::UnlikeAnswers {
            found,
            expected,
        }));
    }
    if first.is_empty() {
        return Err(Error::Measure(MeasureError::NoCases));
    }
    let pairs = || first.iter().zip(second);
    let only_first = pairs().filter(|&(&a, &b)| a && !b).count() as u64;
    let only_second = pairs().filter(|&(&a, &b)| b && !a).count() as u64;
    let tosses = only_first + only_second;
    Ok(McNemar {
        only_first,
        only_second,
        p: (2.0 * at_most(only_first.min(only_second), tosses)).min(1.0),
    })
}

/// The probability of at most `heads` in tosses of a fair coin: that of exactly `heads`, times the
/// sum of the smaller numbers' relative to it.
fn at_most(heads: u64, tosses: u64) -> f64 {
    let factor = |i| ((tosses - heads + i) as f64 / i as f64).ln();
    let exactly = ((1..=heads).map(factor).sum::<f64>() - tosses as f64 * LN_2).exp();
    let (mut term, mut sum) = (1.0, 1.0);
    for i in (1..=heads).rev() {
        term *= i as f64 / (tosses - i + 1) as f64;
        sum += term;
    }
    exactly * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cases_that_tell_the_two_apart_count() {
        let first = [true, true, true, true, true, false, false];
        let second = [false, false, false, false, false, false, false];
        let found = mcnemar(&first, &second).unwrap();
        assert_eq!((found.only_first, found.only_second), (5, 0));
        assert!((found.p - 2.0 / 32.0).abs() < 1e-15);
        assert_eq!(mcnemar(&second, &first).unwrap().p, found.p);
    }

    #[test]
    fn equal_answers_and_equal_counts_have_the_p_value_one() {
        assert_eq!(mcnemar(&[true, false], &[true, false]).unwrap().p, 1.0);
        assert_eq!(mcnemar(&[true, false], &[false, true]).unwrap().p, 1.0);
    }

    #[test]
    fn unlike_or_missing_answers_are_refused() {
        let unlike = mcnemar(&[true], &[true, false]).unwrap_err();
        assert!(matches!(
            unlike,
            Error::Measure(MeasureError::UnlikeAnswers {
                found: 2,
                expected: 1
            })
        ));
        assert!(matches!(
            mcnemar(&[], &[]),
            Err(Error::Measure(MeasureError::NoCases))
        ));
    }
}
