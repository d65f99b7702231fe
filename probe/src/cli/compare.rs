//! `probe compare`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use cache::text::printable;
use clap::Args;

use super::settings::ConfidenceArgs;
use super::{Format, Outcome};
use crate::evaluate::{Comparison, compare, pairs};
use crate::record::{self, RunRecord};
use crate::table;

/// The probes whose scores are kept.
const PROBES: [&str; 5] = ["knn", "linear", "logreg", "few-shot", "predict"];

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
    #[command(flatten)]
    confidence: ConfidenceArgs,
    /// What to print: a table, or one comparison a line
    #[arg(long, default_value = "text")]
    format: Format,
}

impl Compare {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let Some(confidence) = self.confidence.confidence() else {
            bail!("`--bootstrap 0`: expected at least 1 draw\nhint: leave it out for 1000");
        };
        let mut records = Vec::new();
        for probe in PROBES
            .iter()
            .filter(|&&probe| is_wanted(self.probe.as_ref(), probe))
        {
            records.extend(record::read(&self.runs, probe)?);
        }
        records.retain(|record| is_wanted(self.dataset.as_ref(), &record.dataset));
        let has_model = |record: &RunRecord| is_wanted(self.model.as_ref(), &record.model);
        let (mut found, mut outcome) = (Vec::new(), Outcome::Done);
        for (first, second) in pairs(&records) {
            if !has_model(first) && !has_model(second) {
                continue;
            }
            match compare(&self.runs, first, second, &confidence) {
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
                "`{}`: no scores of two backbones by the same probe on the same dataset\nhint: run `probe knn` or `probe linear` on caches of several backbones first",
                self.runs.display()
            );
        }
        self.print(&found, out)?;
        Ok(outcome)
    }

    fn print(&self, found: &[Comparison], out: &mut impl Write) -> Result<()> {
        match self.format {
            Format::Text => writeln!(out, "{}", table::comparisons(found))?,
            Format::Json => {
                for comparison in found {
                    writeln!(out, "{}", serde_json::json!(comparison))?;
                }
            }
        }
        Ok(())
    }
}

fn is_wanted(wanted: Option<&String>, found: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == found)
}
