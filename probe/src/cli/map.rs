//! `probe map`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use common::counted;
use serde_json::Value;

use super::Outcome;
use super::embedding::EmbeddingArgs;
use super::explore::{LookArgs, View, save};
use crate::explore::{MapOptions, Method, map};
use crate::record::RunRecord;
use crate::table::{Column, Grid};
use crate::values::integer;

#[derive(Debug, Args)]
pub(super) struct MapCommand {
    /// Way to two dimensions
    #[arg(long, default_value = "tsne")]
    method: MethodArg,
    /// Number of neighbours, about, that t-SNE keeps near [default: 30, or a third of few examples]
    #[arg(long, value_name = "NUMBER", value_parser = perplexity)]
    perplexity: Option<usize>,
    /// Columns that give colours, a map for each: `label`, `split`, `patient`, `sample`, or those of --metadata
    /// [default: those of label, split and patient in which examples differ]
    #[arg(
        long = "colour",
        alias = "color",
        value_name = "COLUMN",
        value_delimiter = ','
    )]
    colours: Vec<String>,
    /// CSV or Parquet file with further columns, and a column `sample`, `image` or `patient`
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// Leave the pictures out of the Parquet file
    #[arg(long)]
    no_pictures: bool,
    #[command(flatten)]
    embedding: EmbeddingArgs,
    #[command(flatten)]
    pub(super) look: LookArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodArg {
    /// t-SNE over exact nearest neighbours, from the first principal components on
    Tsne,
    /// The first two principal components
    Pca,
}

fn perplexity(word: &str) -> Result<usize, String> {
    integer(word, &(1..=1000))
}

impl MapCommand {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        if self.perplexity.is_some() && self.method == MethodArg::Pca {
            bail!("`--perplexity` has no effect: it belongs to t-SNE\nhint: leave it out");
        }
        let options = self.options();
        self.look.each(out, messages, |reader, runs, steps| {
            let mut found = map(reader, &options, steps)?;
            let key = found.record.key.clone();
            let table = format!("maps/map-{key}.parquet");
            found.write(reader, &runs.join(&table), !self.no_pictures)?;
            let page = format!("pages/map-{key}.html");
            save(&runs.join(&page), &found.page())?;
            let mut pictures = Vec::new();
            for (number, svg) in (1..).zip(found.figures()) {
                let file = format!("pictures/map-{key}-{number}.svg");
                save(&runs.join(&file), &svg)?;
                pictures.push(file);
            }
            found.record.params.insert("page".into(), page.into());
            found.record.params.insert("table".into(), table.into());
            found.record.pictures = pictures;
            let view = view(&found.record);
            Ok((found.record, view))
        })
    }

    fn options(&self) -> MapOptions {
        MapOptions {
            embedding: self.embedding.embedding(),
            method: match self.method {
                MethodArg::Tsne => Method::Tsne {
                    perplexity: self.perplexity,
                },
                MethodArg::Pca => Method::Pca,
            },
            colours: self.colours.clone(),
            metadata: self.metadata.clone(),
        }
    }
}

fn view(record: &RunRecord) -> View {
    let kept = record.metrics["neighbours_kept"].as_f64();
    let kept = 100.0 * kept.unwrap_or_default();
    let unit = record.params["unit"].as_str().unwrap_or_default();
    let colours = record.params["colours"].as_array();
    let names = colours.into_iter().flatten().filter_map(Value::as_str);
    let rows = names.zip(&record.pictures);
    let rows = rows.map(|(name, file)| vec![name.to_owned(), file.clone()]);
    let columns = vec![Column::text("coloured by", 0), Column::text("picture", 0)];
    let table = Grid::new(columns, rows);
    View {
        lines: vec![
            record.setting.clone(),
            format!(
                "{} on the map; {kept:.0}% of nearest neighbours are neighbours there",
                counted(record.n_test, unit)
            ),
        ],
        data: table.clone(),
        tables: vec![(String::new(), table)],
    }
}
