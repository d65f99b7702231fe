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

/// A finite number.
pub(crate) fn finite(word: &str) -> Result<f64, String> {
    let value = word.parse().ok().filter(|value: &f64| value.is_finite());
    value.ok_or_else(|| "expected a number".into())
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

/// A number as people write it: three significant digits without trailing zeros, in powers of ten below 0.0001 and
/// from 100,000 on.
pub(crate) fn brief(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    if (1e-4..1e5).contains(&rounded.abs()) {
        rounded.to_string()
    } else {
        format!("{rounded:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn numbers_are_brief() {
        for (value, expected) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (100.0, "100"),
            (0.177_827_941, "0.178"),
            (f64::from(0.001_f32), "0.001"),
            (1e-6, "1e-6"),
            (1.778e-6, "1.78e-6"),
            (99_999.0, "1e5"),
            (-0.25, "-0.25"),
            (0.0, "0"),
        ] {
            assert_eq!(brief(value), expected);
        }
    }
}
