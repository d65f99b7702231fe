//! Answers of `probe trust`.

use common::counted;
use serde_json::Value;
use terminal::{Column, Grid};

use crate::record::RunRecord;

/// Pairs of near-duplicates that are printed for a cache.
const PAIRS: usize = 5;

/// What others found, for scale.
const ELSEWHERE: &str = "For scale: elsewhere, linear probes tell sites apart with an AUROC of 0.99, and 26% of chest X-rays have one of the same patient as the nearest (docs/trust.md)";

/// A row for each answer, and for each question without one, with the reason.
pub(crate) fn trust(records: &[RunRecord]) -> Grid {
    let columns = vec![
        Column::key("dataset", 2),
        Column::key("model@size", 3),
        Column::text("question", 0),
        Column::key("found", 0),
        Column::number("chance", 0),
        Column::number("p", 0),
        Column::number("samples", 0),
    ];
    Grid::new(columns, records.iter().flat_map(rows))
}

fn rows(record: &RunRecord) -> Vec<Vec<String>> {
    let row = |question: String, found: String, chance: &str, p: &str| {
        let number = |name| measure(record, name).map_or_else(String::new, short);
        let model = format!("{}@{}", record.model, record.image_size);
        let samples = Some(record.n_test).filter(|samples| *samples > 0);
        vec![
            record.dataset.clone(),
            model,
            question,
            found,
            number(chance),
            number(p),
            samples.map_or_else(String::new, |samples| samples.to_string()),
        ]
    };
    let auroc = |question: &str| {
        let found = with_interval(record, "auroc_macro").map(|auroc| format!("AUROC {auroc}"));
        found.map(|found| row(question.to_owned(), found, "chance_auroc", "p"))
    };
    // The model and size are those of the cache itself.
    let setting = record.setting.split('/').next().unwrap_or_default();
    let why = record.params.get("why").and_then(Value::as_str);
    let unanswered = why.map(|why| row(setting.to_owned(), format!("none: {why}"), "", ""));
    let answered: Vec<Vec<String>> = match question(record) {
        "column" => auroc(&record.setting).into_iter().collect(),
        "patients" => {
            let found = with_interval(record, "rank1").map(|rate| format!("rank 1: {rate}"));
            found
                .map(|found| row("patients".into(), found, "chance_rank1", "p"))
                .into_iter()
                .collect()
        }
        "duplicates" => {
            let found =
                measure(record, "duplicates").map(|count| format!("{count} of {}", record.n_test));
            found
                .map(|found| row("duplicates".into(), found, "", ""))
                .into_iter()
                .collect()
        }
        _ => {
            let energy = measure(record, "energy_distance").map(|found| {
                let found = format!("energy distance {found:.4}");
                row(setting.to_owned(), found, "", "p_energy")
            });
            auroc(setting).into_iter().chain(energy).collect()
        }
    };
    unanswered.into_iter().chain(answered).collect()
}

/// Near-duplicates, and figures for scale.
pub(crate) fn trust_notes(records: &[RunRecord]) -> Vec<String> {
    let mut notes = Vec::new();
    for record in records {
        let pairs = record.params.get("pairs").and_then(Value::as_array);
        let pairs = pairs.map_or(&[][..], Vec::as_slice);
        if let (false, Some(cosine)) = (pairs.is_empty(), record.params.get("cosine")) {
            let all = measure(record, "duplicates").unwrap_or_default() as usize;
            let samples = counted(all, "near-duplicate");
            let dataset = &record.dataset;
            notes.push(format!(
                "{dataset}: {samples}, at a cosine of at least {cosine}:"
            ));
            notes.extend(pairs.iter().take(PAIRS).map(pair));
            let more = all.saturating_sub(PAIRS);
            notes.extend(
                (more > 0).then(|| format!("… and {more} more (`params.pairs` of the record)")),
            );
        }
    }
    notes.push(ELSEWHERE.to_owned());
    notes
}

fn pair(pair: &Value) -> String {
    let side = |name: &str| {
        let word = |key: &str| pair[name][key].as_str().unwrap_or("?");
        let patient = pair[name]["patient"]
            .as_str()
            .map(|patient| format!(" of {patient}"));
        format!(
            "{} {}{}",
            word("split"),
            word("sample"),
            patient.unwrap_or_default()
        )
    };
    let cosine = pair["cosine"].as_f64().unwrap_or_default();
    format!("{cosine:.4}: {}, {}", side("first"), side("second"))
}

fn question(record: &RunRecord) -> &str {
    record
        .params
        .get("question")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn measure(record: &RunRecord, name: &str) -> Option<f64> {
    record.metrics.get(name)?.as_f64()
}

/// `0.912 [0.874, 0.941]`.
fn with_interval(record: &RunRecord, name: &str) -> Option<String> {
    let value = measure(record, name)?;
    let ends = record.ci.as_ref().and_then(|ci| {
        let end = |at: usize| ci.get(name)?.get(at)?.as_f64();
        Some((end(0)?, end(1)?))
    });
    Some(match ends {
        Some((low, high)) => format!("{value:.3} [{low:.3}, {high:.3}]"),
        None => format!("{value:.3}"),
    })
}

/// Three places, or one digit of what would be 0 with them.
fn short(value: f64) -> String {
    if value == 0.0 || value >= 0.001 {
        format!("{value:.3}")
    } else {
        format!("{value:.0e}")
    }
}
