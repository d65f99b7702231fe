//! Parsers of numbers on the command line.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A finite number above 0.
pub(crate) fn positive<T: FromStr + Into<f64> + Copy>(word: &str) -> Result<T, String> {
    let is_positive = |value: &T| {
        let value: f64 = (*value).into();
        value.is_finite() && value > 0.0
    };
    let value = word.parse().ok().filter(is_positive);
    value.ok_or_else(|| "expected a number above 0".into())
}

/// A number between 0 and 1, both excluded.
pub(crate) fn fraction(word: &str) -> Result<f64, String> {
    let value = word.parse().ok();
    let value = value.filter(|value: &f64| 0.0 < *value && *value < 1.0);
    value.ok_or_else(|| "expected a number between 0 and 1".into())
}

/// An integer of a range.
pub(crate) fn integer<T: FromStr + PartialOrd + Display>(
    word: &str,
    range: &RangeInclusive<T>,
) -> Result<T, String> {
    let number = word.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        format!("expected an integer from {first} to {last}")
    })
}
