//! Bootstrap of patients: confidence intervals for cases that are not independent.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use common::counted;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use super::confidence::{Interval, Level};
use super::ranked::{Ranked, mean_of_all, per_class};
use super::weights::Weights;
use crate::Error;
use crate::error::MeasureError;

/// Fewest patients (or samples) whose interval is to be believed. With fewer than six, no outcome has a p-value below
/// 0.05 in a sign test (2 / 2^5), and a bootstrap that draws the same few again claims more than they can tell.
pub(crate) const FEWEST_UNITS: usize = 6;

/// Maximum number of draws.
const MOST_DRAWS: usize = 1_000_000;

/// Draws of as many patients as there are, with replacement, each with all of its cases: the
/// cluster bootstrap (Davison and Hinkley 1997, section 3.8).
///
/// A draw depends on the seed, its number and the order in which patients appear, and not on the number of
/// threads or of draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// The patient of each case, `[N]`, numbered in the order in which they appear.
    patients: Vec<usize>,
    count: usize,
    draws: usize,
    seed: u64,
}

/// Interval and draws of a measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Percentiles of the draws in which the measure is defined, interpolated linearly between
    /// draws; `None` if it is defined in less than half of them.
    pub interval: Option<Interval>,
    /// Draws in which the measure is undefined.
    pub undefined: usize,
}

/// Intervals and draws of a measure of classes.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledClasses {
    /// Each class, `[C]`.
    pub classes: Vec<Sampled>,
    /// The mean over the classes whose measure is defined without resampling; undefined in draws
    /// in which one of these is, so that it is of the same classes in all draws.
    pub mean: Sampled,
}

/// A measure of two tables on the same cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The measure of the first less that of the second, without resampling.
    pub difference: f64,
    /// The difference in the draws in which it is defined.
    pub sampled: Sampled,
    /// The two-sided p-value of no difference, `2 min(1 + #(d <= 0), 1 + #(d >= 0)) / (1 + B)` of
    /// `B` draws, at most 1: 1 minus the level at which a percentile interval would end at 0 (Davison and
    /// Hinkley 1997, section 5.4). `None` without an interval.
    pub p: Option<f64>,
}

impl Bootstrap {
    /// Takes the patient of each case, `[N]`. A case without a patient should get one of its own.
    ///
    /// # Errors
    ///
    /// [`MeasureError::TooFewPatients`] unless there are at least two, and [`MeasureError::Draws`] unless `draws`
    /// is from 1 to 1,000,000.
    pub fn new<P: Eq + Hash>(patients: &[P], draws: usize, seed: u64) -> Result<Bootstrap, Error> {
        let mut numbers = HashMap::new();
        let mut number = |patient| {
            let next = numbers.len();
            *numbers.entry(patient).or_insert(next)
        };
        let patients: Vec<usize> = patients.iter().map(&mut number).collect();
        let count = numbers.len();
        if count < 2 {
            return Err(Error::Measure(MeasureError::TooFewPatients {
                found: count,
            }));
        }
        if !(1..=MOST_DRAWS).contains(&draws) {
            let most = MOST_DRAWS;
            return Err(Error::Measure(MeasureError::Draws { found: draws, most }));
        }
        Ok(Bootstrap {
            patients,
            count,
            draws,
            seed,
        })
    }

    /// Weights of the cases in a draw, from the ChaCha8 stream of this number whose key is the seed,
    /// little-endian, and zeros. Of `P` patients, a 64-bit number `x` draws patient `x P / 2^64`, with a bias of
    /// at most `P / 2^64`.
    pub fn draw(&self, number: u64) -> Weights {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(number);
        let mut times = vec![0; self.count];
        for _ in 0..self.count {
            let drawn = (u128::from(rng.next_u64()) * self.count as u128) >> 64;
            times[drawn as usize] += 1;
        }
        Weights(
            self.patients
                .iter()
                .map(|&patient| times[patient])
                .collect(),
        )
    }

    /// A measure in each draw, in the order of the draws, computed on all threads.
    pub fn draws<T: Send>(&self, measure: impl Fn(&Weights) -> T + Sync) -> Vec<T> {
        (0..self.draws as u64)
            .into_par_iter()
            .map(|number| measure(&self.draw(number)))
            .collect()
    }

    /// Percentile interval of any measure (Efron 1979).
    pub fn interval(
        &self,
        level: Level,
        measure: impl Fn(&Weights) -> Option<f64> + Sync,
    ) -> Sampled {
        sampled(level, self.draws(measure))
    }

    /// Percentile intervals of a measure of classes, all from the same draws.
    ///
    /// # Panics
    ///
    /// If the classes have cases without a patient.
    pub fn intervals(
        &self,
        level: Level,
        classes: &[Ranked],
        measure: impl Fn(&Ranked, &Weights) -> Option<f64> + Sync,
    ) -> SampledClasses {
        let found = per_class(classes, &self.once(), &measure);
        let draws = self.draws(|weights| per_class(classes, weights, &measure));
        let defined: Vec<usize> = (0..classes.len()).filter(|&c| found[c].is_some()).collect();
        let mean = |draw: &Vec<Option<f64>>| {
            let values: Vec<_> = defined.iter().map(|&class| draw[class]).collect();
            mean_of_all(&values)
        };
        let of_class = |class: usize| draws.iter().map(|draw| draw[class]).collect();
        SampledClasses {
            classes: (0..classes.len())
                .map(|class| sampled(level, of_class(class)))
                .collect(),
            mean: sampled(level, draws.iter().map(mean).collect()),
        }
    }

    /// Compares a measure of two tables on the same cases, which are resampled together;
    /// [`Ranked::check_same_cases`] checks them. For a mean over classes take [`mean_of_all`] of those defined
    /// without resampling.
    ///
    /// `None` if one of the two is undefined without resampling.
    pub fn compare(
        &self,
        level: Level,
        first: impl Fn(&Weights) -> Option<f64> + Sync,
        second: impl Fn(&Weights) -> Option<f64> + Sync,
    ) -> Option<Comparison> {
        let difference = |weights: &Weights| Some(first(weights)? - second(weights)?);
        let found = difference(&self.once())?;
        let draws = self.draws(difference);
        let p = two_sided(&draws);
        let sampled = sampled(level, draws);
        Some(Comparison {
            difference: found,
            sampled,
            p: sampled.interval.map(|_| p),
        })
    }

    fn once(&self) -> Weights {
        Weights::once(self.patients.len())
    }
}

fn sampled(level: Level, draws: Vec<Option<f64>>) -> Sampled {
    let all = draws.len();
    let mut values: Vec<f64> = draws.into_iter().flatten().collect();
    values.sort_unstable_by(f64::total_cmp);
    let half = level.outside() / 2.0;
    Sampled {
        interval: (2 * values.len() >= all).then(|| Interval {
            low: quantile(&values, half),
            high: quantile(&values, 1.0 - half),
        }),
        undefined: all - values.len(),
    }
}

/// A quantile of sorted values, at least one, interpolated linearly: definition 7 of Hyndman and
/// Fan (1996), which is NumPy's.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Ends of the warnings of [`few_units`] about one unit and about several.
const ENDS: [&str; 2] = [
    "evaluated: no intervals",
    "evaluated: the interval claims more than they can tell",
];

/// A warning about intervals of fewer than [`FEWEST_UNITS`] patients (or samples: `word`); `units` names that of each case.
pub(crate) fn few_units<T: Ord>(units: impl IntoIterator<Item = T>, word: &str) -> Option<String> {
    let units: BTreeSet<T> = units.into_iter().collect();
    match units.len() {
        1 => Some(format!("one {word} {}", ENDS[0])),
        several @ 2..FEWEST_UNITS => Some(format!("{} {}", counted(several, word), ENDS[1])),
        _ => None,
    }
}

/// Whether a warning is one of [`few_units`].
pub(crate) fn is_of_few_units(warning: &str) -> bool {
    ENDS.iter().any(|end| warning.ends_with(end))
}

/// Two-sided p-value of no difference ([`Comparison::p`]).
pub(crate) fn two_sided(differences: &[Option<f64>]) -> f64 {
    let defined = || differences.iter().flatten();
    let low = defined().filter(|&&d| d <= 0.0).count();
    let high = defined().filter(|&&d| d >= 0.0).count();
    (2.0 * (1 + low.min(high)) as f64 / (1 + defined().count()) as f64).min(1.0)
}

#[cfg(test)]
mod tests;
