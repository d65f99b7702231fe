//! A part of the page for each dataset.

mod cases;
mod classes;
mod controls;
mod curves;

use std::path::Path;

use maud::{Markup, html};

use self::curves::Shown;
use super::cells::{Way, figure, is_plain, task};
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

/// A part for each dataset; pictures of cases come from the caches in `caches`. Tables of a part are added to `tables`
/// too.
pub(super) fn datasets(
    study: &Study,
    caches: &Path,
    tables: &mut Vec<Table>,
    complaints: &mut Vec<String>,
) -> Option<Markup> {
    let names = study.tasks();
    if names.is_empty() {
        return None;
    }
    let parts: Vec<(&String, Markup)> = names
        .iter()
        .map(|name| (name, dataset(study, name, caches, tables, complaints)))
        .collect();
    Some(html! {
        nav aria-label="Datasets" {
            ul { @for (name, _) in &parts {
                li { a href={ "#" (anchor(name)) } { (render::shown(name)) } }
            } }
        }
        @for (name, part) in parts {
            h3 id=(anchor(name)) { (render::shown(name)) }
            (part)
        }
    })
}

/// The id of a dataset's part.
fn anchor(name: &str) -> String {
    format!("dataset-{}", render::id(name))
}

fn dataset(
    study: &Study,
    name: &str,
    caches: &Path,
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
    let curves = full.as_ref().map(Shown::charts);
    let pairs = full.as_ref().and_then(Shown::pairs);
    let table = pairs.as_ref().map(render::table);
    tables.extend(pairs);
    let cases = full
        .as_ref()
        .map(|shown| cases::tables(study, shown, caches));
    let of_task = study.results().filter(|record| task(record) == name);
    let overlays = pictures::of_records(study, of_task, complaints);
    html! {
        @if let Some((way, record)) = shown {
            p { "Shown in detail: " (way.title()) " of " b { (render::shown(&backbone(record))) }
                ", protocol " (render::shown(&record.protocol)) ", the backbone with the highest figure of it. Other results are in the tables." }
        }
        div .grid {
            (classes::charts(study, name))
            @if let Some(curves) = curves { (curves) }
        }
        @if let Some(table) = table { (table) }
        @if let Some(cases) = cases { (cases) }
        div .grid {
            @if let Some(figure) = few_shot_of(study, name) { (figure) }
            @if let Some(chart) = controls::chart(study, name) { (chart) }
        }
        (overlays)
        (warnings(study, name))
    }
}

/// The best backbone of the first way that has results; under `strict` before other protocols.
fn best<'a>(study: &'a Study, dataset: &str) -> Option<(Way, &'a RunRecord)> {
    ORDER.into_iter().find_map(|way| {
        let protocols = study.protocols();
        protocols.into_iter().find_map(|protocol| {
            let records = study.all_of(way, protocol).into_iter();
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
