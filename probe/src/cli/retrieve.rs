//! `probe retrieve`.

use std::io::Write;

use anyhow::Result;
use clap::{Args, ValueEnum};
use common::counted;
use serde_json::Value;

use super::Outcome;
use super::effect;
use super::embedding::EmbeddingArgs;
use super::explore::{LookArgs, View};
use super::settings::ConfidenceArgs;
use crate::explore::{ALL_OTHERS, Queries, RetrieveOptions, retrieve};
use crate::protocol::Protocol;
use crate::record::RunRecord;
use crate::table::{Column, Grid};
use crate::values::integer;

#[derive(Debug, Args)]
pub(super) struct Retrieve {
    /// Queries: the examples of `test` among those of `train` and `val`, of `val` among those of `train`, or each
    /// among all others
    #[arg(long, default_value = "test")]
    eval: Eval,
    /// Numbers of nearest examples for precision, recall and hit rate
    #[arg(long = "k", value_name = "K", value_delimiter = ',', default_value = "1,5,10", value_parser = neighbours)]
    ks: Vec<usize>,
    #[command(flatten)]
    embedding: EmbeddingArgs,
    #[command(flatten)]
    confidence: ConfidenceArgs,
    #[command(flatten)]
    pub(super) look: LookArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Eval {
    Test,
    Val,
    All,
}

fn neighbours(word: &str) -> Result<usize, String> {
    integer(word, &(1..=1_000_000))
}

impl Retrieve {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        effect::check(self.confidence.idle(), &[Protocol::Strict], messages)?;
        let mut ks = self.ks.clone();
        ks.sort_unstable();
        ks.dedup();
        let options = RetrieveOptions {
            embedding: self.embedding.embedding(),
            queries: match self.eval {
                Eval::Test => Queries::Test,
                Eval::Val => Queries::Val,
                Eval::All => Queries::All,
            },
            ks,
            confidence: self.confidence.confidence(),
        };
        self.look.each(out, messages, |reader, _, steps| {
            let record = retrieve(reader, &options, steps)?;
            let view = view(&record, &options.ks);
            Ok((record, view))
        })
    }
}

fn view(record: &RunRecord, ks: &[usize]) -> View {
    let unit = record.params["unit"].as_str().unwrap_or("example");
    let (queries, searched) = (counted(record.n_test, unit), record.n_train);
    let line = match record.params["among"].as_str().unwrap_or_default() {
        ALL_OTHERS => format!("{queries}, each among the {searched} others"),
        among => format!("{queries} of {} among {searched} of {among}", record.split),
    };
    let mut lines = vec![format!("{}: {line}", record.setting)];
    let without = record.params["queries_without_relevant"].as_u64();
    if let Some(without @ 1..) = without {
        lines.push(format!(
            "without a relevant example of another patient, not counted: {without}"
        ));
    }
    let names = ks.iter().flat_map(|k| {
        let of = |name: &str, title: &str| (format!("{name}_at_{k}"), format!("{title}@{k}"));
        [
            of("precision", "P"),
            of("recall", "recall"),
            of("hit", "hit"),
        ]
    });
    let all = [
        ("map".to_owned(), "mAP".to_owned()),
        ("chance".to_owned(), "chance".to_owned()),
    ];
    let rows = all.into_iter().chain(names).map(|(name, title)| {
        let of = |kind: &str| with_interval(record, &format!("{name}_{kind}"));
        vec![title, of("macro"), of("micro")]
    });
    let columns = vec![
        Column::text("", 0),
        Column::number("macro", 0),
        Column::number("micro", 0),
    ];
    View {
        lines,
        tables: vec![(String::new(), Grid::new(columns, rows))],
        data: data(record),
    }
}

/// A row per measure.
fn data(record: &RunRecord) -> Grid {
    let names = ["value", "low", "high"].map(|name| Column::number(name, 0));
    let columns = [Column::text("measure", 0)].into_iter().chain(names);
    let measured = record
        .metrics
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_f64()?)));
    let rows = measured.map(|(name, value)| {
        let bounds = bounds(record, name).map_or([String::new(), String::new()], |bounds| {
            bounds.map(|bound| bound.to_string())
        });
        [name.clone(), value.to_string()]
            .into_iter()
            .chain(bounds)
            .collect()
    });
    Grid::new(columns.collect(), rows)
}

fn with_interval(record: &RunRecord, name: &str) -> String {
    let value = record.metrics.get(name).and_then(Value::as_f64);
    let Some(value) = value else {
        return "undefined".into();
    };
    match bounds(record, name) {
        Some([low, high]) => format!("{value:.4} [{low:.3}, {high:.3}]"),
        None => format!("{value:.4}"),
    }
}

/// The interval of a measure.
fn bounds(record: &RunRecord, name: &str) -> Option<[f64; 2]> {
    let bounds = record.ci.as_ref()?.get(name)?.as_array()?;
    match bounds[..] {
        [ref low, ref high] => Some([low.as_f64()?, high.as_f64()?]),
        _ => None,
    }
}
