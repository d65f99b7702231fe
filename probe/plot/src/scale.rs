//! From values to pixels.

use crate::number::nice;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Steps {
    /// Equal distances are equal differences.
    #[default]
    Linear,
    /// Equal distances are equal ratios; values must be above 0.
    Log,
}

/// A map from values in `[low, high]` to pixels in `[from, to]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) steps: Steps,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Scale {
    /// Whether the value has a place: it is finite, below 1e100, and above 0 on a logarithmic axis.
    pub(crate) fn takes(&self, value: f64) -> bool {
        takes(self.steps, value)
    }

    /// The pixel of a value, at the nearest end for values beyond the range.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        let part = match self.steps {
            Steps::Linear => (value - self.low) / (self.high - self.low),
            Steps::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// About `count` round numbers in the range.
    pub(crate) fn ticks(&self, count: usize) -> Vec<f64> {
        match self.steps {
            Steps::Linear => nice(self.low, self.high, count),
            Steps::Log => decades(self.low, self.high, count),
        }
    }
}

/// Values beyond have no place: their differences overflow.
const HUGE: f64 = 1e100;

/// Whether a value has a place on such an axis.
pub(crate) fn takes(steps: Steps, value: f64) -> bool {
    value.abs() < HUGE && (steps == Steps::Linear || value > 1.0 / HUGE)
}

/// Powers of ten in the range, with 2 and 5 times them where these are few.
fn decades(low: f64, high: f64, count: usize) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let within = |value: &f64| (low * 0.999_999..=high * 1.000_001).contains(value);
    let all: Vec<f64> = powers
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| factor * 10f64.powi(power)))
        .filter(within)
        .collect();
    if all.len() <= count + 2 {
        return all;
    }
    let tens: Vec<f64> = all
        .into_iter()
        .filter(|value| (value.log10() - value.log10().round()).abs() < 1e-9)
        .collect();
    let every = tens.len().div_ceil(count.max(1));
    tens.into_iter().step_by(every).collect()
}

/// The smallest range with all values that have a place; `None` if there are none. A single value gets a range
/// about it.
pub(crate) fn extent(steps: Steps, values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (low, high) = values
        .filter(|value| takes(steps, *value))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        return None;
    }
    if low < high {
        return Some((low, high));
    }
    Some(match steps {
        Steps::Linear if low.abs() < 1.0 / HUGE => (-1.0, 1.0),
        Steps::Linear => (low - 0.1 * low.abs(), low + 0.1 * low.abs()),
        Steps::Log => (low / 2.0, low * 2.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithmic_axes_have_decades() {
        assert_eq!(decades(1.0, 64.0, 5), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(decades(1e-6, 1e6, 5).len(), 5);
        let scale = Scale {
            low: 1.0,
            high: 100.0,
            steps: Steps::Log,
            from: 0.0,
            to: 10.0,
        };
        assert_eq!(scale.at(10.0), 5.0);
        assert_eq!(scale.at(1e9), 10.0);
    }

    #[test]
    fn a_range_leaves_out_what_has_no_place() {
        let values = [f64::NAN, 2.0, f64::INFINITY, -1.0];
        assert_eq!(extent(Steps::Linear, values.into_iter()), Some((-1.0, 2.0)));
        assert_eq!(extent(Steps::Log, values.into_iter()), Some((1.0, 4.0)));
        assert_eq!(extent(Steps::Linear, [f64::NAN].into_iter()), None);
    }
}
