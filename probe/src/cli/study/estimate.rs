//! Estimated times of cells.

use std::collections::BTreeMap;

use cache::CacheMeta;
use serde_json::{Map, Value as Json};
use toml::Value;

use super::cells::{Cell, Records, State};
use super::jobs::Evaluation;
use crate::compare::flatten;
use crate::record::RunRecord;

/// Epochs of the commands that have them, if none are given.
const EPOCHS: f64 = 10.0;

/// Blocks that `adapt` trains, if no number is given.
const BLOCKS: f64 = 4.0;

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
    /// The typical speed of two cores.
    Typical,
}

impl Basis {
    pub(super) fn words(self) -> &'static str {
        match self {
            Basis::Same => "recorded times of the same probe and options",
            Basis::Probe => "recorded times of the same probe with other options",
            Basis::Typical => "typical speeds of two cores, by order of magnitude",
        }
    }
}

/// What the work of an evaluation depends on beside its cache.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Work {
    probe: String,
    /// Head or decoder.
    part: String,
    /// Blocks that are adapted.
    blocks: f64,
    /// Whether it is of a number of shots.
    is_few: bool,
    epochs: f64,
}

impl Work {
    pub(super) fn of(evaluation: &Evaluation<'_>) -> Work {
        let options = &evaluation.entry.options;
        let word = |name: &str| options.get(name).and_then(Value::as_str);
        let epochs = options.get("epochs").and_then(Value::as_integer);
        let probe = evaluation.job.probe;
        Work {
            probe: probe.into(),
            part: word("decoder").or(word("head")).unwrap_or("linear").into(),
            blocks: options
                .get("blocks")
                .and_then(Value::as_integer)
                .map_or(BLOCKS, |n| n as f64),
            is_few: probe == "few-shot" || options.contains_key("shots"),
            epochs: epochs.map_or(EPOCHS, |epochs| epochs as f64),
        }
    }

    fn of_record(record: &RunRecord) -> Work {
        let word = |name: &str| record.params.get(name).and_then(Json::as_str);
        let mut settings = Map::new();
        flatten("", &record.settings, &mut settings);
        let epochs = settings.iter().find(|(name, _)| name.ends_with("epochs"));
        Work {
            probe: record.probe.clone(),
            part: word("decoder").or(word("head")).unwrap_or("linear").into(),
            blocks: record
                .params
                .get("blocks")
                .and_then(Json::as_f64)
                .unwrap_or(BLOCKS),
            is_few: record.params.get("shots").is_some_and(Json::is_number)
                || record.probe == "few-shot",
            epochs: epochs
                .and_then(|(_, epochs)| epochs.as_f64())
                .unwrap_or(EPOCHS),
        }
    }

    /// What the time on a cache is proportional to. It serves to compare evaluations of the same probe.
    pub(super) fn on(&self, meta: &CacheMeta) -> f64 {
        let (rows, width) = (meta.rows as f64, f64::from(meta.width));
        let patches = f64::from(meta.grid[0]) * f64::from(meta.grid[1]);
        match self.probe.as_str() {
            "knn" => rows * rows * width,
            "ridge" => rows * width * width,
            "logreg" => rows * width,
            "segment" if self.part == "unet" => rows * patches * width * width * self.epochs,
            "segment" => rows * patches * width * self.epochs,
            "adapt" => rows * patches * width * width * self.blocks * self.epochs,
            _ => rows * width * self.epochs,
        }
    }

    fn is_like(&self, other: &Work) -> bool {
        (&self.probe, &self.part, self.is_few) == (&other.probe, &other.part, other.is_few)
    }

    /// Seconds per unit of work on two cores of an AMD EPYC, to order of magnitude.
    fn typical(&self) -> f64 {
        match self.probe.as_str() {
            "knn" => 1e-11,
            "ridge" => 1e-10,
            "segment" if self.part == "unet" => 1e-10,
            "segment" => 1.3e-8,
            "adapt" => 7e-10,
            "few-shot" => 2e-6,
            _ => 4e-7,
        }
    }
}

/// A recorded time.
#[derive(Clone, Copy)]
struct Timed {
    work: f64,
    seconds: f64,
}

/// Estimates the time of each cell to run, from recorded times where there are any.
pub(super) fn estimate(cells: &mut [Cell], evaluations: &[Evaluation<'_>], records: &Records) {
    let works: Vec<Work> = evaluations.iter().map(Work::of).collect();
    let same: Vec<Vec<Timed>> = evaluations
        .iter()
        .map(|evaluation| of_entry(cells, evaluations, evaluation))
        .collect();
    let probe: Vec<Vec<Timed>> = works
        .iter()
        .map(|work| of_probe(cells, &works, records, work))
        .collect();
    for cell in cells.iter_mut() {
        if matches!(cell.state, State::ToRun(_)) {
            let of = cell.evaluation;
            let same = scaled(&same[of], cell.work).map(|seconds| (seconds, Basis::Same));
            let known = same
                .or_else(|| scaled(&probe[of], cell.work).map(|seconds| (seconds, Basis::Probe)));
            let typical = LEAST + works[of].typical() * cell.work;
            (cell.seconds, cell.basis) = known.unwrap_or((typical, Basis::Typical));
        }
    }
}

/// The median of those recorded times whose work is the nearest, in proportion to the work.
fn scaled(known: &[Timed], work: f64) -> Option<f64> {
    let mut near: Vec<Timed> = known.to_vec();
    let distance = |timed: &Timed| (timed.work / work).ln().abs();
    near.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    near.truncate(NEAREST);
    let mut seconds: Vec<f64> = near
        .iter()
        .map(|timed| timed.seconds * work / timed.work)
        .collect();
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.get(seconds.len() / 2)?;
    Some(middle.max(LEAST))
}

/// Times of the cells of the same probe of the study, whatever the fold.
fn of_entry(cells: &[Cell], evaluations: &[Evaluation<'_>], like: &Evaluation<'_>) -> Vec<Timed> {
    let timed = |cell: &Cell| {
        let is_like = std::ptr::eq(evaluations[cell.evaluation].entry, like.entry);
        let records = match cell.records() {
            [] => &cell.earlier,
            records => records,
        };
        let seconds = seconds(records.iter()).filter(|_| is_like && cell.work > 0.0)?;
        let work = cell.work;
        Some(Timed { work, seconds })
    };
    cells.iter().filter_map(timed).collect()
}

/// Times of the same probe and part on the caches of the study, whatever the options.
fn of_probe(cells: &[Cell], works: &[Work], records: &Records, like: &Work) -> Vec<Timed> {
    // The work on each cache for one epoch.
    let caches: BTreeMap<&str, f64> = cells
        .iter()
        .filter(|cell| works[cell.evaluation].is_like(like) && cell.work > 0.0)
        .map(|cell| {
            let epochs = works[cell.evaluation].epochs;
            (cell.cache_sha256.as_str(), cell.work / epochs)
        })
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
            work: cache * work.epochs,
            seconds: seconds(records.iter()).filter(|_| work.is_like(like))?,
        })
    };
    records.all(&like.probe).iter().filter_map(timed).collect()
}

/// The time of an evaluation. Each number of shots is timed for itself, of decoders for one draw; other results share
/// their time.
fn seconds<'a>(records: impl Iterator<Item = &'a RunRecord>) -> Option<f64> {
    let of = |record: &RunRecord| {
        let draws = record.params.get("draws").and_then(Json::as_f64);
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
        let known = known.map(|(work, seconds)| Timed { work, seconds });
        assert_eq!(scaled(&known, 200.0), Some(20.0));
        assert_eq!(scaled(&known[..1], 3.0), Some(3.0));
        assert_eq!(scaled(&[], 3.0), None);
    }
}
