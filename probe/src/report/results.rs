//! The table of all results, of any dataset and backbone.

use std::collections::BTreeSet;

use serde_json::Map;

use super::cells::Measured;
use super::read::{Study, backbone, interval, measure};
use super::table::{Cell, Column, Figure, Table};
use crate::compare::{flatten, value, written};
use crate::record::RunRecord;

/// Columns with measures; the first that a record has is shown.
const MEASURES: [(&str, &[Measured]); 3] = [
    (
        "AUROC or Dice",
        &[
            named("auroc_macro", "AUROC"),
            named("dice_macro", "Dice"),
            named("dice_pooled", "Dice, pooled"),
        ],
    ),
    (
        "AP or IoU",
        &[
            named("average_precision_macro", "AP"),
            named("iou_macro", "IoU"),
            named("jaccard_pooled", "Jaccard, foreground"),
        ],
    ),
    (
        "accuracy or (D + J) / 2",
        &[
            named("accuracy", "accuracy"),
            named("dice_jaccard_mean", "(Dice + Jaccard) / 2"),
        ],
    ),
];

/// Columns whose values filter the rows of the page, with their names.
pub(super) const FILTERS: [(usize, &str); 4] = [
    (0, "dataset"),
    (1, "backbone"),
    (2, "probe"),
    (3, "protocol"),
];

const fn named(name: &'static str, title: &'static str) -> Measured {
    Measured { name, title }
}

/// All results, one per row, in the order of their names.
pub(super) fn table(study: &Study) -> Table {
    let mut records: Vec<&RunRecord> = study.results().collect();
    records.sort_by_key(|record| {
        (
            &record.dataset,
            &record.probe,
            &record.protocol,
            &record.model,
            record.image_size,
        )
    });
    let rows = with_settings(&records).into_iter();
    let rows = rows.map(|(record, setting)| row(record, setting)).collect();
    let mut columns: Vec<Column> = FILTERS.map(|(_, name)| Column::text(name)).to_vec();
    columns.push(Column::text("setting"));
    columns.extend(MEASURES.map(|(header, _)| Column::number(header)));
    columns.extend(["train", "test"].map(Column::number));
    columns.push(Column::text("remarks"));
    Table {
        id: "results".into(),
        title: "All results".into(),
        caption: "One row per record. Brackets: 95% confidence interval by a bootstrap of patients; ±: standard deviation over draws. AUROC, average precision (AP), Dice and IoU are means over classes. AUROC and Dice of different protocols are different measures."
            .into(),
        columns,
        rows,
    }
}

/// Records with their settings, in which neighbours of the same dataset, probe and protocol can be told apart.
pub(super) fn with_settings<'a>(records: &[&'a RunRecord]) -> Vec<(&'a RunRecord, String)> {
    let evaluations = records.chunk_by(|a, b| {
        let of = |record: &RunRecord| {
            [&record.dataset, &record.probe, &record.protocol].map(String::clone)
        };
        of(a) == of(b)
    });
    let rows = evaluations.flat_map(|records| {
        let differ = differing(records);
        let rows = records
            .iter()
            .map(|record| (*record, setting(record, &differ)));
        rows.collect::<Vec<_>>()
    });
    rows.collect()
}

/// Names of the settings in which records differ, without those that the columns have anyway.
fn differing(records: &[&RunRecord]) -> BTreeSet<String> {
    const SHOWN: [&str; 5] = ["control", "eval", "split_name", "shots", "repeats"];
    let all: Vec<Map<_, _>> = records.iter().map(|record| settings(record)).collect();
    let names: BTreeSet<&String> = all.iter().flat_map(Map::keys).collect();
    let differ = names.into_iter().filter(|name| {
        let last = name.rsplit('.').next().unwrap_or(name);
        !SHOWN.contains(&last) && all.iter().any(|of| of.get(*name) != all[0].get(*name))
    });
    differ.cloned().collect()
}

fn settings(record: &RunRecord) -> Map<String, serde_json::Value> {
    let mut settings = Map::new();
    flatten("", &record.settings, &mut settings);
    settings
}

fn row(record: &RunRecord, setting: String) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![
        record.dataset.clone().into(),
        backbone(record).into(),
        record.probe.clone().into(),
        record.protocol.clone().into(),
        setting.into(),
    ];
    cells.extend(MEASURES.map(|(_, names)| {
        let known = names.iter().find(|of| measure(record, of.name).is_some());
        known.map_or(Cell::Blank, |of| figure(record, of.name))
    }));
    cells.extend([Cell::Count(record.n_train), Cell::Count(record.n_test)]);
    cells.push(remarks(record).into());
    cells
}

fn figure(record: &RunRecord, name: &str) -> Cell {
    measure(record, name).map_or(Cell::Missing, |value| {
        Cell::Figure(Figure {
            value,
            decimals: 3,
            interval: interval(record, name),
            deviation: record.deviation(name),
            is_best: false,
        })
    })
}

/// The setting with the names of split and labels, and with the settings that `differ`, unless its
/// words are in it already.
fn setting(record: &RunRecord, differ: &BTreeSet<String>) -> String {
    // All folds together have their number as their setting.
    let split = record.split_name.iter();
    let split = split.filter(|name| !name.starts_with("kfold:"));
    let split = split.map(|name| format!("split {name}"));
    let labels = record.labels_name.iter();
    let labels = labels.map(|name| format!("labels {name}"));
    let settings = settings(record);
    let more = differ.iter().filter_map(|name| {
        let found = settings.get(name)?;
        let [option, value] = [written(name, found)?, value(name, found)?];
        let mut words = record.setting.split(' ');
        (!words.any(|word| word == option || word == value)).then_some(option)
    });
    let all = [record.setting.clone()]
        .into_iter()
        .chain(split)
        .chain(labels)
        .chain(more);
    all.collect::<Vec<_>>().join(", ")
}

/// What distinguishes a record from a plain one, and its warnings.
fn remarks(record: &RunRecord) -> String {
    let mut all = Vec::new();
    if let Some(control) = &record.control {
        all.push(format!("control {control}"));
    }
    if record.chosen == Some(true) && record.probe == "knn" {
        all.push(format!(
            "best on {}",
            record.chosen_on.as_deref().unwrap_or("val")
        ));
    }
    if record.split != "test" {
        all.push(format!("evaluated on {}", record.split));
    }
    if record.per_patient {
        all.push("by patient".into());
    }
    all.extend(record.warnings.iter().cloned());
    all.join("; ")
}
