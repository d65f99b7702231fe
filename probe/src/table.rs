//! Records as tables for people.

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use serde_json::{Map, Value};

use crate::evaluate::Comparison;
use crate::record::RunRecord;

/// One row per record.
pub fn summary(records: &[RunRecord]) -> String {
    let header = [
        "dataset",
        "model@size",
        "protocol",
        "setting",
        "train",
        "test",
        "AUROC macro",
        "AP macro",
        "accuracy",
        "seconds",
    ];
    let rows = records.iter().map(|record| {
        vec![
            record.dataset.clone(),
            format!("{}@{}", record.model, record.image_size),
            record.protocol.clone(),
            setting(record),
            record.n_train.to_string(),
            record.n_test.to_string(),
            with_interval(record, "auroc_macro"),
            with_interval(record, "average_precision_macro"),
            with_interval(record, "accuracy"),
            format!("{:.1}", record.seconds),
        ]
    });
    render(header.map(String::from).to_vec(), rows, 4)
}

/// The setting, the recall of an approximate search, and how it came to be.
fn setting(record: &RunRecord) -> String {
    let recall = record.params.get("recall").and_then(Value::as_f64);
    let recall = recall.map(|recall| format!(" recall={recall:.3}"));
    let control = record.control.iter().map(|control| format!(" [{control}]"));
    let chosen = record
        .chosen_on
        .iter()
        .filter(|_| record.chosen == Some(true));
    let chosen = chosen.map(|on| format!(" (best on {on})"));
    let rest: String = recall.into_iter().chain(control).chain(chosen).collect();
    record.setting.clone() + &rest
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

fn number(measures: &Map<String, Value>, name: &str) -> Option<f64> {
    measures.get(name).and_then(Value::as_f64)
}

/// One row per class and one column of AUROC per record; all are of the same cache.
pub fn per_class(records: &[RunRecord], names: &[String]) -> String {
    let of_class = |record: &RunRecord, measure: &str, class: &str| {
        record
            .metrics
            .get(measure)
            .and_then(|map| map.get(class))
            .cloned()
    };
    let mut header = vec!["class".to_owned(), "positives".to_owned()];
    header.extend(
        records
            .iter()
            .map(|r| format!("AUROC {} {}", r.protocol, r.setting)),
    );
    let rows = names.iter().filter_map(|class| {
        let positives = of_class(records.first()?, "positives", class)?;
        let mut row = vec![class.clone(), positives.to_string()];
        row.extend(records.iter().map(|record| {
            let auroc = of_class(record, "auroc_per_class", class);
            decimals(auroc.and_then(|value| value.as_f64()), 4)
        }));
        Some(row)
    });
    render(header, rows, 1)
}

/// One row per pair of backbones.
pub fn comparisons(found: &[Comparison]) -> String {
    let header = [
        "dataset",
        "probe",
        "protocol",
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
        vec![
            of.dataset.clone(),
            of.probe.clone(),
            of.protocol.clone(),
            first,
            second,
            of.cases.to_string(),
            decimals(of.auroc_macro[0], 4),
            decimals(of.auroc_macro[1], 4),
            difference,
            p_value(of.p_bootstrap),
            p_value(delong),
            p_value(of.p_mcnemar),
        ]
    });
    render(header.map(String::from).to_vec(), rows, 5)
}

fn p_value(p: Option<f64>) -> String {
    p.map_or_else(|| "-".into(), |p| format!("{p:.3}"))
}

fn decimals(value: Option<f64>, places: usize) -> String {
    value.map_or_else(|| "undefined".into(), |value| format!("{value:.places$}"))
}

/// Columns from `first_number` on are aligned to the right.
fn render(
    header: Vec<String>,
    rows: impl Iterator<Item = Vec<String>>,
    first_number: usize,
) -> String {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header).add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
