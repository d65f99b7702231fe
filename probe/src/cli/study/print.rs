//! Printing cells and results.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anyhow::Result;
use common::counted;
use common::text::printable;
use serde_json::{Value, json};

use super::super::{Form, Format};
use super::cells::{Cell, State};
use super::estimate::{Basis, count, time};
use super::extract::{Extract, Missing};
use super::jobs::Evaluation;
use super::run::OfFolds;
use crate::record::RunRecord;
use crate::study::Folds;
use crate::table::{Column, Grid, values};

/// The measure that a line shows, of those that a record has.
const SHOWN: [(&str, &str); 4] = [
    ("auroc_macro", "AUROC"),
    ("dice_macro", "Dice"),
    ("dice_jaccard_mean", "(Dice + Jaccard) / 2"),
    ("accuracy", "accuracy"),
];

/// The chosen record, or all if none is chosen; of several numbers of shots all.
fn shown(records: &[RunRecord]) -> impl Iterator<Item = &RunRecord> {
    let has_chosen = records.iter().any(|record| record.chosen == Some(true));
    let is_shown = move |record: &&RunRecord| !has_chosen || record.chosen != Some(false);
    records.iter().filter(is_shown)
}

/// The measure of the last shown record.
pub(super) fn result(records: &[RunRecord]) -> String {
    shown(records).last().map(measured).unwrap_or_default()
}

/// Setting and measure of a record, with the interval or the standard deviation.
fn measured(record: &RunRecord) -> String {
    let found = SHOWN.iter().find_map(|(name, header)| {
        let value = record.metrics.get(*name)?.as_f64()?;
        Some((*name, *header, value))
    });
    let Some((name, header, value)) = found else {
        return "undefined".into();
    };
    let bounds = record.ci.as_ref().and_then(|ci| ci.get(name)?.as_array());
    let bounds = bounds.map(|bounds| bounds.iter().filter_map(Value::as_f64).collect::<Vec<_>>());
    let mut text = format!("{header} {value:.3}");
    match (bounds.as_deref(), record.deviation(name)) {
        (Some([low, high]), _) => text += &format!(" [{low:.3}, {high:.3}]"),
        (_, Some(sd)) => text += &format!(" ± {sd:.3}"),
        _ => {}
    }
    text
}

/// One row per cell with its state, and the total time, which goes to `messages` beside data for programs. So do errors,
/// and the commands that make what is missing.
pub(super) fn plan<'a>(
    cells: &[Cell],
    evaluations: &[Evaluation<'_>],
    extract: &Extract,
    form: &Form,
    (out, messages): (&'a mut dyn Write, &'a mut dyn Write),
) -> Result<()> {
    let columns = ["probe", "cache", "protocol", "state"].map(|header| Column::key(header, 0));
    let columns = columns
        .into_iter()
        .chain([Column::number("time", 0)])
        .collect();
    let rows = cells.iter().map(|cell| planned(cell, evaluations));
    match form.format {
        Format::Json => {
            for row in rows {
                let [probe, cache, protocol, state, time] = row;
                let line = json!({
                    "probe": probe, "cache": cache, "protocol": protocol, "state": state, "time": time,
                });
                writeln!(out, "{line}")?;
            }
        }
        _ => form.print(&Grid::new(columns, rows.map(Vec::from)), &mut *out)?,
    }
    let end: &mut dyn Write = if form.format == Format::Text {
        &mut *out
    } else {
        &mut *messages
    };
    let to_run = cells
        .iter()
        .filter(|cell| matches!(cell.state, State::ToRun(_)));
    let seconds: f64 = to_run.clone().map(|cell| cell.seconds).sum();
    let to_run = to_run.count();
    writeln!(end, "\n{}, {to_run} to run", counted(cells.len(), "cell"))?;
    if to_run > 0 {
        writeln!(end, "about {}, estimated from", time(seconds))?;
        for basis in [Basis::Same, Basis::Probe, Basis::Typical] {
            let cells = count(cells, basis);
            if cells > 0 {
                writeln!(end, "  {}: {}", basis.words(), counted(cells, "cell"))?;
            }
        }
    }
    rest(cells, evaluations, extract, messages)
}

/// Probe, cache, protocol with fold, state, and time of a cell to run.
fn planned(cell: &Cell, evaluations: &[Evaluation<'_>]) -> [String; 5] {
    let evaluation = &evaluations[cell.evaluation];
    let protocol = evaluation.job.settings[cell.setting].protocol.name();
    let fold = evaluation
        .fold
        .map(|fold| format!(" {}", Folds::name(fold)));
    let (state, time) = match &cell.state {
        State::Done(_) => ("done", String::new()),
        State::ToRun(_) => ("to run", time(cell.seconds)),
        State::NoCache => ("no cache", String::new()),
        State::NoTokens => ("no tokens", String::new()),
        State::ByScript(_) => ("by script", String::new()),
        State::NoFold(_) => ("no fold", String::new()),
        State::OtherFold(_) | State::Failed(_) => ("cannot run", String::new()),
    };
    [
        evaluation.label.clone(),
        cell.cache(),
        format!("{protocol}{}", fold.unwrap_or_default()),
        state.to_owned(),
        time,
    ]
}

/// A table of the results on the caches' own splits, and one of the cross-validations; as CSV a table of both, folds
/// included.
pub(super) fn results(
    cells: &[Cell],
    evaluations: &[Evaluation<'_>],
    pooled: &[OfFolds],
    form: &Form,
    out: &mut impl Write,
) -> Result<()> {
    if form.format == Format::Csv {
        let own = cells.iter().flat_map(|cell| shown(cell.records()));
        let all = own.chain(pooled.iter().map(|of| &of.record)).cloned();
        return Ok(form.print(&values(&all.collect::<Vec<RunRecord>>()), out)?);
    }
    let protocols = evaluations.iter().flat_map(|of| &of.job.settings);
    let protocols: BTreeSet<&str> = protocols.map(|of| of.protocol.name()).collect();
    let has_protocols = protocols.len() > 1;
    let row = |label: &str, record: &RunRecord, result: Vec<String>| {
        let cache = format!("{}/{}@{}", record.dataset, record.model, record.image_size);
        let protocol = has_protocols.then(|| record.protocol.clone());
        let first = [label.to_owned(), cache].into_iter().chain(protocol);
        first.chain(result).collect::<Vec<String>>()
    };
    let header = |last: &[&str]| {
        let protocol = has_protocols.then_some("protocol");
        let first = ["probe", "cache"].into_iter().chain(protocol);
        let names = first.chain(last.iter().copied());
        let column = |name| {
            if last.contains(&name) {
                Column::text(name, 0)
            } else {
                Column::key(name, 0)
            }
        };
        names.map(column).collect::<Vec<Column>>()
    };
    let own = cells.iter().flat_map(|cell| {
        let evaluation = &evaluations[cell.evaluation];
        let label = &evaluation.label;
        let records = shown(cell.records()).filter(|_| evaluation.fold.is_none());
        let several = shown(cell.records()).count() > 1;
        records.map(move |record| {
            let which = if several {
                which(record)
            } else {
                String::new()
            };
            row(label, record, vec![which + &measured(record)])
        })
    });
    let own: Vec<Vec<String>> = own.collect();
    let of_folds = pooled.iter().map(|OfFolds { label, record }| {
        row(label, record, vec![measured(record), over_folds(record)])
    });
    let has_own = !own.is_empty();
    if has_own {
        form.print(&Grid::new(header(&["result"]), own), out)?;
    }
    if !pooled.is_empty() {
        if has_own {
            writeln!(out)?;
        }
        let header = header(&["all folds", "mean ± sd of folds"]);
        form.print(&Grid::new(header, of_folds), out)?;
    }
    Ok(())
}

/// What tells a result from others of its cell: the number of shots, or the setting.
fn which(record: &RunRecord) -> String {
    let words = || record.setting.split(' ');
    let shots = words().find(|word| word.starts_with("shots="));
    format!("{}: ", shots.unwrap_or(&record.setting))
}

/// Mean and standard deviation over folds of the shown measure.
fn over_folds(record: &RunRecord) -> String {
    let found = SHOWN
        .iter()
        .find_map(|(name, _)| record.params.get("folds")?.get(name));
    let of = |key: &str| found.and_then(|found| found.get(key)?.as_f64());
    match (of("mean"), of("sd")) {
        (Some(mean), Some(sd)) => format!("{mean:.3} ± {sd:.3}"),
        _ => String::new(),
    }
}

/// One record per line.
pub(super) fn json(cells: &[Cell], pooled: &[OfFolds], out: &mut impl Write) -> Result<()> {
    let of_folds = pooled.iter().map(|of| &of.record);
    let records = cells.iter().flat_map(Cell::records).chain(of_folds);
    for record in records {
        writeln!(out, "{}", record.to_json())?;
    }
    Ok(())
}

/// The cells without a result: errors, and the commands that make what is missing.
pub(super) fn rest(
    cells: &[Cell],
    evaluations: &[Evaluation<'_>],
    extract: &Extract,
    messages: &mut (impl Write + ?Sized),
) -> Result<()> {
    let mut failed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for cell in cells {
        if let State::Failed(error) = &cell.state {
            failed
                .entry(error)
                .or_default()
                .push(cell.label(evaluations));
        }
    }
    for (error, labels) in failed {
        let labels = labels.join("; ");
        writeln!(messages, "warning: {}: {error}", printable(&labels))?;
    }
    let unknown = extract.unknown(cells);
    for (dataset, problem) in &unknown {
        let of = |cell: &&Cell| cell.dataset == *dataset;
        let count = counted(cells.iter().filter(of).count(), "cell");
        writeln!(messages, "{count} cannot run: {problem}")?;
    }
    let known = cells
        .iter()
        .filter(|cell| !unknown.contains_key(cell.dataset.as_str()));
    let missing = extract.missing(known, evaluations);
    let (trainings, missing): (Vec<Missing>, Vec<Missing>) =
        missing.into_iter().partition(Missing::is_training);
    let (replacements, missing): (Vec<Missing>, Vec<Missing>) =
        missing.into_iter().partition(|missing| missing.replaces);
    for (missing, said) in [
        (
            missing,
            "cannot run: caches or folds are missing. These commands make them, as `--extract` does:",
        ),
        (
            replacements,
            "cannot run: another rule made the splits of their folds. These commands replace them; another `--cache` keeps them:",
        ),
        (
            trainings,
            "left to `scripts/finetune`, which needs the images. These commands run them, as `--finetune` does:",
        ),
    ] {
        let count: usize = missing.iter().map(|missing| missing.cells).sum();
        if count > 0 {
            writeln!(messages, "{} {said}", counted(count, "cell"))?;
        }
        for missing in missing {
            writeln!(messages, "  {}", printable(&missing.typed()))?;
        }
    }
    Ok(())
}
