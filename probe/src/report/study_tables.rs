//! Tables 3 to 9 of the reference study, with our figures beside the published ones.

use super::cells::{self, Way, figure, main_measure};
use super::published::{PUBLISHED, PublishedColumn, PublishedRow, PublishedTable};
use super::read::{Study, measure};
use super::resampled::{self, Resampled};
use super::table::{Cell, Column, Figure, Table};
use crate::record::RunRecord;

/// What a cell says where Slicebank runs no such training.
const NOT_RUN: &str = "n/a";

/// The class that the protocol `paper` adds to CheXpert, and that the published means leave out.
const UNCERTAIN: &str = "Uncertain";

/// The tables of the study for which there is a record, by number and protocol.
pub(super) fn tables(study: &Study, resampled: &Resampled) -> Vec<Table> {
    let mut tables = Vec::new();
    for published in &PUBLISHED.tables {
        for protocol in study.protocols() {
            tables.extend(table(study, resampled, published, protocol));
        }
    }
    tables
}

/// Numbers of the tables that no record belongs to.
pub(super) fn absent(tables: &[Table]) -> Vec<u32> {
    let numbers = PUBLISHED.tables.iter().map(|table| table.number);
    numbers
        .filter(|number| {
            let prefix = format!("table-{number}-");
            !tables.iter().any(|table| table.id.starts_with(&prefix))
        })
        .collect()
}

fn table(
    study: &Study,
    resampled: &Resampled,
    published: &PublishedTable,
    protocol: &str,
) -> Option<Table> {
    let mut columns = vec![Column::text("method"), Column::text("architecture")];
    columns.extend(published.details.iter().map(|name| Column::text(name)));
    let text = |row: &PublishedRow| {
        let first = [&row.method, &row.architecture]
            .into_iter()
            .chain(&row.details);
        first.map(|text| Cell::Text(text.clone())).collect()
    };
    let mut rows: Vec<Vec<Cell>> = published.rows.iter().map(text).collect();
    let mut found = Vec::new();
    for (at, column) in published.columns.iter().enumerate() {
        let way = Way::named(&column.probe);
        if let Some(way) = way {
            let records = records(study, published, column, way, protocol);
            columns.push(Column::number("ours").of(&column.header));
            let best = resampled.best(way, &records);
            for (place, (row, cells)) in published.rows.iter().zip(&mut rows).enumerate() {
                cells.push(ours(row, records[place], best == Some(place)));
            }
            found.extend(records.into_iter().flatten());
        }
        columns.push(Column::number("published").of(&column.header));
        for (row, cells) in published.rows.iter().zip(&mut rows) {
            cells.push(Cell::plain(Some(row.values[at])));
        }
    }
    let first = found.first()?;
    Some(Table {
        id: format!("table-{}-{protocol}", published.number),
        title: format!(
            "Table {}, protocol {protocol}: {}",
            published.number, published.title
        ),
        caption: caption(published, first, protocol),
        columns,
        rows,
    })
}

fn records<'a>(
    study: &'a Study,
    published: &PublishedTable,
    column: &PublishedColumn,
    way: Way,
    protocol: &str,
) -> Vec<Option<&'a RunRecord>> {
    let find = |row: &PublishedRow| {
        let model = row.model.as_deref()?;
        study.find(way, protocol, &column.dataset, (model, row.size))
    };
    published.rows.iter().map(find).collect()
}

fn ours(row: &PublishedRow, record: Option<&RunRecord>, is_best: bool) -> Cell {
    if row.model.is_none() {
        return NOT_RUN.into();
    }
    match record.and_then(comparable) {
        Some(figure) => Cell::Figure(Figure { is_best, ..figure }),
        None => Cell::Missing,
    }
}

/// The main measure as the study has it. Of CheXpert, the protocol `paper` counts the class `Uncertain`, whose AUROC
/// is 0 where it does not occur; the published means are of the five findings.
fn comparable(record: &RunRecord) -> Option<Figure> {
    let found = figure(record)?;
    let undefined = record
        .metrics
        .get("auroc_undefined")
        .and_then(|names| names.as_array());
    let counts_uncertain = record.dataset == "chexpert"
        && record.protocol == "paper"
        && undefined.is_some_and(|names| names.iter().any(|name| name == UNCERTAIN));
    if !counts_uncertain {
        return Some(found);
    }
    let classes = super::read::by_class(record, "auroc_per_class").len() as f64;
    let undefined = undefined.map_or(0, Vec::len) as f64;
    let factor = (classes + undefined) / (classes + undefined - 1.0);
    Some(Figure {
        value: measure(record, "auroc_macro")? * factor,
        interval: found
            .interval
            .map(|bounds| bounds.map(|bound| bound * factor)),
        ..found
    })
}

fn caption(published: &PublishedTable, record: &RunRecord, protocol: &str) -> String {
    let ours = main_measure(record).map_or("", |measured| measured.title);
    let mut text = format!(
        "Ours: {ours}{}; published: {} of Baharoon et al. (arXiv 2312.02366), table {}.",
        record.ci.as_ref().map_or("", |_| " with 95% interval"),
        published.measure,
        published.number
    );
    if ours != published.measure {
        text += " The two are different measures: ours is a mean over volumes and counts structures predicted on background, the published one is of all pixels pooled, with a Jaccard index of the foreground only.";
    }
    if protocol == "strict" && published.columns.iter().any(|c| c.dataset == "chexpert") {
        text +=
            " The protocol strict leaves uncertain labels out, which the study counts as absent.";
    }
    if let Some(note) = &published.note {
        text += &format!(" {note}");
    }
    let has_scratch = published.rows.iter().any(|row| row.model.is_none());
    if has_scratch {
        text += &format!(" {NOT_RUN}: a backbone that is trained, which Slicebank does not do.");
    }
    text + " –: no record. " + resampled::RULE + " " + cells::RULE
}
