//! Tables of run records.

use std::collections::BTreeSet;

use common::counted;
use serde_json::{Map, Value};
use terminal::{Column, Grid};

use super::{decimals, number, p_value};
use crate::compare::written;
use crate::record::RunRecord;

/// Columns of a table with their ranks, each with names of measures; the first that a record has is shown.
type Measures = &'static [(&'static str, u8, &'static [&'static str])];

const CLASSIFICATION: Measures = &[
    ("AUROC", 0, &["auroc_macro"]),
    ("AP", 2, &["average_precision_macro"]),
    ("accuracy", 3, &["accuracy"]),
];

const SEGMENTATION: Measures = &[
    ("Dice", 0, &["dice_macro", "dice_pooled"]),
    ("IoU", 2, &["iou_macro"]),
    ("HD95 penalised mm", 1, &["hd95_penalised_mm_macro"]),
    ("HD95 mm", 4, &["hd95_mm_macro"]),
    ("Jaccard (foreground)", 2, &["jaccard_pooled"]),
    ("(Dice + Jaccard) / 2", 3, &["dice_jaccard_mean"]),
];

/// Characters that are kept for settings, so that all probes show the same measures of the same caches.
const SETTING: usize = 16;

/// One row per record.
pub fn summary(records: &[RunRecord]) -> Grid {
    let measures = measures(records);
    let any = |has: fn(&RunRecord) -> bool| records.iter().any(has);
    let mut columns = vec![
        Column::key("dataset", 5),
        Column::text("model@size", 0),
        Column::key("protocol", 6),
        Column::text("setting", 0).with_room(SETTING),
    ];
    let has_control = any(|record| record.control.is_some());
    let has_recall = any(|record| recall(record).is_some());
    let is_trained = any(|record| record.n_train > 0);
    let is_scored = any(|record| scored(record).is_some());
    let is_measured = any(|record| record.n_test > 0);
    if has_control {
        columns.push(Column::text("control", 0));
    }
    if has_recall {
        columns.push(Column::number("recall", 1));
    }
    if is_trained {
        columns.push(Column::text("train", 8));
    }
    if is_scored {
        columns.push(Column::text("scored", 1));
    }
    if is_measured {
        columns.push(Column::text("test", 7));
    }
    columns.extend(measures.iter().map(|(header, rank, _)| {
        let column = Column::number(*header, *rank);
        // The first measure has its interval.
        if *rank == 0 { column } else { column.brief() }
    }));
    columns.push(Column::number("seconds", 9));
    let rows = records.iter().map(|record| {
        let mut row = vec![
            record.dataset.clone(),
            format!("{}@{}", record.model, record.image_size),
            record.protocol.clone(),
            setting(record),
        ];
        if has_control {
            row.push(record.control.clone().unwrap_or_default());
        }
        if has_recall {
            row.push(recall(record).map_or_else(String::new, |recall| decimals(Some(recall), 3)));
        }
        if is_trained {
            row.push(counted(record.n_train, unit(record, "unit")));
        }
        if is_scored {
            row.push(scored(record).unwrap_or_default());
        }
        if is_measured {
            row.push(counted(record.n_test, unit(record, "measured_unit")));
        }
        row.extend(measures.iter().map(|(_, _, names)| cell(record, names)));
        row.push(format!("{:.1}", record.seconds));
        row
    });
    Grid::new(columns, rows)
}

/// The names of runs, with their first measure and their files.
pub fn runs(records: &[RunRecord]) -> Grid {
    let columns = vec![
        Column::key("run", 0),
        Column::key("protocol", 2),
        Column::text("setting", 0).with_room(SETTING),
        Column::text("measure", 0),
        Column::text("time", 3),
        Column::text("head", 5),
        Column::text("scores", 6),
    ];
    let known = SEGMENTATION[..1].iter().chain(&CLASSIFICATION[..1]);
    let of = |record: &RunRecord, name| record.settings.get(name).cloned().unwrap_or_default();
    let layers = records.iter().map(|record| of(record, "layer"));
    let layers = layers.filter(|layer| !layer.is_null());
    let layers: BTreeSet<String> = layers.map(|layer| layer.to_string()).collect();
    let which = |record: &RunRecord| {
        let layer = Some("layer").filter(|_| layers.len() > 1);
        // All folds together are named by their setting.
        let split = Some("split_name").filter(|_| record.params.get("folds").is_none());
        let names = split.into_iter().chain(layer).chain(["labels", "control"]);
        let words = names.filter_map(|name| match of(record, name) {
            // Shuffled labels have their permutations beside the name.
            Value::Object(_) => written(name, &record.control.clone().into()),
            value => written(name, &value),
        });
        let words = std::iter::once(setting(record)).chain(words);
        words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let rows = records.iter().map(|record| {
        let mut known = known.clone();
        let measure = known.find_map(|(header, _, names)| {
            let name = first_of(record, names)?;
            Some(format!(
                "{header} {}",
                decimals(number(&record.metrics, name), 4)
            ))
        });
        // Days and minutes.
        let time = record.time.get(..16).unwrap_or_default().replace('T', " ");
        vec![
            record.name.clone(),
            record.protocol.clone(),
            which(record),
            measure.unwrap_or_default(),
            time,
            record.head.clone().unwrap_or_default(),
            record.predictions.clone().unwrap_or_default(),
        ]
    });
    Grid::new(columns, rows)
}

/// Lines beneath the table: what its marks mean, tests of controls, and classes without AUROC.
pub fn notes(records: &[RunRecord]) -> Vec<String> {
    let chosen = records.iter().filter(|record| is_best(record));
    let on: BTreeSet<&str> = chosen.filter_map(|r| r.chosen_on.as_deref()).collect();
    let mut notes: Vec<String> = on.iter().map(|on| format!("* best on {on}")).collect();
    notes.extend(records.iter().filter_map(permuted));
    let without: BTreeSet<_> = records.iter().filter_map(without_auroc).collect();
    notes.extend(without);
    notes
}

/// A row per record with its names, and a column per measure, bound of its interval and standard deviation.
pub fn values(records: &[RunRecord]) -> Grid {
    let mut names: Vec<&String> = Vec::new();
    let numbers = |record: &'_ RunRecord| -> Vec<String> {
        let measures = record.metrics.iter();
        measures
            .filter(|(_, value)| value.is_number() || value.is_null())
            .map(|(name, _)| name.clone())
            .collect()
    };
    let all: Vec<Vec<String>> = records.iter().map(numbers).collect();
    for name in all.iter().flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let known = [
        "name",
        "dataset",
        "model",
        "image_size",
        "probe",
        "protocol",
        "setting",
        "control",
        "split",
        "split_name",
        "labels_name",
        "chosen_on",
        "n_train",
        "train_unit",
        "n_test",
        "test_unit",
        "seconds",
    ];
    let mut columns: Vec<Column> = known.iter().map(|name| Column::text(*name, 0)).collect();
    for name in &names {
        let parts = ["", "_low", "_high", "_sd"];
        columns.extend(parts.map(|part| Column::number(format!("{name}{part}"), 0)));
    }
    let has_reasons = records.iter().any(|record| reason(record).is_some());
    columns.extend(has_reasons.then(|| Column::text("reason", 0)));
    let rows = records.iter().map(|record| {
        let mut row = facts(record);
        row.extend(names.iter().flat_map(|name| parts(record, name)));
        row.extend(has_reasons.then(|| reason(record).unwrap_or_default().to_owned()));
        row
    });
    Grid::new(columns, rows)
}

/// The reason why a record has no measures.
fn reason(record: &RunRecord) -> Option<&str> {
    record.params.get("why").and_then(Value::as_str)
}

fn facts(record: &RunRecord) -> Vec<String> {
    let on = record
        .chosen_on
        .clone()
        .filter(|_| record.chosen == Some(true));
    vec![
        record.name.clone(),
        record.dataset.clone(),
        record.model.clone(),
        record.image_size.to_string(),
        record.probe.clone(),
        record.protocol.clone(),
        record.setting.clone(),
        record.control.clone().unwrap_or_default(),
        record.split.clone(),
        record.split_name.clone().unwrap_or_default(),
        record.labels_name.clone().unwrap_or_default(),
        on.unwrap_or_default(),
        record.n_train.to_string(),
        unit(record, "unit").to_owned(),
        record.n_test.to_string(),
        unit(record, "measured_unit").to_owned(),
        record.seconds.to_string(),
    ]
}

/// A measure, the bounds of its interval, and its standard deviation, as exact as they are recorded.
fn parts(record: &RunRecord, name: &str) -> [String; 4] {
    let [low, high] = interval(record, name).map_or([None, None], |bounds| bounds.map(Some));
    let all = [
        number(&record.metrics, name),
        low,
        high,
        record.deviation(name),
    ];
    all.map(|value| value.map_or_else(String::new, |value| value.to_string()))
}

/// Measures of these records.
fn measures(records: &[RunRecord]) -> Vec<&'static (&'static str, u8, &'static [&'static str])> {
    let any = |names: &[&'static str]| {
        records
            .iter()
            .any(|record| first_of(record, names).is_some())
    };
    if any(SEGMENTATION[0].2) {
        let known = SEGMENTATION.iter();
        known.filter(|(_, _, names)| any(names)).collect()
    } else if records.iter().any(|record| !record.metrics.is_empty()) {
        CLASSIFICATION.iter().collect()
    } else {
        Vec::new()
    }
}

fn cell(record: &RunRecord, names: &[&'static str]) -> String {
    match first_of(record, names) {
        Some(name) => with_interval(record, name) + &undefined(record, name),
        None => "-".into(),
    }
}

fn first_of(record: &RunRecord, names: &[&'static str]) -> Option<&'static str> {
    let mut names = names.iter();
    names
        .find(|name| record.metrics.contains_key(**name))
        .copied()
}

/// What was counted for training (`unit`) or measuring (`measured_unit`).
fn unit<'a>(record: &'a RunRecord, of: &str) -> &'a str {
    let unit = record.params.get(of).and_then(Value::as_str);
    unit.unwrap_or("slice")
}

/// The setting, marked if it was chosen.
fn setting(record: &RunRecord) -> String {
    let mark = if is_best(record) { " *" } else { "" };
    record.setting.clone() + mark
}

/// Whether the setting was chosen. Numbers of shots are not, even if a setting of the head is.
fn is_best(record: &RunRecord) -> bool {
    record.chosen == Some(true) && record.probe != "few-shot"
}

/// The number of cases to which a head was applied.
fn scored(record: &RunRecord) -> Option<String> {
    let scored = record.params.get("scored")?.as_u64()?;
    Some(counted(scored as usize, unit(record, "unit")))
}

/// The recall of an approximate search.
fn recall(record: &RunRecord) -> Option<f64> {
    record.params.get("recall").and_then(Value::as_f64)
}

/// A line about the result of a permutation test.
fn permuted(record: &RunRecord) -> Option<String> {
    let observed = number(&record.metrics, "true_labels_auroc_macro")?;
    let p = p_value(number(&record.metrics, "p_permutation"));
    Some(format!(
        "{}, {} {}: AUROC of true labels {observed:.4}, p {p}",
        record.dataset, record.protocol, record.setting
    ))
}

/// A line that lists the classes without AUROC.
fn without_auroc(record: &RunRecord) -> Option<String> {
    let classes = record.metrics.get("auroc_undefined")?.as_array()?;
    let classes: Vec<_> = classes.iter().filter_map(Value::as_str).collect();
    Some(format!(
        "{}, {}: classes with only one outcome, excluded from the mean: {}",
        record.dataset,
        record.split,
        classes.join(", ")
    ))
}

/// A measure with its interval, or its standard deviation over draws.
fn with_interval(record: &RunRecord, name: &str) -> String {
    let value = decimals(number(&record.metrics, name), 4);
    match (interval(record, name), record.deviation(name)) {
        (Some([low, high]), _) => format!("{value} [{low:.3}, {high:.3}]"),
        (_, Some(deviation)) => format!("{value} ± {deviation:.4}"),
        _ => value,
    }
}

fn interval(record: &RunRecord, name: &str) -> Option<[f64; 2]> {
    let bounds = record.ci.as_ref()?.get(name)?.as_array()?;
    let [low, high] = &bounds[..] else {
        return None;
    };
    Some([low.as_f64()?, high.as_f64()?])
}

/// Number of structures that the mean of HD95 excludes.
fn undefined(record: &RunRecord, name: &str) -> String {
    let count = number(&record.metrics, "hd95_undefined");
    let count = count.filter(|_| name == "hd95_mm_macro");
    count.map_or_else(String::new, |count| format!(" ({count} undefined)"))
}

/// Measures by class, and their names in tables.
const PER_CLASS: [(&str, &str); 3] = [
    ("auroc_per_class", "AUROC"),
    ("dice_per_class", "Dice"),
    ("dice_pooled_per_class", "Dice"),
];

/// One row per class and one column of AUROC or Dice per record of a cache. `None` if no class has a measure
/// of its own.
pub fn per_class(records: &[RunRecord]) -> Option<Grid> {
    let measure = |record: &RunRecord| {
        let mut known = PER_CLASS.iter();
        let (name, header) = known.find(|(name, _)| record.metrics.contains_key(*name))?;
        let classes = record.metrics.get(*name)?.as_object()?.clone();
        let header = format!("{header} {} {}", record.protocol, record.setting);
        Some((header, classes))
    };
    let measured: Vec<(String, Map<String, Value>)> = records.iter().filter_map(measure).collect();
    let (_, first) = measured.first()?;
    let positives = records.iter().find_map(|r| r.metrics.get("positives"));
    let mut columns = vec![Column::text("class", 0)];
    columns.extend(positives.map(|_| Column::number("positives", 1)));
    // Of many results, the last are left out first.
    let rank = |at: usize| u8::try_from(at).unwrap_or(u8::MAX);
    let headers = measured.iter().enumerate();
    columns.extend(headers.map(|(at, (header, _))| Column::number(header, rank(at))));
    let all = positives.and_then(Value::as_object);
    let rows = all.unwrap_or(first).keys().map(|class| {
        let mut row = vec![class.clone()];
        row.extend(positives.map(|counts| counts[class.as_str()].to_string()));
        row.extend(measured.iter().map(|(_, values)| {
            let value = values.get(class).and_then(Value::as_f64);
            decimals(value, 4)
        }));
        row
    });
    Some(Grid::new(columns, rows))
}
