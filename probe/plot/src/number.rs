//! Numbers as text, and round numbers.

/// A coordinate, rounded to a tenth of a unit.
pub(crate) fn at(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // Adding 0 turns -0 into 0.
    format!("{}", rounded + 0.0)
}

/// A number in about three digits: `0.912`, `45`, `12k`, `2e-5`.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_string();
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.0e}");
    }
    for (unit, suffix) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= unit {
            let unit = if suffix == "k" { 1e3 } else { unit };
            return format!("{}{suffix}", digits(value / unit));
        }
    }
    digits(value)
}

/// Places after the point for numbers that are compared over a range of `span`: three for shares and measures.
pub(crate) fn places(span: f64) -> usize {
    if span >= 100.0 {
        0
    } else if span >= 10.0 {
        1
    } else if span > 2.0 {
        2
    } else if span >= 0.03 {
        3
    } else {
        (2.0 - span.max(1e-8).log10()).ceil() as usize
    }
}

/// Three digits, or all of those before the point, without zeros at the end.
fn digits(value: f64) -> String {
    let before = value.abs().max(1e-9).log10().floor();
    let places = (2.0 - before).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_string()
    } else {
        text
    }
}

/// About `count` multiples of 1, 2 or 5 times a power of ten within `[low, high]`.
pub(crate) fn nice(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| span / step <= count as f64 + 0.5)
        .unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    if last.saturating_sub(first) > 2 * count.max(10) as i64 {
        // The step is too small for the precision of numbers.
        return vec![low];
    }
    // By an index, so that errors do not add up; through text, so that 3 * 0.1 is 0.3.
    (first..=last).map(|i| tidy(i as f64 * step)).collect()
}

/// The nearest number of twelve digits.
pub(crate) fn tidy(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.5, "0.5"),
            (0.91234, "0.912"),
            (-0.05, "-0.05"),
            (1.0, "1"),
            (99.95, "100"),
            (1234.0, "1234"),
            (12_000.0, "12k"),
            (1_500_000.0, "1.5M"),
            (0.000_02, "2e-5"),
        ];
        for (value, text) in cases {
            assert_eq!(short(value), text);
        }
        assert_eq!(at(-0.01), "0");
        assert_eq!(at(1.25), "1.3");
    }

    #[test]
    fn numbers_of_a_column_have_equal_places() {
        let spans = [500.0, 20.0, 5.0, 1.0, 0.05, 0.002, 0.0];
        assert_eq!(spans.map(places), [0, 1, 2, 3, 3, 5, 10]);
    }

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(nice(0.0, 1.0, 5), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(nice(0.0, 0.3, 3), [0.0, 0.1, 0.2, 0.3]);
        assert_eq!(nice(-7.0, 12.0, 4), [-5.0, 0.0, 5.0, 10.0]);
        assert_eq!(nice(3.0, 3.0, 4), [3.0]);
        for (low, high) in [(0.501, 0.987), (-1e-7, 1e-7), (1.0, 1e6), (812.0, 815.0)] {
            let ticks = nice(low, high, 5);
            assert!((2..=7).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks.iter().all(|t| (low..=high).contains(t)), "{ticks:?}");
        }
    }
}
