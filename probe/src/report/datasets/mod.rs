//! A part of the page for each dataset.

mod cases;
mod classes;
mod controls;
mod curves;

use std::path::Path;

use maud::{Markup, html};

use self::curves::Shown;
use super::cells::{Way, figure, is_plain, task};
use super::chart::Chart;
use super::figures::few_shot_of;
use super::pictures;
use super::read::{Study, backbone};
use super::render::html as render;
use super::table::Table;
use crate::record::RunRecord;

/// Ways in the order in which one is shown in full.
const ORDER: [Way; 6] = [
    Way::Linear,
    Way::Logreg,
    Way::Ridge,
    Way::Knn,
    Way::UNet,
    Way::SegmentLinear,
];

/// A part for each dataset, and its tables; pictures of cases come from the caches in `caches`, those of records from
/// their files. Without `caches` there are no pictures.
pub(super) fn datasets(
    study: &Study,
    caches: Option<&Path>,
    complaints: &mut Vec<String>,
) -> Option<(Markup, Vec<Table>)> {
    let names = study.tasks();
    if names.is_empty() {
        return None;
    }
    let mut tables = Vec::new();
    let parts: Vec<(&String, Markup)> = names
        .iter()
        .map(|name| (name, dataset(study, name, caches, &mut tables, complaints)))
        .collect();
    let markup = html! {
        nav aria-label="Datasets" {
            ul { @for (name, _) in &parts {
                li { a href={ "#" (anchor(name)) } { (render::shown(name)) } }
            } }
        }
        @for (name, part) in parts {
            h3 id=(anchor(name)) { (render::shown(name)) }
            (part)
        }
    };
    Some((markup, tables))
}

/// The id of a dataset's part.
fn anchor(name: &str) -> String {
    format!("dataset-{}", render::id(name))
}

fn dataset(
    study: &Study,
    name: &str,
    caches: Option<&Path>,
    tables: &mut Vec<Table>,
    complaints: &mut Vec<String>,
) -> Markup {
    let shown = best(study, name);
    let full = shown.and_then(|(way, record)| match Shown::read(study, way, record) {
        Ok(shown) => shown,
        Err(error) => {
            complaints.push(format!("{}: {error}", record.name));
            None
        }
    });
    let mut results = classes::charts(study, name);
    results.extend(full.iter().flat_map(Shown::charts));
    let undrawn = full.as_ref().and_then(Shown::undrawn);
    let cases = full
        .as_ref()
        .and_then(|shown| cases::tables(study, shown, caches));
    let (cases, of_cases) = cases.unzip();
    let mut others = few_shot_of(study, name);
    others.extend(controls::chart(study, name));
    let overlays = caches.map(|_| {
        let of_task = study.results().filter(|record| task(record) == name);
        pictures::of_records(study, of_task, complaints)
    });
    let markup = html! {
        @if let Some((way, record)) = shown {
            p { "Shown in detail: " (way.title()) " of " b { (render::shown(&backbone(record))) }
                ", protocol " (render::shown(&record.protocol)) ", the backbone with the highest figure of it. Other results are in the tables."
                (study.all_of(way, &record.protocol).note(way.title(), |task| task == name)) }
        }
        div .grid { @for chart in &results { (chart) } }
        @if let Some(table) = &undrawn { (render::table(table)) }
        @if let Some(cases) = cases { (cases) }
        div .grid { @for chart in &others { (chart) } }
        @if let Some(overlays) = overlays { (overlays) }
        (warnings(study, name))
    };
    let numbers = |charts: Vec<Chart>| charts.into_iter().map(|chart| chart.numbers);
    tables.extend(numbers(results).chain(undrawn).chain(of_cases));
    tables.extend(numbers(others));
    markup
}

/// The best backbone of the first way that has results; under `strict` before other protocols.
fn best<'a>(study: &'a Study, dataset: &str) -> Option<(Way, &'a RunRecord)> {
    ORDER.into_iter().find_map(|way| {
        let protocols = study.protocols();
        protocols.into_iter().find_map(|protocol| {
            let records = study.all_of(way, protocol).compared.into_iter();
            let scored = records
                .filter(|record| task(record) == dataset)
                .filter_map(|record| Some((figure(record)?.value, record)));
            let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
            best.map(|(_, record)| (way, record))
        })
    })
}

/// Warnings of all records of the dataset, with the number of records that have them.
fn warnings(study: &Study, dataset: &str) -> Markup {
    let mut found: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    let records = study.results().filter(|record| task(record) == dataset);
    for warning in records.flat_map(|record| &record.warnings) {
        *found.entry(warning).or_default() += 1;
    }
    html! {
        @if !found.is_empty() {
            h4 { "Warnings" }
            ul .warnings { @for (warning, records) in found {
                li { (render::shown(warning)) " (" (common::counted(records, "record")) ")" }
            } }
        }
    }
}

/// Plain results of a dataset by one way under a protocol.
fn plain<'a>(study: &'a Study, dataset: &'a str) -> impl Iterator<Item = (Way, &'a RunRecord)> {
    study
        .results()
        .filter(move |record| is_plain(record) && task(record) == dataset)
        .filter_map(|record| Some((Way::of(record)?, record)))
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::examples::Case;
    use crate::predictions::Predictions;
    use crate::scores::Scores;
    use crate::targets::Targets;

    /// A study of one result with these scores of classes `a`, `b` and `c`.
    fn study(folder: &Path, scores: ndarray::Array2<f64>, targets: Targets) -> Study {
        let case = |number: usize| Case {
            sample: format!("s{number}"),
            slice: None,
            patient: None,
            split: None,
        };
        let predictions = Predictions {
            cases: (0..scores.nrows()).map(case).collect(),
            scores: Scores::probabilities(scores),
            targets,
        };
        let names = ["a", "b", "c"].map(str::to_owned);
        predictions
            .write(&folder.join("p.parquet"), &names)
            .unwrap();
        let metrics = serde_json::json!({
            "auroc_macro": 0.9,
            "auroc_per_class": {"a": 0.8, "b": 0.9, "c": 1.0},
            "positives": {"a": 2, "b": 1, "c": 1},
        });
        let record = RunRecord {
            probe: "linear".into(),
            metrics: serde_json::from_value(metrics).unwrap(),
            predictions: Some("p.parquet".into()),
            ..crate::record::tests::record()
        };
        Study {
            runs: folder.into(),
            records: vec![record],
            ..Study::default()
        }
    }

    fn of(tables: &[Table], id: &str) -> Vec<Vec<String>> {
        let table = tables.iter().find(|table| table.id == id);
        let rows = table.unwrap_or_else(|| panic!("no {id}")).rows.iter();
        rows.map(|row| row.iter().map(super::super::table::Cell::shown).collect())
            .collect()
    }

    #[test]
    fn only_cases_that_are_classified_wrong_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        // The first is right with a low score, the third is wrong.
        let scores = array![
            [0.4, 0.3, 0.3],
            [0.1, 0.8, 0.1],
            [0.2, 0.7, 0.1],
            [0.0, 0.1, 0.9]
        ];
        let wrong = study(
            folder.path(),
            scores.clone(),
            Targets::Single(vec![0, 1, 0, 2]),
        );
        let (markup, tables) = datasets(&wrong, None, &mut Vec::new()).unwrap();
        let cases = of(&tables, "cases-d");
        assert_eq!(
            cases,
            [
                [
                    "Most confidently wrong",
                    "s2",
                    "",
                    "",
                    "a; predicted b, score 0.700"
                ],
                [
                    "Hardest",
                    "s2",
                    "",
                    "",
                    "a; wrong by 1 of 1 backbone, mean error 0.380"
                ],
            ]
        );
        assert!(!markup.into_string().contains("<b>s0</b>"));
        let right = study(folder.path(), scores, Targets::Single(vec![0, 1, 1, 2]));
        let (markup, tables) = datasets(&right, None, &mut Vec::new()).unwrap();
        assert!(of(&tables, "cases-d").is_empty());
        let text = markup.into_string();
        assert!(text.contains("No case is classified wrong."), "{text}");
        assert!(text.contains("No case is classified wrong by any of 1 backbone."));
    }

    #[test]
    fn figures_of_a_dataset_have_their_numbers_as_tables() {
        let folder = tempfile::tempdir().unwrap();
        let scores = array![
            [0.4, 0.3, 0.3],
            [0.1, 0.8, 0.1],
            [0.2, 0.7, 0.1],
            [0.0, 0.1, 0.9]
        ];
        let study = study(folder.path(), scores, Targets::Single(vec![0, 1, 0, 2]));
        let (markup, tables) = datasets(&study, None, &mut Vec::new()).unwrap();
        let figures = markup
            .into_string()
            .matches("<figure class=\"plot-figure\"")
            .count();
        let numbers = tables.iter().filter(|table| table.id.contains("-d"));
        // The cases have no figure of their own.
        assert_eq!(numbers.count(), figures + 1, "{tables:#?}");
        assert_eq!(
            of(&tables, "figure-balance-d"),
            [["a", "2"], ["b", "1"], ["c", "1"]]
        );
        assert_eq!(of(&tables, "figure-classes-d-0")[1], ["b", "0.900"]);
        assert_eq!(
            of(&tables, "confusion-d"),
            [
                ["a", "a", "1", "0.500"],
                ["a", "b", "1", "0.500"],
                ["b", "b", "1", "1.000"],
                ["c", "c", "1", "1.000"]
            ]
        );
        let roc = of(&tables, "figure-roc-d");
        assert_eq!(roc.len(), 21);
        // Without a false positive, the class a is found in both of its cases, b in its only one.
        assert_eq!(roc[0], ["0.00", "1.000", "1.000", "1.000"]);
        assert_eq!(of(&tables, "figure-calibration-d").len(), 4);
    }

    #[test]
    fn the_calibration_error_of_several_labels_is_said_to_be_a_mean_over_classes() {
        let folder = tempfile::tempdir().unwrap();
        let scores = array![[0.4, 0.3, 0.3], [0.1, 0.8, 0.1]];
        let present = array![[true, true, false], [false, true, false]].mapv(Some);
        for (targets, expected) in [
            (
                Targets::Multi(present),
                "Expected calibration error, mean over classes: 0.250.",
            ),
            (
                Targets::Single(vec![0, 1]),
                "Expected calibration error: 0.250.",
            ),
        ] {
            let mut study = study(folder.path(), scores.clone(), targets);
            let metrics = &mut study.records[0].metrics;
            metrics.insert("ece".into(), 0.25.into());
            let (markup, _) = datasets(&study, None, &mut Vec::new()).unwrap();
            assert!(markup.into_string().contains(expected));
        }
    }
}
