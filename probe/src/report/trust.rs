//! What else the embeddings know: records of `probe trust`.

use maud::{Markup, html};
use plot::{Axis, Caption, Interval, Intervals};
use serde_json::Value;

use super::read::{Study, backbone, interval, measure, parameter};
use super::table::{Cell, Column, Figure, Table};
use crate::record::RunRecord;

/// The measure of each question, that of chance, and what it is.
const QUESTIONS: [(&str, &str, &str, &str); 4] = [
    ("column", "auroc_macro", "chance_auroc", "AUROC"),
    ("patients", "rank1", "chance_rank1", "found again"),
    ("duplicates", "share", "", "share of samples"),
    ("drift", "auroc_macro", "chance_auroc", "AUROC"),
];

/// A row per question and backbone; `None` without records.
pub(super) fn table(study: &Study) -> Option<Table> {
    let mut records: Vec<&RunRecord> = study.of("trust").collect();
    records.sort_by_key(|record| {
        (
            &record.dataset,
            &record.setting,
            &record.model,
            record.image_size,
        )
    });
    let rows: Vec<Vec<Cell>> = records.into_iter().map(row).collect();
    (!rows.is_empty()).then(|| Table {
        id: "trust".into(),
        title: "What else the embeddings know".into(),
        caption: "Column: a classifier of this metadata column on the embedding, cross-validated by patient. Patients: share of samples whose nearest neighbour is another sample of the same patient. Duplicates: share of test samples with a near-duplicate in training data. Drift: a classifier that tells two caches apart. For scale: site probes of the literature reach an AUROC of 0.99, and re-identification 26% on chest X-rays."
            .into(),
        columns: vec![
            Column::text("dataset"),
            Column::text("backbone"),
            Column::text("question"),
            Column::text("measure"),
            Column::number("figure"),
            Column::number("chance"),
            Column::number("p"),
            Column::number("samples"),
            Column::text("remarks"),
        ],
        rows,
    })
}

fn row(record: &RunRecord) -> Vec<Cell> {
    let question = question(record);
    let figure = question.and_then(|(_, name, ..)| {
        Some(Figure {
            value: measure(record, name)?,
            decimals: 3,
            interval: interval(record, name),
            ..Figure::default()
        })
    });
    let chance = question.and_then(|(_, _, chance, _)| measure(record, chance));
    let p = measure(record, "p").or_else(|| measure(record, "p_energy"));
    vec![
        record.dataset.clone().into(),
        backbone(record).into(),
        record.setting.clone().into(),
        question.map_or(Cell::Blank, |(.., title)| title.into()),
        figure.map_or(Cell::Missing, Cell::Figure),
        chance.map_or(Cell::Blank, |chance| Cell::plain(Some(chance))),
        p.map_or(Cell::Blank, |p| Cell::plain(Some(p))),
        Cell::Count(record.n_test),
        parameter(record, "why").unwrap_or_default().into(),
    ]
}

fn question(
    record: &RunRecord,
) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    let name = record.params.get("question").and_then(Value::as_str)?;
    QUESTIONS.into_iter().find(|(known, ..)| *known == name)
}

/// A chart of the AUROCs for each dataset.
pub(super) fn charts(study: &Study) -> Markup {
    let datasets: std::collections::BTreeSet<&str> = study
        .of("trust")
        .map(|record| record.dataset.as_str())
        .collect();
    let charts = datasets
        .into_iter()
        .filter_map(|dataset| chart(study, dataset));
    html! { div .grid { @for chart in charts { (chart) } } }
}

fn chart(study: &Study, dataset: &str) -> Option<Markup> {
    let mut records: Vec<&RunRecord> = study
        .of("trust")
        .filter(|record| record.dataset == dataset && measure(record, "auroc_macro").is_some())
        .collect();
    records.sort_by_key(|record| (&record.setting, &record.model, record.image_size));
    let rows = records.iter().map(|record| Interval {
        name: backbone(record),
        group: record.setting.clone(),
        value: measure(record, "auroc_macro"),
        interval: interval(record, "auroc_macro").map(|[low, high]| (low, high)),
    });
    let chart = Intervals {
        caption: Caption::new(
            format!("trust-{dataset}"),
            format!("What else the embeddings of {dataset} know"),
            "AUROC of classifiers of metadata on the embedding, and of drift between two caches, with intervals by patients; 0.5 is chance.",
        ),
        axis: Axis::new("AUROC").range(0.0, 1.0),
        rows: rows.collect(),
        reference: Some(0.5),
    };
    (!records.is_empty()).then(|| plot::figure(&chart.caption, &chart.svg()))
}
