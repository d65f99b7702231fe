//! `probe nearest`.

use std::io::Write;

use anyhow::Result;
use clap::Args;

use super::Outcome;
use super::embedding::EmbeddingArgs;
use super::explore::{LookArgs, View, save};
use crate::explore::{Choice, Nearest, NearestOptions, nearest};
use crate::table::{Column, Grid};
use crate::values::integer;

/// Number of queries without `--query`.
const QUERIES: usize = 4;

#[derive(Debug, Args)]
pub(super) struct NearestCommand {
    /// Query: a sample, or a slice of a sample; give it several times [default: 4 examples, spread over the
    /// classes]
    #[arg(long = "query", value_name = "ID[:SLICE]")]
    queries: Vec<String>,
    /// Neighbours of each query
    #[arg(long, default_value = "8", value_parser = neighbours)]
    k: usize,
    /// Leave out examples of the query's own patient, which are marked otherwise
    #[arg(long)]
    other_patients: bool,
    #[command(flatten)]
    embedding: EmbeddingArgs,
    #[command(flatten)]
    pub(super) look: LookArgs,
}

fn neighbours(word: &str) -> Result<usize, String> {
    integer(word, &(1..=1000))
}

impl NearestCommand {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let options = NearestOptions {
            queries: if self.queries.is_empty() {
                Choice::Spread(QUERIES)
            } else {
                Choice::Named(self.queries.clone())
            },
            k: self.k,
            other_patients: self.other_patients,
            embedding: self.embedding.embedding(),
        };
        self.look.each(out, messages, |reader, runs, steps| {
            let mut found = nearest(reader, &options, steps)?;
            let file = format!("pages/nearest-{}.html", found.record.key);
            save(&runs.join(&file), &found.page())?;
            found.record.params.insert("page".into(), file.into());
            let view = view(&found);
            Ok((found.record, view))
        })
    }
}

/// The neighbours of all queries, with the query in front.
fn data(found: &Nearest) -> Grid {
    let mut all = Grid::default();
    for (query, neighbours) in &found.queries {
        let columns = ["case", "label", "patient", "split"].map(|name| Column::text(name, 0));
        let numbers = ["rank", "distance"].map(|name| Column::number(name, 0));
        let columns = numbers.into_iter().chain(columns);
        let same = Column::text("same_patient", 0);
        let rows = (1..).zip(neighbours).map(|(rank, neighbour)| {
            let shown = &neighbour.shown;
            vec![
                rank.to_string(),
                neighbour.distance.to_string(),
                shown.name.clone(),
                shown.label.clone(),
                shown.patient.clone(),
                shown.split.to_owned(),
                neighbour.same_patient.to_string(),
            ]
        });
        let table = Grid::new(columns.chain([same]).collect(), rows);
        let key = [
            ("query", query.name.as_str()),
            ("query_label", query.label.as_str()),
        ];
        all.append(table.beside(&key));
    }
    all
}

fn view(found: &Nearest) -> View {
    let tables = found.queries.iter().map(|(query, neighbours)| {
        let heading = format!("{}  {}", query.name, query.label);
        let columns = vec![
            Column::number("", 0),
            Column::number("distance", 0),
            Column::text("case", 0),
            Column::text("label", 1),
            Column::text("patient", 2),
            Column::text("split", 3),
        ];
        let rows = (1..).zip(neighbours).map(|(rank, neighbour)| {
            let shown = &neighbour.shown;
            let mark = if neighbour.same_patient {
                " (same)"
            } else {
                ""
            };
            vec![
                rank.to_string(),
                format!("{:.4}", neighbour.distance),
                shown.name.clone(),
                shown.label.clone(),
                format!("{}{mark}", shown.patient),
                shown.split.to_owned(),
            ]
        });
        (heading.trim_end().to_owned(), Grid::new(columns, rows))
    });
    View {
        lines: vec![found.record.setting.clone()],
        tables: tables.collect(),
        data: data(found),
    }
}
