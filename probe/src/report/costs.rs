//! What the training of backbones gives and costs: measures, parameters, time and memory.

use onnx_models::ModelCard;
use serde_json::Value;

use super::cells::{figure, is_plain};
use super::read::{Study, backbone, measure};
use super::results::with_settings;
use super::table::{Cell, Column, Figure, Table};
use crate::record::RunRecord;

/// Results of trained backbones, beside those of the same backbones frozen; `None` without a trained one.
pub(super) fn table(study: &Study) -> Option<Table> {
    let of = |record: &RunRecord| {
        let place = (record.dataset.clone(), record.protocol.clone());
        (place, backbone(record), is_segmentation(record))
    };
    let plain = || study.results().filter(|record| is_plain(record));
    let trained: Vec<_> = plain()
        .filter(|record| is_trained(record))
        .map(of)
        .collect();
    let is_shown = |record: &&RunRecord| {
        let is_frozen = ["linear", "segment"].contains(&&*record.probe);
        is_trained(record) || is_frozen && trained.contains(&of(record))
    };
    let mut records: Vec<&RunRecord> = plain().filter(is_shown).collect();
    records.sort_by_key(|record| (of(record), is_trained(record), record.probe.clone()));
    let rows: Vec<Vec<Cell>> = with_settings(&records)
        .into_iter()
        .map(|(record, setting)| {
            vec![
                record.dataset.clone().into(),
                backbone(record).into(),
                record.protocol.clone().into(),
                record.probe.clone().into(),
                setting.into(),
                figure(record).map_or(Cell::Missing, Cell::Figure),
                number(measure(record, "brier"), 3),
                number(measure(record, "ece"), 3),
                trainable(record).map_or(Cell::Missing, Cell::Text),
                number(Some(record.seconds), 1),
                number(peak_memory(record), 2),
            ]
        })
        .collect();
    let mut columns = ["dataset", "backbone", "protocol", "probe", "setting"]
        .map(Column::text)
        .to_vec();
    columns.extend(["AUROC or Dice", "Brier", "ECE"].map(Column::number));
    columns.push(Column::text("trained parameters"));
    columns.extend(["seconds", "peak memory, GB"].map(Column::number));
    (!trained.is_empty()).then_some(Table {
        id: "trained".into(),
        title: "Adapted and fine-tuned backbones".into(),
        caption: "Results of `probe adapt` and `scripts/finetune`, below those of the same backbones frozen. Brier score and expected calibration error (ECE): lower is better; a backbone that ranks better after training may be calibrated worse. Trained parameters, with their share of all. Seconds of reading, training and scoring, and the most memory that the process held, or its GPU; the machines may differ. –: not recorded, or no measure of segmentation.".into(),
        columns,
        rows,
    })
}

/// Whether the backbone of a record was trained.
pub(super) fn is_trained(record: &RunRecord) -> bool {
    ["adapt", "finetune"].contains(&&*record.probe)
}

fn is_segmentation(record: &RunRecord) -> bool {
    measure(record, "auroc_macro").is_none()
}

/// Trained parameters, with their share of all.
pub(super) fn trainable(record: &RunRecord) -> Option<String> {
    let (count, all) = counts(record)?;
    let text = counted_parameters(count);
    Some(match all.filter(|all| *all > 0) {
        Some(all) => format!("{text} ({})", percent(count as f64 / all as f64 * 100.0)),
        None => text,
    })
}

/// All parameters, the backbone's included.
pub(super) fn all_parameters(record: &RunRecord) -> Option<String> {
    counts(record)?.1.map(counted_parameters)
}

/// Trained parameters and all parameters; the latter of a frozen backbone by its card.
fn counts(record: &RunRecord) -> Option<(u64, Option<u64>)> {
    let of = |name: &str| record.params.get(name)?.as_u64();
    let with_backbone = |trained: u64| {
        let card = ModelCard::built_in(&record.model);
        card.map(|card| card.parameters + trained)
    };
    if record.probe == "segment" {
        // Of the decoder.
        let trained = of("parameters")?;
        return Some((trained, with_backbone(trained)));
    }
    let trained = of("trainable_parameters")?;
    Some((trained, of("parameters").or_else(|| with_backbone(trained))))
}

/// A number of parameters: millions from 100,000 on.
fn counted_parameters(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{:.1}M", count as f64 / 1e6),
        _ => format!("{:.0}M", count as f64 / 1e6),
    }
}

/// A percentage of two digits.
fn percent(value: f64) -> String {
    match value {
        value if value >= 9.95 => format!("{value:.0}%"),
        value if value >= 0.995 => format!("{value:.1}%"),
        value if value >= 0.001 => {
            let digits = (1.0 - value.log10()).ceil() as usize;
            format!("{value:.digits$}%")
        }
        value => format!("{value:.0e}%"),
    }
}

/// The most memory of a training in GB.
pub(super) fn peak_memory(record: &RunRecord) -> Option<f64> {
    let of_training = record
        .params
        .get("peak_memory_bytes")
        .and_then(Value::as_u64);
    Some(of_training.or(record.peak_rss_bytes)? as f64 / 1e9)
}

/// A figure without an interval, or a missing one.
pub(super) fn number(value: Option<f64>, decimals: usize) -> Cell {
    value.map_or(Cell::Missing, |value| {
        Cell::Figure(Figure {
            value,
            decimals,
            ..Figure::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    #[test]
    fn trained_backbones_stand_below_the_same_frozen_ones() {
        let of = |probe: &str, model: &str, brier: f64, params: Value| RunRecord {
            probe: probe.into(),
            model: model.into(),
            metrics: serde_json::from_value(
                serde_json::json!({"auroc_macro": 0.9, "brier": brier}),
            )
            .unwrap(),
            params: serde_json::from_value(params).unwrap(),
            seconds: 12.0,
            ..record()
        };
        let frozen = |model: &str| of("linear", model, 0.2, serde_json::json!({}));
        let mut study = Study {
            records: vec![
                frozen("m"),
                frozen("other"),
                of("knn", "m", 0.3, serde_json::json!({})),
            ],
            ..Study::default()
        };
        assert!(table(&study).is_none());
        let params = serde_json::json!({
            "trainable_parameters": 10, "parameters": 1000, "peak_memory_bytes": 2_500_000_000_u64,
        });
        study.records.insert(0, of("adapt", "m", 0.25, params));
        let table = table(&study).unwrap();
        let rows: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| [1, 3, 5, 6, 8, 9, 10].map(|at| row[at].shown()).to_vec())
            .collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0][..4], ["m@224", "linear", "0.900", "0.200"]);
        assert_eq!(
            rows[1],
            [
                "m@224",
                "adapt",
                "0.900",
                "0.250",
                "10 (1.0%)",
                "12.0",
                "2.50"
            ]
        );
    }

    #[test]
    fn parameters_and_shares_are_short() {
        let counts = [33, 99_999, 800_000, 8_000_000, 1_138_000_000].map(counted_parameters);
        assert_eq!(counts, ["33", "99999", "0.8M", "8.0M", "1138M"]);
        let shares = [100.0, 5.36, 0.7, 0.071, 0.0013, 1.3e-4].map(percent);
        assert_eq!(
            shares,
            ["100%", "5.4%", "0.70%", "0.071%", "0.0013%", "1e-4%"]
        );
    }
}
