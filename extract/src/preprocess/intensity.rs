//! Clipping of intensities.

use std::fmt;
use std::str::FromStr;

use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Which intensities are kept; the others are set to the nearest kept one.
///
/// Written `minmax`, `window:-1024:600` or `percentile:5:95`, on the command line and in
/// `meta.json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Intensity {
    /// All.
    #[default]
    MinMax,
    /// Those from `low` to `high`, in the units of the file (HU for CT).
    Window {
        /// The least kept.
        low: f32,
        /// The greatest kept.
        high: f32,
    },
    /// Those between two percentiles of the slice, found as NumPy's `percentile` does (linear).
    Percentile {
        /// The lower, 0..=100.
        low: f32,
        /// The upper, 0..=100.
        high: f32,
    },
}

impl Intensity {
    /// Clips a slice `[C, H, W]` of finite values.
    pub(super) fn clip(self, plane: &mut Array3<f32>) {
        let (low, high) = match self {
            Intensity::MinMax => return,
            Intensity::Window { low, high } => (low, high),
            Intensity::Percentile { low, high } => {
                let mut values: Vec<f32> = plane.iter().copied().collect();
                (percentile(&mut values, low), percentile(&mut values, high))
            }
        };
        plane.mapv_inplace(|value| value.max(low).min(high));
    }
}

/// Linear interpolation between the two ordered values around `percent`; reorders `values`.
fn percentile(values: &mut [f32], percent: f32) -> f32 {
    let Some(last) = values.len().checked_sub(1) else {
        return 0.0;
    };
    let at = f64::from(percent) / 100.0 * last as f64;
    let (_, below, above) = values.select_nth_unstable_by(at as usize, f32::total_cmp);
    let below = f64::from(*below);
    let above = above
        .iter()
        .copied()
        .min_by(f32::total_cmp)
        .map_or(below, f64::from);
    (below + (above - below) * at.fract()) as f32
}

impl FromStr for Intensity {
    type Err = Error;

    fn from_str(word: &str) -> Result<Intensity, Error> {
        let wrong = || Error::BadIntensity {
            word: word.to_owned(),
        };
        let parts: Vec<&str> = word.split(':').collect();
        let rule = match parts[..] {
            ["minmax"] => Some(Intensity::MinMax),
            ["window", low, high] => bounds(low, high, f32::MIN, f32::MAX)
                .map(|(low, high)| Intensity::Window { low, high }),
            ["percentile", low, high] => {
                bounds(low, high, 0.0, 100.0).map(|(low, high)| Intensity::Percentile { low, high })
            }
            _ => None,
        };
        rule.ok_or_else(wrong)
    }
}

fn bounds(low: &str, high: &str, least: f32, greatest: f32) -> Option<(f32, f32)> {
    let (low, high): (f32, f32) = (low.parse().ok()?, high.parse().ok()?);
    (least <= low && low < high && high <= greatest).then_some((low, high))
}

impl fmt::Display for Intensity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Intensity::MinMax => f.write_str("minmax"),
            Intensity::Window { low, high } => write!(f, "window:{low}:{high}"),
            Intensity::Percentile { low, high } => write!(f, "percentile:{low}:{high}"),
        }
    }
}

impl TryFrom<String> for Intensity {
    type Error = Error;

    fn try_from(word: String) -> Result<Intensity, Error> {
        word.parse()
    }
}

impl From<Intensity> for String {
    fn from(rule: Intensity) -> String {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_lie_between_the_ordered_values() {
        let mut values = vec![3.0, 1.0, 2.0, 4.0];
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 50.0), 2.5);
        assert_eq!(percentile(&mut values, 100.0), 4.0);
        assert!((percentile(&mut values, 5.0) - 1.15).abs() < 1e-6);
    }

    #[test]
    fn a_window_clips_both_ends() {
        let mut plane = Array::from_vec(vec![-5.0, 0.5, 9.0])
            .into_shape_with_order((1, 1, 3))
            .unwrap();
        Intensity::Window {
            low: -1.0,
            high: 2.0,
        }
        .clip(&mut plane);
        assert_eq!(plane.into_raw_vec_and_offset().0, [-1.0, 0.5, 2.0]);
    }

    #[test]
    fn wrong_words_are_refused_with_the_forms_there_are() {
        for word in [
            "",
            "window",
            "window:1",
            "window:2:1",
            "window:a:b",
            "percentile:0:101",
            "percentile:nan:5",
            "window:-inf:5",
            "minmax:1:2",
        ] {
            let text = word.parse::<Intensity>().unwrap_err().to_string();
            assert!(
                text.contains("percentile:LOW:HIGH") && text.contains("hint:"),
                "{word}: {text}"
            );
        }
    }

    #[test]
    fn meta_json_holds_the_word() {
        let rule = Intensity::Window {
            low: -1024.0,
            high: 600.0,
        };
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, "\"window:-1024:600\"");
        assert_eq!(serde_json::from_str::<Intensity>(&json).unwrap(), rule);
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(low in -1e6f32..1e6, width in 1f32..1e6) {
            let rule = Intensity::Window { low, high: low + width };
            prop_assert_eq!(rule.to_string().parse::<Intensity>().unwrap(), rule);
        }

        #[test]
        fn percentile_equals_interpolation_in_a_sorted_copy(
            mut values in prop::collection::vec(-100f32..100.0, 1..60),
            percent in 0f32..=100.0,
        ) {
            let mut sorted: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            sorted.sort_by(f64::total_cmp);
            let at = f64::from(percent) / 100.0 * (sorted.len() - 1) as f64;
            let next = sorted[(at as usize + 1).min(sorted.len() - 1)];
            let expected = sorted[at as usize] * (1.0 - at.fract()) + next * at.fract();
            prop_assert!((f64::from(percentile(&mut values, percent)) - expected).abs() < 1e-4);
        }
    }
}
