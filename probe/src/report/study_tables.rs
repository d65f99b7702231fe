//! Tables 3 to 9 of the reference study, with our figures beside the published ones.

use super::cells::{self, Way, figure, main_measure};
use super::costs::{all_parameters, is_trained, number, peak_memory, trainable};
use super::published::{PUBLISHED, PublishedColumn, PublishedRow, PublishedTable};
use super::read::{Study, measure};
use super::resampled::{self, Resampled};
use super::table::{Cell, Column, Figure, Table};
use crate::record::RunRecord;

/// The class that the protocol `paper` adds to CheXpert, and that the published means leave out.
const UNCERTAIN: &str = "Uncertain";

/// The tables of the study for which there is a record, by number and protocol, and what their records cost.
pub(super) fn tables(study: &Study, resampled: &Resampled) -> Vec<Table> {
    let mut tables = Vec::new();
    for published in &PUBLISHED.tables {
        for protocol in study.protocols() {
            let of = Found::new(study, published, protocol);
            tables.extend(of.table(resampled));
            tables.extend(of.costs());
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

/// The records of a table under a protocol.
struct Found<'a> {
    published: &'a PublishedTable,
    protocol: &'a str,
    /// By row and column.
    records: Vec<Vec<Option<&'a RunRecord>>>,
}

impl<'a> Found<'a> {
    fn new(study: &'a Study, published: &'a PublishedTable, protocol: &'a str) -> Found<'a> {
        let find = |row: &PublishedRow, column: &PublishedColumn| {
            let way = row.way(column)?;
            study.find(way, protocol, &column.dataset, (&row.model, row.size))
        };
        let records = published.rows.iter().map(|row| {
            let columns = published.columns.iter();
            columns.map(|column| find(row, column)).collect()
        });
        Found {
            published,
            protocol,
            records: records.collect(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a RunRecord> {
        self.records.iter().flatten().flatten().copied()
    }

    fn id(&self) -> String {
        format!("table-{}-{}", self.published.number, self.protocol)
    }

    fn title(&self) -> String {
        let (number, protocol) = (self.published.number, self.protocol);
        format!(
            "Table {number}, protocol {protocol}: {}",
            self.published.title
        )
    }

    /// Columns of method and architecture, and their cells by row.
    fn first(&self) -> (Vec<Column>, Vec<Vec<Cell>>) {
        let rows = self.published.rows.iter();
        let cells =
            rows.map(|row| vec![row.method.clone().into(), row.architecture.clone().into()]);
        let columns = ["method", "architecture"].map(Column::text);
        (columns.into(), cells.collect())
    }

    /// The table, if there is a record of it.
    fn table(&self, resampled: &Resampled) -> Option<Table> {
        let published = self.published;
        let first = self.all().next()?;
        let (mut columns, mut rows) = self.first();
        for (at, detail) in published.details.iter().enumerate() {
            let ours = parameters(detail);
            if ours.is_some() {
                columns.push(Column::text("ours").of(detail));
                columns.push(Column::text("published").of(detail));
            } else {
                columns.push(Column::text(detail));
            }
            for (place, row) in rows.iter_mut().enumerate() {
                let records = self.records[place].iter().flatten();
                row.extend(ours.map(|ours| {
                    let text = records.copied().find_map(ours);
                    text.map_or(Cell::Missing, Cell::Text)
                }));
                row.push(published.rows[place].details[at].clone().into());
            }
        }
        for (at, column) in published.columns.iter().enumerate() {
            let records: Vec<_> = self.records.iter().map(|row| row[at]).collect();
            let way = Way::named(&column.probe).filter(|_| !published.is_mixed());
            let best = way.and_then(|way| resampled.best(way, &records));
            columns.push(Column::number("ours").of(&column.header));
            columns.push(Column::number("published").of(&column.header));
            for (place, row) in rows.iter_mut().enumerate() {
                row.push(ours(records[place], best == Some(place)));
                let values = &published.rows[place].values;
                row.push(Cell::plain(values.get(at).copied()));
            }
        }
        Some(Table {
            id: self.id(),
            title: self.title(),
            caption: caption(published, first, self.protocol),
            columns,
            rows,
        })
    }

    /// Times and memory of the records of a table that compares ways of training, if there is one of a trained backbone.
    fn costs(&self) -> Option<Table> {
        self.all()
            .find(|record| is_trained(record) && self.published.costs)?;
        let (mut columns, mut rows) = self.first();
        columns.push(Column::text("trainable parameters"));
        for (row, records) in rows.iter_mut().zip(&self.records) {
            let text = records.iter().flatten().copied().find_map(trainable);
            row.push(text.map_or(Cell::Missing, Cell::Text));
        }
        for (at, column) in self.published.columns.iter().enumerate() {
            columns.push(Column::number("seconds").of(&column.header));
            columns.push(Column::number("peak memory, GB").of(&column.header));
            for (row, records) in rows.iter_mut().zip(&self.records) {
                let seconds = records[at].map(|record| record.seconds);
                row.push(number(seconds, 0));
                row.push(number(records[at].and_then(peak_memory), 2));
            }
        }
        Some(Table {
            id: format!("{}-costs", self.id()),
            title: format!("{}; costs", self.title()),
            caption: "Ours: the time of reading, training and scoring, and the most memory that the process held, or its GPU. The machines may differ. –: no record, or one that lacks the figure.".into(),
            columns,
            rows,
        })
    }
}

/// What our records have for a detail of the study's tables.
fn parameters(detail: &str) -> Option<fn(&RunRecord) -> Option<String>> {
    match detail {
        "trainable parameters" => Some(trainable),
        "parameters" => Some(all_parameters),
        _ => None,
    }
}

fn ours(record: Option<&RunRecord>, is_best: bool) -> Cell {
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
    if published.costs {
        text += " Fine-tuned backbones, LoRA, BitFit and networks from scratch are of `scripts/finetune`";
        let has_adapted = published.rows.iter().any(PublishedRow::is_adapted);
        text += if has_adapted {
            ", last blocks of `probe adapt`."
        } else {
            "."
        };
    }
    text += " –: no record. ";
    if !published.is_mixed() {
        text = text + resampled::RULE + " ";
    }
    text + cells::RULE
}
