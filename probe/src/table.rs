//! Tables of records.

use std::collections::BTreeSet;

use cache::{COLUMNS, Listed, TEXT_COLUMNS};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use common::counted;
use common::text::printable;
use serde_json::{Map, Value};

use crate::evaluate::{Comparison, flatten, short};
use crate::record::RunRecord;

/// Columns of a table, each with names of measures; the first that a record has is shown.
type Columns = &'static [(&'static str, &'static [&'static str])];

const CLASSIFICATION: Columns = &[
    ("AUROC macro", &["auroc_macro"]),
    ("AP macro", &["average_precision_macro"]),
    ("accuracy", &["accuracy"]),
];

const SEGMENTATION: Columns = &[
    ("Dice", &["dice_macro", "dice_pooled"]),
    ("IoU", &["iou_macro"]),
    ("HD95 penalised mm", &["hd95_penalised_mm_macro"]),
    ("HD95 mm", &["hd95_mm_macro"]),
    ("Jaccard (foreground)", &["jaccard_pooled"]),
    ("(Dice + Jaccard) / 2", &["dice_jaccard_mean"]),
];

/// One row per record.
pub fn summary(records: &[RunRecord]) -> String {
    let has_dice = |record: &RunRecord| first_of(record, SEGMENTATION[0].1).is_some();
    let columns: Vec<_> = if records.iter().any(has_dice) {
        SEGMENTATION
            .iter()
            .filter(|(_, names)| {
                records
                    .iter()
                    .any(|record| first_of(record, names).is_some())
            })
            .collect()
    } else {
        CLASSIFICATION.iter().collect()
    };
    let known = [
        "dataset",
        "model@size",
        "protocol",
        "setting",
        "train",
        "test",
    ];
    let measured = columns.iter().map(|(header, _)| *header);
    let header = known.into_iter().chain(measured).chain(["seconds"]);
    let rows = records.iter().map(|record| {
        let mut row = vec![
            record.dataset.clone(),
            format!("{}@{}", record.model, record.image_size),
            record.protocol.clone(),
            setting(record),
            record.n_train.to_string(),
            if record.per_patient {
                counted(record.n_test, "patient")
            } else {
                record.n_test.to_string()
            },
        ];
        row.extend(
            columns
                .iter()
                .map(|(_, names)| match first_of(record, names) {
                    Some(name) => with_interval(record, name) + &undefined(record, name),
                    None => "-".into(),
                }),
        );
        row.push(format!("{:.1}", record.seconds));
        row
    });
    let mut text = render(header.map(String::from).collect(), rows, 4);
    for line in records
        .iter()
        .filter_map(without_auroc)
        .collect::<BTreeSet<_>>()
    {
        text += "\n";
        text += &printable(&line);
    }
    text
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

fn first_of(record: &RunRecord, names: &[&'static str]) -> Option<&'static str> {
    let mut names = names.iter();
    names
        .find(|name| record.metrics.contains_key(**name))
        .copied()
}

/// The setting, the recall of an approximate search, the control, and the split of the choice.
fn setting(record: &RunRecord) -> String {
    let recall = record.params.get("recall").and_then(Value::as_f64);
    let recall = recall.map(|recall| format!(" recall={recall:.3}"));
    let control = record
        .control
        .iter()
        .map(|control| match p_permutation(record) {
            Some(p) => format!(" [{control}: {p}]"),
            None => format!(" [{control}]"),
        });
    let chosen = record
        .chosen_on
        .iter()
        .filter(|_| record.chosen == Some(true));
    let chosen = chosen.map(|on| format!(" (best on {on})"));
    let rest: String = recall.into_iter().chain(control).chain(chosen).collect();
    record.setting.clone() + &rest
}

/// Result of a permutation test.
fn p_permutation(record: &RunRecord) -> Option<String> {
    let observed = number(&record.metrics, "true_labels_auroc_macro")?;
    let p = p_value(number(&record.metrics, "p_permutation"));
    Some(format!("AUROC of true labels {observed:.4}, p {p}"))
}

/// A measure with its interval, or its standard deviation over draws.
fn with_interval(record: &RunRecord, name: &str) -> String {
    let value = number(&record.metrics, name);
    let bounds = record.ci.as_ref().and_then(|ci| ci.get(name)?.as_array());
    let deviation = record
        .spread
        .as_ref()
        .and_then(|s| s.get(name)?.get("sd")?.as_f64());
    match (bounds.map(Vec::as_slice), deviation) {
        (Some([low, high]), _) => {
            let [low, high] = [low, high].map(|bound| decimals(bound.as_f64(), 3));
            format!("{} [{low}, {high}]", decimals(value, 4))
        }
        (_, Some(deviation)) => format!("{} ± {deviation:.4}", decimals(value, 4)),
        _ => decimals(value, 4),
    }
}

/// Number of structures that the mean of HD95 excludes.
fn undefined(record: &RunRecord, name: &str) -> String {
    let count = number(&record.metrics, "hd95_undefined");
    let count = count.filter(|_| name == "hd95_mm_macro");
    count.map_or_else(String::new, |count| format!(" ({count} undefined)"))
}

fn number(measures: &Map<String, Value>, name: &str) -> Option<f64> {
    measures.get(name).and_then(Value::as_f64)
}

/// Measures by class, and their names in tables.
const PER_CLASS: [(&str, &str); 3] = [
    ("auroc_per_class", "AUROC"),
    ("dice_per_class", "Dice"),
    ("dice_pooled_per_class", "Dice"),
];

/// One row per class and one column of AUROC or Dice per record of a cache. `None` if no class has a measure
/// of its own.
pub fn per_class(records: &[RunRecord]) -> Option<String> {
    let measure = |record: &RunRecord| {
        let mut known = PER_CLASS.iter();
        let (name, header) = known.find(|(name, _)| record.metrics.contains_key(*name))?;
        let classes = record.metrics.get(*name)?.as_object()?.clone();
        let header = format!("{header} {} {}", record.protocol, record.setting);
        Some((header, classes))
    };
    let columns: Vec<(String, Map<String, Value>)> = records.iter().filter_map(measure).collect();
    let (_, first) = columns.first()?;
    let positives = records.iter().find_map(|r| r.metrics.get("positives"));
    let mut header = vec!["class".to_owned()];
    header.extend(positives.map(|_| "positives".to_owned()));
    header.extend(columns.iter().map(|(header, _)| header.clone()));
    let all = positives.and_then(Value::as_object);
    let rows = all.unwrap_or(first).keys().map(|class| {
        let mut row = vec![class.clone()];
        row.extend(positives.map(|counts| counts[class.as_str()].to_string()));
        row.extend(columns.iter().map(|(_, values)| {
            let value = values.get(class).and_then(Value::as_f64);
            decimals(value, 4)
        }));
        row
    });
    Some(render(header, rows, 1))
}

/// One row per pair of backbones, with the settings in which pairs of a probe differ.
pub fn comparisons(found: &[Comparison]) -> String {
    let header = [
        "dataset",
        "probe",
        "protocol",
        "setting",
        "first",
        "second",
        "cases",
        "AUROC first",
        "second",
        "difference",
        "p (bootstrap)",
        "p (DeLong)",
        "p (McNemar)",
    ];
    let rows = found.iter().map(|of| {
        let [first, second] = [&of.first, &of.second].map(|[backbone, _]| backbone.clone());
        let difference = match of.ci {
            Some([low, high]) => {
                format!("{} [{low:.3}, {high:.3}]", decimals(of.difference, 4))
            }
            None => decimals(of.difference, 4),
        };
        let delong = match of.p_delong.len() {
            1 => of.p_delong.values().next().and_then(Value::as_f64),
            _ => None,
        };
        let [auroc, other] = [0, 1].map(|i| with_recorded(of, i));
        vec![
            of.dataset.clone(),
            of.probe.clone(),
            of.protocol.clone(),
            setting_of_both(of, found),
            first,
            second,
            of.cases.to_string(),
            auroc,
            other,
            difference,
            p_value(of.p_bootstrap),
            p_value(delong),
            p_value(of.p_mcnemar),
        ]
    });
    render(header.map(String::from).to_vec(), rows, 6)
}

/// The macro AUROC over defined classes, and the recorded one where the protocol makes it another.
fn with_recorded(of: &Comparison, which: usize) -> String {
    let [found, recorded] =
        [of.auroc_macro, of.recorded_auroc_macro].map(|both| decimals(both[which], 4));
    if found == recorded {
        found
    } else {
        format!("{found} (recorded {recorded})")
    }
}

/// The setting of both, or each one's, and other settings in which comparisons by the probe differ.
fn setting_of_both(of: &Comparison, all: &[Comparison]) -> String {
    let [[_, first], [_, second]] = [&of.first, &of.second];
    let both = if first == second {
        first.clone()
    } else {
        format!("{first} / {second}")
    };
    let flat = |of: &Comparison| {
        let mut flat = Map::new();
        flatten("", &of.settings, &mut flat);
        flat
    };
    let own = flat(of);
    let alike = all.iter().filter(|other| other.probe == of.probe);
    let others: Vec<Map<String, Value>> = alike.map(flat).collect();
    let differing = own.iter().filter(|(name, value)| {
        *name != "protocol" && others.iter().any(|other| other.get(*name) != Some(value))
    });
    let differing = differing.map(|(name, value)| format!(" {name}={}", short(value)));
    both + &differing.collect::<String>()
}

fn p_value(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "<0.001".into(),
        Some(p) => format!("{p:.3}"),
        None => "-".into(),
    }
}

fn decimals(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "undefined".into(), |value| format!("{value:.places$}"))
}

/// The caches below a folder, a row each.
pub(crate) fn caches(found: &[Listed]) -> String {
    let rows = found.iter().map(|cache| cache.cells().to_vec());
    let header = COLUMNS.map(str::to_owned).to_vec();
    render(header, rows, TEXT_COLUMNS)
}

/// Columns from `first_number` on are aligned to the right.
fn render(
    header: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    first_number: usize,
) -> String {
    let shown = |row: Vec<String>| row.into_iter().map(|cell| printable(&cell).into_owned());
    let (header, rows) = (shown(header), rows.map(shown));
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
