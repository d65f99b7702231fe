//! `probe compare`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use common::counted;
use common::text::{printable, shown};

use super::caches::{listed, unknown};
use super::settings::ConfidenceArgs;
use super::{Form, Format, Outcome, few_shot, predict};
use crate::compare::{Comparison, Pair, Pairs, compare, correct};
use crate::kinds::KINDS;
use crate::record::{self, RunRecord};
use crate::table;

/// Commands whose records can be compared.
fn commands() -> impl Iterator<Item = &'static str> {
    let kinds = KINDS.iter().filter(|kind| kind.is_command);
    let others = [
        few_shot::NAME,
        "segment",
        "adapt",
        "finetune",
        predict::NAME,
    ];
    kinds.map(|kind| kind.name).chain(others)
}

#[derive(Debug, Args)]
pub(super) struct Compare {
    /// Folder of run records
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Only this probe
    #[arg(long)]
    probe: Option<String>,
    /// Only this dataset
    #[arg(long)]
    dataset: Option<String>,
    /// Only pairs with this backbone
    #[arg(long)]
    model: Option<String>,
    /// Compare single folds of cross-validations, in place of all folds together
    #[arg(long)]
    folds: bool,
    #[command(flatten)]
    confidence: ConfidenceArgs,
    #[command(flatten)]
    form: Form,
}

impl Compare {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let Some(confidence) = self.confidence.confidence() else {
            bail!("`--bootstrap 0`: expected at least 1 draw\nhint: leave it out for 1000");
        };
        self.form.check()?;
        if !self.runs.is_dir() {
            bail!(
                "`{}`: there is no such folder\nhint: name that of the run records with --runs; without --runs, probes write to `runs`",
                shown(&self.runs)
            );
        }
        let mut records = self.records(messages)?;
        self.keep_family(&mut records, messages)?;
        let has_model = |record: &RunRecord| is_wanted(self.model.as_ref(), &record.model);
        let Pairs { pairs, left_out } = Pairs::of(&records, &self.runs);
        for reason in left_out {
            writeln!(messages, "not compared: {}", printable(&reason))?;
        }
        let (mut found, mut outcome) = (Vec::new(), Outcome::Done);
        for pair in pairs {
            let Pair { first, second } = pair;
            if !has_model(first) && !has_model(second) {
                continue;
            }
            match compare(&self.runs, pair, &confidence) {
                Ok(comparison) => found.push(comparison),
                Err(error) => {
                    let (dataset, probe) = (&first.dataset, &first.probe);
                    let models = format!("{} and {}", first.model, second.model);
                    let pair = format!("{dataset}, {probe}, {models}");
                    writeln!(messages, "warning: {}: {error}", printable(&pair))?;
                    outcome = Outcome::Skipped;
                }
            }
        }
        if found.is_empty() {
            bail!(
                "`{}`: no scores of two backbones by the same probe with the same settings on the same data\nhint: run a probe on caches of several backbones first, such as `probe knn`",
                shown(&self.runs)
            );
        }
        let tests = correct(&mut found);
        if let Some(warning) = coarse(tests, confidence.draws, &found) {
            writeln!(messages, "warning: {warning}")?;
        }
        self.print(&found, out)?;
        Ok(outcome)
    }

    /// The records that are asked for.
    fn records(&self, messages: &mut impl Write) -> Result<Vec<RunRecord>> {
        let mut records = Vec::new();
        for probe in commands() {
            let recorded = record::read(&self.runs, probe)?;
            for complaint in recorded.complaints() {
                writeln!(messages, "warning: {complaint}")?;
            }
            records.extend(recorded.latest());
        }
        let of = |name: fn(&RunRecord) -> &str| records.iter().map(name).collect::<BTreeSet<_>>();
        let (datasets, models) = (of(|record| &record.dataset), of(|record| &record.model));
        let wanted = [
            ("probe", &self.probe, commands().collect()),
            ("dataset", &self.dataset, datasets),
            ("model", &self.model, models),
        ];
        for (what, word, known) in wanted {
            let unknown = word
                .as_ref()
                .and_then(|word| unknown(what, word, known.iter().copied()));
            if let Some(unknown) = unknown.filter(|_| what == "probe" || !records.is_empty()) {
                let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
                let runs = shown(&self.runs);
                bail!(
                    "`{runs}`: found {unknown}\nhint: there is {}",
                    listed(&known)
                );
            }
        }
        records.retain(|record| {
            is_wanted(self.probe.as_ref(), &record.probe)
                && is_wanted(self.dataset.as_ref(), &record.dataset)
        });
        Ok(records)
    }

    /// Keeps single folds, or all other records: a fold and the folds together are not independent, and would be
    /// corrected for each other.
    fn keep_family(&self, records: &mut Vec<RunRecord>, messages: &mut impl Write) -> Result<()> {
        let before = records.len();
        records.retain(|record| record.is_of_fold() == self.folds);
        let others = before - records.len();
        if others > 0 && !self.folds {
            writeln!(
                messages,
                "not compared: {} of single folds; `--folds` compares these alone",
                counted(others, "record")
            )?;
        } else if others > 0 {
            let others = counted(others, "record");
            writeln!(
                messages,
                "not compared: {others} of other splits than single folds"
            )?;
        }
        Ok(())
    }

    fn print(&self, found: &[Comparison], out: &mut impl Write) -> Result<()> {
        if self.form.format == Format::Json {
            for comparison in found {
                writeln!(out, "{}", serde_json::json!(comparison))?;
            }
        }
        let before = match self.form.format {
            Format::Text => "",
            Format::Markdown => "\n",
            Format::Csv => return Ok(self.form.print(&table::comparison_values(found), out)?),
            Format::Json => return Ok(()),
        };
        self.form.print(&table::comparisons(found), out)?;
        for line in table::meaning(found) {
            writeln!(out, "{before}{line}")?;
        }
        Ok(())
    }
}

/// A warning if no corrected p-value of a bootstrap can be below 0.05.
fn coarse(tests: usize, draws: usize, found: &[Comparison]) -> Option<String> {
    let of_draws = |of: &&Comparison| of.tested.method.starts_with("bootstrap");
    let least = 2.0 / (1 + draws) as f64;
    let corrected = least * tests as f64;
    if corrected < 0.05 || !found.iter().any(|of| of_draws(&of)) {
        return None;
    }
    let enough = (2.0 * tests as f64 / 0.005).ceil();
    let tests = counted(tests, "test");
    Some(format!(
        "p-values of {draws} draws are at least {least:.3}, and {corrected:.3} when corrected for {tests}\nhint: `--bootstrap {enough}` resolves smaller ones; `--dataset` and `--probe` make fewer tests"
    ))
}

fn is_wanted(wanted: Option<&String>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}
