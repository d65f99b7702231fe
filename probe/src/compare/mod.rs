//! Tests of two backbones on the same cases.
//!
//! [`Pairs`] finds the records that differ in nothing but the backbone. [`compare`] tests a pair by what it
//! saved: scores of cases, Dice coefficients of volumes, or the measures of several draws of training
//! patients. [`correct`] accounts for the number of pairs.

mod draws;
mod pairs;
mod scores;
mod volumes;
mod written;

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::pairs::{Pair, Pairs};
pub(crate) use self::pairs::{differences, role, shortened, traits};
pub(crate) use self::written::{flatten, option, value, written};
use crate::Error;
use crate::error::MeasureError;
use crate::metrics::bootstrap::{self, FEWEST_UNITS};
use crate::metrics::measures::Confidence;
use crate::record::RunRecord;

/// Maximum difference from the recorded value, by rounding.
const SAME: f64 = 1e-9;

/// Two backbones on the same cases. Keys that do not apply are `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The dataset.
    pub dataset: String,
    /// The probe.
    pub probe: String,
    /// Evaluation protocol.
    pub protocol: String,
    /// Settings of both, with all defaults filled in.
    pub settings: Map<String, Value>,
    /// Backbone and size of the first, with its setting.
    pub first: [String; 2],
    /// The same of the second.
    pub second: [String; 2],
    /// Name of the measure that is compared, as in records.
    pub measure: &'static str,
    /// Draws, level and seed of the intervals.
    pub confidence: Confidence,
    /// The tests.
    #[serde(flatten)]
    pub tested: Tested,
    /// `p` after Holm's correction for the comparisons that are made together.
    pub p_holm: Option<f64>,
}

/// What was found for a pair.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tested {
    /// Cases compared: slices, volumes or patients.
    pub cases: usize,
    /// What is drawn anew for the interval: `patient`, `sample` (where no patients are known), or `draw` of
    /// training patients.
    pub unit: &'static str,
    /// Number of these.
    pub units: usize,
    /// The measure of the first and of the second: a mean over the classes for which it is defined.
    pub values: [Option<f64>; 2],
    /// The measure as it is recorded, by the rules of the protocol.
    pub recorded: [Option<f64>; 2],
    /// The first less the second, the effect in units of the measure.
    pub difference: Option<f64>,
    /// `[low, high]` of the difference.
    pub ci: Option<[f64; 2]>,
    /// Two-sided p-value of no difference.
    pub p: Option<f64>,
    /// How `ci` and `p` are computed, or the reason why there are none, which begins with `none: `.
    pub method: &'static str,
    /// Effects in other units, and other tests.
    #[serde(flatten)]
    pub more: More,
}

/// Other effects and tests of a pair.
#[derive(Clone, Debug, Default, Serialize)]
pub struct More {
    /// Accuracy of the first less that of the second; only for exclusive classes.
    pub accuracy_difference: Option<f64>,
    /// `[low, high]` of it.
    pub accuracy_ci: Option<[f64; 2]>,
    /// Two-sided p-value of Wilcoxon's signed-rank test over patients or draws; only for measures that each of
    /// them has: Dice, and measures of draws.
    pub p_wilcoxon: Option<f64>,
    /// The matched-pairs rank-biserial correlation of the same test, from -1 to 1.
    pub rank_biserial: Option<f64>,
    /// `[low, high]` of it, by the same draws of patients.
    pub rank_biserial_ci: Option<[f64; 2]>,
    /// Two-sided p-value of each class by DeLong's test, `null` where it has none. The test assumes independent cases:
    /// only if no patient has several.
    pub p_delong: Map<String, Value>,
    /// Two-sided p-value of equal accuracy by McNemar's test; only for exclusive classes and if no patient has
    /// several cases.
    pub p_mcnemar: Option<f64>,
}

/// The way in which a record can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scores,
    Volumes(&'static str),
    Draws(&'static str),
}

/// Measures of decoders, in the order of preference.
const OVERLAPS: [&str; 2] = ["dice_macro", POOLED];
const POOLED: &str = "dice_pooled";
const AUROC: &str = "auroc_macro";

impl Kind {
    /// The kind of a record; `None` if it has neither scores, nor Dice coefficients, nor draws.
    fn of(record: &RunRecord) -> Option<Kind> {
        let mut overlaps = OVERLAPS.into_iter();
        let overlap = overlaps.find(|name| record.metrics.contains_key(*name));
        if record.predictions.is_some() {
            let is_decoder = record.params.contains_key("label_maps");
            let scores = (!is_decoder).then_some(Kind::Scores);
            return overlap.map(Kind::Volumes).or(scores);
        }
        let measure = overlap.unwrap_or(AUROC);
        (record.control.is_none() && draws::of(record, measure).is_some())
            .then_some(Kind::Draws(measure))
    }

    fn measure(self) -> &'static str {
        match self {
            Kind::Scores => AUROC,
            Kind::Volumes(measure) | Kind::Draws(measure) => measure,
        }
    }
}

/// Compares two records of a folder by what they saved.
///
/// # Errors
///
/// [`FileError::Input`](crate::error::FileError::Input) if a file of scores cannot be read, [`MeasureError::OtherScores`] if it is not that of the
/// record, [`MeasureError::UnlikeCases`] if they are of different cases or labels, [`MeasureError::Level`] and
/// [`MeasureError::Draws`].
pub fn compare(
    runs: &Path,
    Pair { first, second }: Pair<'_>,
    confidence: &Confidence,
) -> Result<Comparison, Error> {
    let (Some(kind), Some(other)) = (Kind::of(first), Kind::of(second)) else {
        return Err(Error::Measure(MeasureError::UnlikeCases));
    };
    if kind != other {
        return Err(Error::Measure(MeasureError::UnlikeCases));
    }
    let records = [first, second];
    let tested = match kind {
        Kind::Scores => scores::compare(runs, records, confidence)?,
        Kind::Volumes(measure) => volumes::compare(runs, records, measure, confidence)?,
        Kind::Draws(measure) => draws::compare(records, measure, confidence)?,
    };
    let label = |record: &RunRecord| {
        let backbone = format!("{}@{}", record.model, record.image_size);
        [backbone, record.setting.clone()]
    };
    Ok(Comparison {
        dataset: first.dataset.clone(),
        probe: first.probe.clone(),
        protocol: first.protocol.clone(),
        settings: first.settings.clone(),
        first: label(first),
        second: label(second),
        measure: kind.measure(),
        confidence: *confidence,
        tested,
        p_holm: None,
    })
}

/// Sets the p-values after Holm's correction for all of these comparisons together; those without a p-value do
/// not count. Returns their number.
pub fn correct(found: &mut [Comparison]) -> usize {
    let p: Vec<f64> = found.iter().filter_map(|of| of.tested.p).collect();
    let tested = found.iter_mut().filter(|of| of.tested.p.is_some());
    for (of, p_holm) in tested.zip(stats::holm::holm(&p)) {
        of.p_holm = Some(p_holm);
    }
    p.len()
}

impl Tested {
    /// The difference with its interval and p-value by a bootstrap; only the difference of fewer than
    /// [`FEWEST_UNITS`].
    fn with(mut self, found: Option<bootstrap::Comparison>) -> Tested {
        let [first, second] = self.values;
        let plain = first.zip(second).map(|(first, second)| first - second);
        self.difference = found.map(|found| found.difference).or(plain);
        let is_few = self.units < FEWEST_UNITS;
        if is_few {
            self.more.accuracy_ci = None;
        } else if let Some(found) = found {
            self.ci = found.sampled.interval.map(|of| [of.low, of.high]);
            self.p = found.p;
        }
        self.method = match (self.unit, self.ci) {
            ("sample", _) if is_few => "none: fewer than 6 samples evaluated",
            _ if is_few => "none: fewer than 6 patients evaluated",
            (_, None) => "none: undefined, also without some of the patients",
            ("sample", _) => "bootstrap of samples, percentiles",
            _ => "bootstrap of patients, percentiles",
        };
        self
    }
}

/// A recorded measure.
fn recorded(record: &RunRecord, measure: &str) -> Option<f64> {
    record.metrics.get(measure)?.as_f64()
}

/// Checks that a measure computed from a file is the recorded one.
fn check_recorded(
    record: &RunRecord,
    measure: &'static str,
    found: Option<f64>,
    file: &Path,
) -> Result<(), Error> {
    match (found, recorded(record, measure)) {
        (Some(found), Some(recorded)) if (found - recorded).abs() > SAME => {
            Err(Error::Measure(MeasureError::OtherScores {
                path: file.into(),
                measure,
                found,
                recorded,
            }))
        }
        _ => Ok(()),
    }
}
