//! Negative controls beside the results that they belong to.

use std::collections::BTreeSet;

use common::text::argument;
use plot::{Axis, Caption, Interval, Intervals};
use serde_json::{Map, Value};

use crate::compare::{role, traits};
use crate::record::RunRecord;
use crate::report::cells::{Way, around, figure, is_plain, main_measure, task};
use crate::report::chart::{Chart, number};
use crate::report::made::command;
use crate::report::read::{Study, backbone, measure};
use crate::report::table::{Cell, Column};

/// The control that takes no tokens, so that its settings of tokens do not count.
const WITHOUT_TOKENS: &str = "metadata-only";

/// A probe with a backbone under a protocol.
type Group<'a> = (&'a str, String, &'a str);

/// A row: its name, and the record, or the command that makes it.
type Row<'a> = (String, Result<&'a RunRecord, String>);

/// Results that have a control, with all of their controls of the same settings. Those of other settings are missing.
pub(super) fn chart(study: &Study, dataset: &str) -> Option<Chart> {
    let all = || study.results().filter(|record| task(record) == dataset);
    let controls: Vec<&RunRecord> = all().filter(|record| record.control.is_some()).collect();
    let title = main_measure(controls.first()?)?.title;
    let mut groups: Vec<Group<'_>> = Vec::new();
    for group in controls.iter().map(|control| group(control)) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let (mut drawn, mut numbers): (Vec<Interval>, Vec<Vec<Cell>>) = Default::default();
    let mut missing = String::new();
    for of in &groups {
        let results = all().filter(|record| is_plain(record) && group(record) == *of);
        let controls = controls.iter().filter(|control| group(control) == *of);
        let controls: Vec<&RunRecord> = controls.copied().collect();
        let (probe, backbone, protocol) = of;
        let heading = format!("{probe} {backbone} {protocol}");
        for (name, found) in rows(study, &results.collect::<Vec<_>>(), &controls) {
            if let Err(command) = &found {
                missing += &format!(" Missing: {name} of {heading}, made by {command}.");
            }
            let record = found.ok();
            let p = record.and_then(|record| measure(record, "p_permutation"));
            let with_p = p.map_or_else(String::new, |p| format!(" (p {p:.3})"));
            let figure = record.and_then(figure);
            drawn.push(Interval {
                name: format!("{name}{with_p}"),
                group: heading.clone(),
                value: figure.map(|figure| figure.value),
                interval: figure.as_ref().and_then(around),
            });
            numbers.push(vec![
                (*probe).into(),
                backbone.clone().into(),
                (*protocol).into(),
                name.into(),
                record.map_or(Cell::Blank, |record| record.setting.clone().into()),
                figure.map_or(Cell::Missing, Cell::Figure),
                p.map_or(Cell::Blank, |p| number(Some(p), 3, None)),
            ]);
        }
    }
    let chart = Intervals {
        caption: Caption::new(
            format!("controls-{dataset}"),
            format!("Negative controls on {dataset}"),
            format!(
                "{title} of results and of their controls with the same settings: shuffled labels (p: of the permutation test), features replaced by random numbers, and metadata only. A control far from 0.5 says that something other than the image gives the class away.{missing}"
            ),
        ),
        axis: Axis::new(title).range(0.0, 1.0),
        rows: drawn,
        reference: (title == "AUROC").then_some(0.5),
    };
    let columns = vec![
        Column::text("probe"),
        Column::text("backbone"),
        Column::text("protocol"),
        Column::text("control"),
        Column::text("setting"),
        Column::number(title),
        Column::number("p"),
    ];
    Some(Chart::new(&chart.caption, &chart.svg(), columns, numbers))
}

fn group(record: &RunRecord) -> Group<'_> {
    (&record.probe, backbone(record), &record.protocol)
}

/// The rows of a group: the result that other tables and figures show, or else one with a control, and the last control
/// of each kind.
fn rows<'a>(
    study: &'a Study,
    results: &[&'a RunRecord],
    controls: &[&'a RunRecord],
) -> Vec<Row<'a>> {
    let control = |result: &RunRecord, kind: &str| {
        let wanted = settings(result, kind);
        let mut found = controls.iter().rev().copied();
        found.find(|control| kind_of(control) == kind && settings(control, kind) == wanted)
    };
    let kinds: BTreeSet<&str> = controls.iter().map(|control| kind_of(control)).collect();
    let has_control =
        |result: &&&RunRecord| kinds.iter().any(|kind| control(result, kind).is_some());
    let is_shown = |result: &&&RunRecord| {
        Way::of(result).is_some_and(|way| {
            let shown = study.all_of(way, &result.protocol).compared;
            shown.iter().any(|record| std::ptr::eq(*record, **result))
        })
    };
    let latest = || results.iter().rev();
    let result = latest()
        .find(is_shown)
        .or_else(|| latest().find(has_control))
        .or_else(|| latest().next());
    let Some(result) = result else {
        let result = controls.last().map(|control| without_control(control));
        let result = result.map(|command| ("result".to_owned(), Err(command)));
        let controls = controls.iter().copied();
        let controls = controls.map(|control| (kind_of(control).to_owned(), Ok(control)));
        return result.into_iter().chain(controls).collect();
    };
    let beside = kinds.iter().map(|kind| {
        let found = control(result, kind);
        let command = || with_control(result, kind);
        ((*kind).to_owned(), found.ok_or_else(command))
    });
    [("result".to_owned(), Ok(*result))]
        .into_iter()
        .chain(beside)
        .collect()
}

fn kind_of(control: &RunRecord) -> &str {
    control.control.as_deref().unwrap_or_default()
}

/// Settings that a result and its control share.
fn settings(record: &RunRecord, kind: &str) -> (Map<String, Value>, String) {
    let mut settings = traits(record);
    settings.retain(|name, _| {
        let is_of_tokens = ["layer", "features"].contains(&name.as_str());
        !(name.starts_with("control") || is_of_tokens && kind == WITHOUT_TOKENS)
    });
    (settings, role(record))
}

/// What makes the control of a result.
fn with_control(result: &RunRecord, kind: &str) -> String {
    if result.command.is_empty() {
        return format!("a `[[probe]]` with `control = \"{kind}\"` of the study");
    }
    format!("`{} --control {kind}`", of_backbone(result))
}

/// What makes the result of a control.
fn without_control(control: &RunRecord) -> String {
    let command = of_backbone(control);
    let mut words = command.split(' ');
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        let (option, value) = word.split_once('=').unzip();
        match option.unwrap_or(word) {
            // Without `=`, the next word is the value.
            "--control" | "--permutations" => drop(value.is_none().then(|| words.next())),
            _ => kept.push(word),
        }
    }
    format!("`{}`", kept.join(" "))
}

/// The command of a record, for its backbone alone.
fn of_backbone(record: &RunRecord) -> String {
    let mut command = command(record).unwrap_or_default();
    for (option, value) in [
        ("--model", argument(record.model.as_ref())),
        ("--image-size", record.image_size.to_string()),
    ] {
        let is_of = |word: &str| word.split('=').next() == Some(option);
        if !command.split(' ').any(is_of) {
            command += &format!(" {option} {value}");
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    /// A record of `knn` with this `k`.
    fn knn(k: u64, control: Option<&str>) -> RunRecord {
        let typed = control.map_or(String::new(), |kind| format!(" --control {kind}"));
        let settings = serde_json::json!({"ks": [k], "layer": 2, "control": control});
        let metrics = serde_json::json!({"auroc_macro": 0.5 + k as f64 / 100.0});
        RunRecord {
            setting: format!("k={k}"),
            control: control.map(str::to_owned),
            settings: settings.as_object().cloned().unwrap(),
            metrics: metrics.as_object().cloned().unwrap(),
            command: format!("probe knn --k {k} --layer 2{typed}"),
            ..record()
        }
    }

    /// Control, setting and figure of each row, and the caption.
    fn shown(records: Vec<RunRecord>) -> (Vec<[String; 3]>, String) {
        let study = Study {
            records,
            ..Study::default()
        };
        let table = chart(&study, "d").unwrap().numbers;
        let rows = table.rows.iter();
        let rows = rows.map(|row| [3, 4, 5].map(|at| row[at].shown()));
        (rows.collect(), table.caption)
    }

    #[test]
    fn controls_stand_beside_the_result_of_their_settings() {
        let mut metadata = knn(5, Some("metadata-only"));
        metadata.settings.insert("layer".into(), 1.into());
        let controls = vec![knn(5, Some("random-features")), metadata];
        let of = |kind: &str| [kind.to_owned(), "k=5".into(), "0.550".into()];
        let expected = ["result", "metadata-only", "random-features"].map(of);
        let mut records = controls.clone();
        records.push(knn(5, None));
        let (rows, caption) = shown(records.clone());
        assert_eq!(rows, expected);
        assert!(!caption.contains("Missing"), "{caption}");
        // The newest result is the one that other tables show; its controls are missing.
        records.push(knn(20, None));
        let (rows, caption) = shown(records);
        assert_eq!(rows[0], ["result", "k=20", "0.700"]);
        assert_eq!(rows[1], ["metadata-only", "", "–"]);
        assert_eq!(rows[2], ["random-features", "", "–"]);
        let command = "`probe knn --k 20 --layer 2 --dataset d --model m --image-size 224 --control random-features`";
        assert!(caption.contains(command), "{caption}");
        // Controls of other settings, other splits or another seed are no controls of a result.
        let mut other = knn(20, Some("random-features"));
        other.settings.insert("seed".into(), 1.into());
        let (rows, _) = shown(vec![knn(20, None), other]);
        assert_eq!(rows[1], ["random-features", "", "–"]);
        let (rows, caption) = shown(controls);
        assert_eq!(rows[0], ["result", "", "–"]);
        let command = "`probe knn --k 5 --layer 2 --dataset d --model m --image-size 224`";
        assert!(caption.contains(command), "{caption}");
    }
}
