//! Estimated times of cells.

use cache::CacheMeta;
use toml::Value;

use super::cells::{Cell, State};
use super::jobs::Evaluation;

/// Epochs of the commands that have them, if none are given.
const EPOCHS: i64 = 10;

/// Seconds for anything: opening a cache, writing records.
const LEAST: f64 = 0.1;

/// Work of a cell: what its time is proportional to. It serves to compare cells of the same probe.
pub(super) fn work(evaluation: &Evaluation<'_>, meta: &CacheMeta) -> f64 {
    let (rows, width) = (meta.rows as f64, f64::from(meta.width));
    let patches = f64::from(meta.grid[0]) * f64::from(meta.grid[1]);
    let epochs = evaluation.entry.options.get("epochs");
    let epochs = epochs.and_then(Value::as_integer).unwrap_or(EPOCHS) as f64;
    match evaluation.job.probe {
        "knn" => rows * rows * width,
        "ridge" => rows * width * width,
        "logreg" => rows * width,
        "segment" if is_unet(evaluation) => rows * patches * width * width * epochs,
        "segment" => rows * patches * width * epochs,
        _ => rows * width * epochs,
    }
}

/// Seconds per unit of work on two cores of an AMD EPYC, to order of magnitude.
fn typical(evaluation: &Evaluation<'_>) -> f64 {
    match evaluation.job.probe {
        "knn" => 1e-11,
        "ridge" => 1e-10,
        "segment" if is_unet(evaluation) => 1e-10,
        "segment" => 1.3e-8,
        "few-shot" => 2e-6,
        _ => 4e-7,
    }
}

fn is_unet(evaluation: &Evaluation<'_>) -> bool {
    evaluation
        .entry
        .options
        .get("decoder")
        .and_then(Value::as_str)
        == Some("unet")
}

/// Estimates the time of each cell to run: from the median rate of the recorded cells of the same probe of the
/// study, else from a typical one.
pub(super) fn estimate(cells: &mut [Cell], evaluations: &[Evaluation<'_>]) {
    let rates: Vec<Option<f64>> = evaluations
        .iter()
        .map(|evaluation| recorded(cells, evaluations, evaluation))
        .collect();
    for cell in cells.iter_mut() {
        if matches!(cell.state, State::ToRun(_)) {
            let rate = rates[cell.evaluation];
            let rate = rate.unwrap_or_else(|| typical(&evaluations[cell.evaluation]));
            cell.seconds = LEAST + rate * cell.work;
        }
    }
}

/// Median of seconds per unit of work over recorded cells of the same probe, whatever the fold.
fn recorded(cells: &[Cell], evaluations: &[Evaluation<'_>], like: &Evaluation<'_>) -> Option<f64> {
    let rate = |cell: &Cell| {
        let is_like = std::ptr::eq(evaluations[cell.evaluation].entry, like.entry);
        let records = cell.records().iter().filter(|_| is_like && cell.work > 0.0);
        let seconds = records.map(|record| record.seconds);
        let seconds = if like.job.probe == "few-shot" {
            // Each number of shots is timed for itself; other results share their time.
            seconds.reduce(|sum, more| sum + more)
        } else {
            seconds.reduce(f64::max)
        };
        Some(seconds? / cell.work)
    };
    let mut rates: Vec<f64> = cells.iter().filter_map(rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied()
}

/// The cells to run whose time is estimated from recorded ones of the same probe.
pub(super) fn from_records(cells: &[Cell], evaluations: &[Evaluation<'_>]) -> usize {
    let has_rate = |cell: &&Cell| {
        matches!(cell.state, State::ToRun(_))
            && recorded(cells, evaluations, &evaluations[cell.evaluation]).is_some()
    };
    cells.iter().filter(has_rate).count()
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
