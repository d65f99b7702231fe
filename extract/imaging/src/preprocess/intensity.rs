//! Ranges of intensities.

use std::fmt;
use std::str::FromStr;

use common::text::shown;
use ndarray::Array3;
use serde::{Deserialize, Serialize};

/// Usual windows of radiologists: name, level and width in HU.
pub const WINDOWS: &[(&str, f32, f32)] = &[
    ("soft-tissue", 40.0, 400.0),
    ("abdomen", 60.0, 400.0),
    ("liver", 80.0, 150.0),
    ("lung", -600.0, 1500.0),
    ("mediastinum", 50.0, 350.0),
    ("bone", 400.0, 1800.0),
    ("brain", 40.0, 80.0),
];

/// Percentiles in place of a window if a file has none.
const NO_WINDOW: Range = Range::Percentile {
    low: 1.0,
    high: 99.0,
};

/// Rule for the range of intensities; values outside of it are set to its nearest end.
///
/// The text form, on the command line, in cards and in `meta.json`, has words separated by colons:
/// `minmax`, `window:-1024:600`, `window:lung`, `percentile:5:95`, `voi`; `volume`, `nonzero` and
/// `zero-below` may follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Intensity {
    /// The range.
    pub range: Range,
    /// Whether the range is that of the whole volume (`volume`), not of each slice.
    pub per_volume: bool,
    /// Whether percentiles exclude voxels that are 0 (`nonzero`).
    pub nonzero: bool,
    /// Whether values at or below the range become 0 rather than its lower end (`zero-below`), as in the
    /// study for brain tumours.
    pub zero_below: bool,
}

/// A range of intensities, or a rule to find it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Range {
    /// All.
    #[default]
    MinMax,
    /// From `low` to `high`, in the units of the file (HU for CT).
    Window {
        /// Lower end.
        low: f32,
        /// Upper end.
        high: f32,
    },
    /// Between two percentiles, as NumPy's `percentile` computes them (linear).
    Percentile {
        /// Lower percentile, 0..=100.
        low: f32,
        /// Upper percentile, 0..=100.
        high: f32,
    },
    /// The window of the file (DICOM), else percentiles 1 to 99.
    Voi,
}

/// Ends of a range of intensities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Lower end.
    pub low: f32,
    /// Upper end.
    pub high: f32,
}

/// A word that is not an intensity rule.
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
    /// The range of `values`, which are finite; reorders them. `window` is that of the file.
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

    /// Warning if a window seems to be given as level and width, as radiologists do: it starts above 0 HU,
    /// or has the usual level and width of a lung.
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

    /// Sets values outside of `bounds` to the nearest end, or with `zero_below` those not above the lower
    /// end to 0.
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
///
/// The values around it are found by selection in linear time, without sorting.
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

/// Suggestion for the name of a window alone, or for a window with its first number not below the second:
/// width and level, or level and width.
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

/// The word for the window of a level and a width.
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
mod tests;
