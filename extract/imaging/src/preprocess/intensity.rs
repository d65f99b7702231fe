//! Which intensities are kept.

use std::fmt;
use std::str::FromStr;

use common::text::shown;
use ndarray::Array3;
use serde::{Deserialize, Serialize};

/// Windows by name, level and width in HU as radiologists set them.
pub const WINDOWS: &[(&str, f32, f32)] = &[
    ("soft-tissue", 40.0, 400.0),
    ("abdomen", 60.0, 400.0),
    ("liver", 80.0, 150.0),
    ("lung", -600.0, 1500.0),
    ("mediastinum", 50.0, 350.0),
    ("bone", 400.0, 1800.0),
    ("brain", 40.0, 80.0),
];

/// Percentiles that stand for a window where a file has none.
const NO_WINDOW: Range = Range::Percentile {
    low: 1.0,
    high: 99.0,
};

/// Which intensities are kept; the others are set to the nearest kept one.
///
/// Written as words with colons between them, on the command line, in cards and in `meta.json`:
/// `minmax`, `window:-1024:600`, `window:lung`, `percentile:5:95`, `voi`; `minmax` and `percentile`
/// may be followed by `volume`, `nonzero` and `zero-below`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Intensity {
    /// The kept range.
    pub range: Range,
    /// Whether the range is found once in the whole volume (`volume`), not in each slice.
    pub per_volume: bool,
    /// Whether voxels that are 0 are left out when percentiles are found (`nonzero`).
    pub nonzero: bool,
    /// Whether what lies at or below the range becomes 0 rather than its lower end (`zero-below`);
    /// the study does so for brain tumours.
    pub zero_below: bool,
}

/// A range of intensities, or how to find it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Range {
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
    /// Those between two percentiles, found as NumPy's `percentile` does (linear).
    Percentile {
        /// The lower, 0..=100.
        low: f32,
        /// The upper, 0..=100.
        high: f32,
    },
    /// The window that the file itself names (DICOM), else percentiles 1 to 99.
    Voi,
}

/// A range that has been found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The least kept.
    pub low: f32,
    /// The greatest kept.
    pub high: f32,
}

/// A word that is no intensity rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}`: expected `minmax`, `window:LOW:HIGH`, `window:NAME`, `percentile:LOW:HIGH` or `voi`, with LOW below HIGH; `:volume` may follow all but `window`, `:nonzero` and `:zero-below` a percentile\nhint: for instance `window:-1024:600` or `percentile:5:95`; the named windows are `{}`{}",
    shown(word), window_names(), shown(&meant(word))
)]
pub struct BadIntensity {
    /// The word.
    pub word: String,
}

impl Intensity {
    /// The range in `values`, all finite; reorders them. `window` is what the file names.
    pub fn bounds(&self, values: &mut Vec<f32>, window: Option<Bounds>) -> Bounds {
        let range = match (self.range, window) {
            (Range::Voi, Some(window)) => return window,
            (Range::Voi, None) => NO_WINDOW,
            (range, _) => range,
        };
        match range {
            Range::Window { low, high } => Bounds { low, high },
            Range::Percentile { low, high } => {
                if self.nonzero {
                    values.retain(|value| *value != 0.0);
                }
                let low = percentile(values, low);
                Bounds {
                    low,
                    high: percentile(values, high).max(low),
                }
            }
            Range::MinMax | Range::Voi => {
                let (low, high) = super::extremes(values);
                Bounds { low, high }
            }
        }
    }

    /// A doubt whether a window was meant as level and width, as radiologists say it: it starts above
    /// 0 HU, or is the usual level and width of a lung.
    pub fn doubt(&self) -> Option<String> {
        let Range::Window { low, high } = self.range else {
            return None;
        };
        let is_lung = (-700.0..=-400.0).contains(&low) && (1000.0..=2000.0).contains(&high);
        let is_named = WINDOWS
            .iter()
            .any(|(name, ..)| named_window(name) == Some(self.range));
        ((low > 0.0 || is_lung) && !is_named).then(|| {
            format!(
                "`{self}` keeps what is from {low} to {high}; if {low} is the level and {high} the \
                 width, give `{}`",
                of_level(low, high)
            )
        })
    }

    /// Whether the range does not depend on the voxels.
    pub fn is_fixed(&self) -> bool {
        matches!(self.range, Range::Window { .. })
    }

    /// Sets what lies outside `bounds` to the nearest end, or to 0 if it is not above the lower
    /// end and `zero_below` says so.
    pub(super) fn clip(&self, plane: &mut Array3<f32>, bounds: Bounds) {
        let Bounds { low, high } = bounds;
        if self.range == Range::MinMax {
            return;
        }
        if self.zero_below {
            plane.mapv_inplace(|value| if value <= low { 0.0 } else { value.min(high) });
        } else {
            plane.mapv_inplace(|value| value.max(low).min(high));
        }
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
    type Err = BadIntensity;

    fn from_str(word: &str) -> Result<Intensity, BadIntensity> {
        parse(word).ok_or_else(|| BadIntensity {
            word: word.to_owned(),
        })
    }
}

fn parse(word: &str) -> Option<Intensity> {
    let parts: Vec<&str> = word.split(':').collect();
    let (range, flags) = match parts[..] {
        ["minmax", ref flags @ ..] => (Range::MinMax, flags),
        ["voi", ref flags @ ..] => (Range::Voi, flags),
        ["window", name] => (named_window(name)?, &[][..]),
        ["window", low, high] => {
            let (low, high) = ordered(low, high, f32::MIN, f32::MAX)?;
            (Range::Window { low, high }, &[][..])
        }
        ["percentile", low, high, ref flags @ ..] => {
            let (low, high) = ordered(low, high, 0.0, 100.0)?;
            (Range::Percentile { low, high }, flags)
        }
        _ => return None,
    };
    let mut rule = Intensity {
        range,
        ..Intensity::default()
    };
    for flag in flags {
        match *flag {
            "volume" => rule.per_volume = true,
            "nonzero" if matches!(range, Range::Percentile { .. }) => rule.nonzero = true,
            "zero-below" if matches!(range, Range::Percentile { .. }) => rule.zero_below = true,
            _ => return None,
        }
    }
    Some(rule)
}

/// What may be meant by the name of a window alone, or by a window whose first number is not below the
/// second: a width and a level, or a level and a width.
fn meant(word: &str) -> String {
    if named_window(word).is_some() {
        return format!("; did you mean `window:{word}`?");
    }
    let numbers = word.strip_prefix("window:").and_then(|rest| {
        let (one, other) = rest.split_once(':')?;
        let (one, other) = (one.parse::<f32>().ok()?, other.parse::<f32>().ok()?);
        (one.is_finite() && one > 0.0 && one >= other).then_some((one, other))
    });
    let Some((one, other)) = numbers else {
        return String::new();
    };
    let as_width = format!(
        "`{}` is the width {one} at the level {other}",
        of_level(other, one)
    );
    if other > 0.0 {
        format!(
            "; {as_width}, `{}` the width {other} at {one}",
            of_level(one, other)
        )
    } else {
        format!("; {as_width}")
    }
}

/// The window of a level and a width, in words.
fn of_level(level: f32, width: f32) -> String {
    format!("window:{}:{}", level - width / 2.0, level + width / 2.0)
}

fn window_names() -> String {
    let names: Vec<&str> = WINDOWS.iter().map(|(name, ..)| *name).collect();
    names.join("`, `")
}

fn named_window(name: &str) -> Option<Range> {
    let (_, level, width) = WINDOWS.iter().find(|(known, ..)| *known == name)?;
    Some(Range::Window {
        low: level - width / 2.0,
        high: level + width / 2.0,
    })
}

fn ordered(low: &str, high: &str, least: f32, greatest: f32) -> Option<(f32, f32)> {
    let (low, high): (f32, f32) = (low.parse().ok()?, high.parse().ok()?);
    (least <= low && low < high && high <= greatest).then_some((low, high))
}

impl fmt::Display for Intensity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.range {
            Range::MinMax => f.write_str("minmax")?,
            Range::Voi => f.write_str("voi")?,
            Range::Window { low, high } => write!(f, "window:{low}:{high}")?,
            Range::Percentile { low, high } => write!(f, "percentile:{low}:{high}")?,
        }
        let flags = [
            (self.per_volume, ":volume"),
            (self.nonzero, ":nonzero"),
            (self.zero_below, ":zero-below"),
        ];
        let mut set = flags.iter().filter(|(set, _)| *set);
        set.try_for_each(|(_, flag)| f.write_str(flag))
    }
}

impl TryFrom<String> for Intensity {
    type Error = BadIntensity;

    fn try_from(word: String) -> Result<Intensity, BadIntensity> {
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
    fn windows_that_look_like_level_and_width_are_questioned() {
        let doubt = |word: &str| word.parse::<Intensity>().unwrap().doubt();
        for (word, meant) in [
            ("window:40:400", "window:-160:240"),
            ("window:-600:1500", "window:-1350:150"),
        ] {
            assert!(doubt(word).unwrap().contains(meant), "{word}");
        }
        for word in [
            "window:-160:240",
            "window:bone",
            "window:0:80",
            "minmax",
            "percentile:5:95",
        ] {
            assert_eq!(doubt(word), None, "{word}");
        }
        let refusal = |word: &str| word.parse::<Intensity>().unwrap_err().to_string();
        assert!(refusal("window:400:40").contains("`window:-160:240` is the width 400"));
        assert!(refusal("window:80:60").contains("`window:50:110` the width 60"));
        assert!(refusal("window:1500:-600").contains("`window:-1350:150` is the width"));
        assert!(!refusal("window:x:y").contains("width"));
        assert!(refusal("lung").contains("did you mean `window:lung`?"));
    }

    #[test]
    fn percentiles_lie_between_the_ordered_values() {
        let mut values = vec![3.0, 1.0, 2.0, 4.0];
        assert_eq!(percentile(&mut values, 0.0), 1.0);
        assert_eq!(percentile(&mut values, 50.0), 2.5);
        assert_eq!(percentile(&mut values, 100.0), 4.0);
        assert!((percentile(&mut values, 5.0) - 1.15).abs() < 1e-6);
    }

    fn rule(word: &str) -> Intensity {
        word.parse().unwrap()
    }

    fn clipped<const N: usize>(word: &str, values: [f32; N]) -> Vec<f32> {
        let bounds = rule(word).bounds(&mut values.to_vec(), None);
        let mut plane = Array::from_vec(values.to_vec())
            .into_shape_with_order((1, 1, N))
            .unwrap();
        rule(word).clip(&mut plane, bounds);
        plane.into_raw_vec_and_offset().0
    }

    #[test]
    fn what_is_not_above_the_range_becomes_zero_if_asked_for() {
        let values = [10.0, 20.0, 30.0, 40.0, 50.0];
        assert_eq!(
            clipped("percentile:25:75", values),
            [20.0, 20.0, 30.0, 40.0, 40.0]
        );
        assert_eq!(
            clipped("percentile:25:75:zero-below", values),
            [0.0, 0.0, 30.0, 40.0, 40.0]
        );
    }

    #[test]
    fn zeros_can_be_left_out() {
        let bounds = rule("percentile:0:50:nonzero").bounds(&mut vec![0.0, 0.0, 2.0, 4.0], None);
        assert_eq!((bounds.low, bounds.high), (2.0, 3.0));
    }

    #[test]
    fn windows_have_names_and_files_may_bring_their_own() {
        assert_eq!(rule("window:soft-tissue").to_string(), "window:-160:240");
        assert_eq!(rule("window:lung").to_string(), "window:-1350:150");
        let own = Bounds {
            low: 3.0,
            high: 4.0,
        };
        assert_eq!(rule("voi").bounds(&mut vec![0.0, 9.0], Some(own)), own);
    }

    #[test]
    fn a_window_clips_both_ends() {
        assert_eq!(clipped("window:-1:2", [-5.0, 0.5, 9.0]), [-1.0, 0.5, 2.0]);
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
            "minmax:zero-below",
            "window:1:2:volume",
            "window:nose",
            "percentile:1:2:slice",
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
        let rule = rule("window:-1024:600");
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, "\"window:-1024:600\"");
        assert_eq!(serde_json::from_str::<Intensity>(&json).unwrap(), rule);
    }

    proptest! {
        #[test]
        fn what_is_displayed_parses_to_the_same(low in -1e6f32..1e6, width in 1f32..1e6) {
            let range = Range::Window { low, high: low + width };
            let rule = Intensity { range, ..Intensity::default() };
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
