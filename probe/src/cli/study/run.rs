//! Running the cells.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use common::counted;
use common::text::printable;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPool;

use super::super::over::{Keep, Progress};
use super::cells::{Cell, State};
use super::estimate::time;
use super::jobs::Evaluation;
use super::print::result;
use super::signals::tell_of_stop;
use crate::Error;
use crate::record::{self, Appended, RunRecord};
use crate::study::{Pooled, StudyFile, pool, pool_key};

/// Runs the cells that are to be run, the cheapest first. A cell that fails does not stop the others.
pub(super) fn run(
    cells: &mut [Cell],
    evaluations: &[Evaluation<'_>],
    pool: &ThreadPool,
    messages: &mut impl Write,
) -> Result<()> {
    let mut order: Vec<usize> = (0..cells.len())
        .filter(|&at| matches!(cells[at].state, State::ToRun(_)))
        .collect();
    order.sort_by(|&a, &b| cells[a].seconds.total_cmp(&cells[b].seconds));
    let known = cells.len() - order.len();
    let bar = bar(order.len());
    if !order.is_empty() {
        tell_of_stop(&bar)?;
        let total: f64 = order.iter().map(|&at| cells[at].seconds).sum();
        let (count, time) = (counted(order.len(), "cell"), time(total));
        writeln!(messages, "{count} to run, about {time}; {known} others")?;
    }
    let mut left: f64 = order.iter().map(|&at| cells[at].seconds).sum();
    let count = order.len();
    for (number, at) in (1..).zip(order) {
        let label = cells[at].label(evaluations);
        bar.set_prefix(format!("about {} left", time(left)));
        bar.set_message(printable(&label).into_owned());
        let before = if bar.is_hidden() {
            format!("{}: {label}: ", bar.prefix())
        } else {
            format!("{label}: ")
        };
        left -= cells[at].seconds;
        let progress = Progress::new(&bar, before);
        let state = one(&cells[at], evaluations, pool, &progress);
        cells[at].state = state;
        let said = match &cells[at].state {
            State::Failed(error) => format!("failed: {}", error.lines().next().unwrap_or_default()),
            _ => result(cells[at].records()),
        };
        let label = printable(&label).into_owned();
        bar.suspend(|| writeln!(messages, "[{number}/{count}] {label}: {}", printable(&said)))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn one(
    cell: &Cell,
    evaluations: &[Evaluation<'_>],
    pool: &ThreadPool,
    progress: &Progress<'_>,
) -> State {
    let State::ToRun(path) = &cell.state else {
        return State::Failed("there is nothing to run".into());
    };
    let evaluation = &evaluations[cell.evaluation];
    let job = &evaluation.job;
    let opened = job.caches.open(path).map_err(Error::from);
    let evaluated = opened.and_then(|(reader, told)| {
        told.iter().for_each(|text| progress.tell(text));
        job.evaluate(&reader, &job.settings[cell.setting], pool, progress)
    });
    match evaluated {
        Ok(records) => State::Done(records),
        Err(error) => State::Failed(evaluation.told(&error)),
    }
}

fn bar(cells: usize) -> ProgressBar {
    let bar = ProgressBar::new(cells as u64);
    let style =
        ProgressStyle::with_template("{bar:30} {pos}/{len} cells, {elapsed}, {prefix}\n{wide_msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The result of all folds of a cross-validation.
pub(super) struct OfFolds {
    /// Name of its probe for people.
    pub(super) label: String,
    pub(super) record: RunRecord,
}

/// Pools the folds of each cross-validation whose cells are all done; records what is new.
pub(super) fn pool_folds(
    study: &StudyFile,
    cells: &[Cell],
    evaluations: &[Evaluation<'_>],
    runs: &Path,
    force: bool,
    messages: &mut impl Write,
) -> Result<Vec<OfFolds>> {
    let mut pooled = Vec::new();
    let first = |cell: &&Cell| evaluations[cell.evaluation].fold == Some(0);
    for cell in cells.iter().filter(first) {
        let entry = evaluations[cell.evaluation].entry;
        let is_same = |other: &&Cell| {
            let evaluation = &evaluations[other.evaluation];
            std::ptr::eq(evaluation.entry, entry)
                && evaluation.fold.is_some()
                && (&other.dataset, &other.model, &other.size, other.setting)
                    == (&cell.dataset, &cell.model, &cell.size, cell.setting)
        };
        // Evaluations follow each other in the order of their folds.
        let of_folds: Vec<&[RunRecord]> = cells.iter().filter(is_same).map(Cell::records).collect();
        let Some(&folds) = study.folds.get(&cell.dataset) else {
            continue;
        };
        if of_folds.iter().any(|records| records.is_empty()) {
            continue;
        }
        let job = &evaluations[cell.evaluation].job;
        let label = evaluations[cell.evaluation].label.clone();
        let of = |record: RunRecord| OfFolds {
            label: label.clone(),
            record,
        };
        let keys: Vec<&str> = of_folds.iter().map(|of| of[0].key.as_str()).collect();
        let known = record::read(runs, job.probe)?;
        if let Some(known) = known.of(&pool_key(folds, &keys)).filter(|_| !force) {
            pooled.extend(known.iter().cloned().map(of));
            continue;
        }
        match pool(&of_folds, folds, runs, &job.settings[cell.setting]) {
            Ok(found) => {
                let records = keep(found, runs, job.probe, force)?;
                pooled.extend(records.into_iter().map(of));
            }
            Err(error) => {
                let label = format!("{label} {}", cell.cache());
                writeln!(messages, "warning: {}: {error}", printable(&label))?;
            }
        }
    }
    Ok(pooled)
}

fn keep(found: Pooled, runs: &Path, probe: &str, force: bool) -> Result<Vec<RunRecord>, Error> {
    let record = match found {
        Pooled::Scores(evaluated) => evaluated.keep(runs, 0)?,
        Pooled::Volumes(mut record, table) => {
            let file = format!("predictions/{}.parquet", record.file_name(0));
            table.write(&runs.join(&file))?;
            record.predictions = Some(file);
            *record
        }
        Pooled::Means(record) => *record,
    };
    let (Appended::Known(records) | Appended::New(records)) =
        record::append(runs, probe, vec![record], force)?;
    Ok(records)
}
