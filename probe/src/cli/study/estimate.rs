//! Estimated times of cells.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cells::{Cell, Records, State};
use super::jobs::Evaluation;
use super::work::{Extent, Work};
use crate::record::RunRecord;

/// Seconds for anything: opening a cache, writing records.
const LEAST: f64 = 0.1;

/// Recorded times that an estimate is the median of.
const NEAREST: usize = 3;

/// What the time of a cell is estimated from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Recorded times of the same probe with the same options.
    Same,
    /// Recorded times of the same probe with other options.
    Probe,
    /// Formulas with the speed of two cores.
    Typical,
}

impl Basis {
    pub(super) fn words(self) -> &'static str {
        match self {
            Basis::Same => "recorded times of the same probe and options",
            Basis::Probe => "recorded times of the same probe with other options",
            Basis::Typical => "formulas with constants of two cores",
        }
    }
}

/// A recorded time, and that of the formula.
#[derive(Clone, Copy)]
struct Timed {
    formula: f64,
    seconds: f64,
}

/// Estimates the time of each cell to run, from recorded times where there are any.
pub(super) fn estimate(cells: &mut [Cell], evaluations: &[Evaluation<'_>], records: &Records) {
    let works: Vec<Work> = evaluations.iter().map(Work::of).collect();
    let same: Vec<Vec<Timed>> = evaluations
        .iter()
        .map(|evaluation| of_entry(cells, evaluations, &works, evaluation))
        .collect();
    let probe: Vec<Vec<Timed>> = works
        .iter()
        .map(|work| of_probe(cells, &works, records, work))
        .collect();
    for cell in cells.iter_mut() {
        if matches!(cell.state, State::ToRun(_)) {
            let of = cell.evaluation;
            let formula = cell.extent.map_or(0.0, |on| works[of].seconds(&on));
            let same = scaled(&same[of], formula).map(|seconds| (seconds, Basis::Same));
            let known =
                same.or_else(|| scaled(&probe[of], formula).map(|seconds| (seconds, Basis::Probe)));
            (cell.seconds, cell.basis) = known.unwrap_or((LEAST + formula, Basis::Typical));
        }
    }
}

/// The median of those recorded times that the formula puts nearest, in proportion to the formula.
fn scaled(known: &[Timed], formula: f64) -> Option<f64> {
    let mut near: Vec<Timed> = known.to_vec();
    let distance = |timed: &Timed| (timed.formula / formula).ln().abs();
    near.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    near.truncate(NEAREST);
    let mut seconds: Vec<f64> = near
        .iter()
        .map(|timed| timed.seconds * formula / timed.formula)
        .collect();
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.get(seconds.len() / 2)?;
    Some(middle.max(LEAST))
}

/// Times of the cells of the same probe of the study, whatever the fold.
fn of_entry(
    cells: &[Cell],
    evaluations: &[Evaluation<'_>],
    works: &[Work],
    like: &Evaluation<'_>,
) -> Vec<Timed> {
    let timed = |cell: &Cell| {
        let is_like = std::ptr::eq(evaluations[cell.evaluation].entry, like.entry);
        let records = match cell.records() {
            [] => &cell.earlier,
            records => records,
        };
        let formula = works[cell.evaluation].seconds(&cell.extent?);
        let seconds = seconds(records.iter()).filter(|_| is_like)?;
        Some(Timed { formula, seconds })
    };
    cells.iter().filter_map(timed).collect()
}

/// Times of the same probe and part on the caches of the study, whatever the options.
fn of_probe(cells: &[Cell], works: &[Work], records: &Records, like: &Work) -> Vec<Timed> {
    let caches: BTreeMap<&str, Extent> = cells
        .iter()
        .filter(|cell| works[cell.evaluation].is_like(like))
        .filter_map(|cell| Some((cell.cache_sha256.as_str(), cell.extent?)))
        .collect();
    let is_pooled = |record: &RunRecord| {
        let split = record.split_name.as_deref();
        split.is_some_and(|name| name.starts_with("kfold:"))
    };
    let timed = |records: &Vec<RunRecord>| {
        let first = records.first().filter(|record| !is_pooled(record))?;
        let work = Work::of_record(first);
        let cache = caches.get(first.cache_sha256.as_str())?;
        Some(Timed {
            formula: work.seconds(cache),
            seconds: seconds(records.iter()).filter(|_| work.is_like(like))?,
        })
    };
    records.all(like.probe()).iter().filter_map(timed).collect()
}

/// The time of an evaluation. Each number of shots is timed for itself, of decoders for one draw; other results share
/// their time.
fn seconds<'a>(records: impl Iterator<Item = &'a RunRecord>) -> Option<f64> {
    let of = |record: &RunRecord| {
        let draws = record.params.get("draws").and_then(Value::as_f64);
        let draws = draws.filter(|_| record.probe == "segment");
        record.seconds * draws.unwrap_or(1.0)
    };
    records.fold(None, |sum, record| {
        let before = sum.unwrap_or(0.0);
        Some(match record.probe.as_str() {
            "few-shot" | "segment" => before + of(record),
            _ => f64::max(before, of(record)),
        })
    })
}

/// The number of cells to run whose time is estimated in this way.
pub(super) fn count(cells: &[Cell], basis: Basis) -> usize {
    let is_of = |cell: &&Cell| matches!(cell.state, State::ToRun(_)) && cell.basis == basis;
    cells.iter().filter(is_of).count()
}

/// A time for people: `12 s`, `3 min`, `2.5 h`.
pub(super) fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{:.0} s", seconds.max(1.0)),
        seconds if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3600.0),
        seconds => format!("{:.1} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_recorded_times_count() {
        let known = [(1.0, 1.0), (100.0, 10.0), (110.0, 11.0), (90.0, 9.0)];
        let known = known.map(|(formula, seconds)| Timed { formula, seconds });
        assert_eq!(scaled(&known, 200.0), Some(20.0));
        assert_eq!(scaled(&known[..1], 3.0), Some(3.0));
        assert_eq!(scaled(&[], 3.0), None);
    }
}
