//! `probe ls`: the caches below a folder, and the runs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use common::counted;
use common::text::shown;

use super::{Form, Format, Outcome};
use crate::{record, table};

/// Arguments of `probe ls`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Folder of caches
    #[arg(
        long,
        value_name = "DIR",
        env = "SLICEBANK_CACHE",
        default_value = "embeddings"
    )]
    cache: PathBuf,
    /// Folder of run records
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    #[command(flatten)]
    form: Form,
}

impl List {
    /// Lists the caches, and the runs if there are any.
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        self.form.check()?;
        let (runs, complaints) = if self.runs.is_dir() {
            record::read_all(&self.runs)?
        } else {
            (Vec::new(), Vec::new())
        };
        for complaint in complaints {
            writeln!(messages, "warning: {complaint}")?;
        }
        let caches = match cache::list(&self.cache) {
            Err(cache::Error::NoCache { .. }) if !runs.is_empty() => Vec::new(),
            caches => caches?,
        };
        if self.form.format == Format::Json {
            for cache in &caches {
                writeln!(out, "{}", cache.json())?;
            }
            for run in &runs {
                writeln!(out, "{}", run.to_json())?;
            }
            return Ok(Outcome::Done);
        }
        if caches.is_empty() {
            writeln!(messages, "no caches in `{}`", shown(&self.cache))?;
        } else {
            self.form.print(&table::caches(&caches), out)?;
        }
        if runs.is_empty() {
            writeln!(messages, "no runs in `{}`", shown(&self.runs))?;
        } else if self.form.format == Format::Csv && !caches.is_empty() {
            let runs = counted(runs.len(), "run");
            writeln!(
                messages,
                "{runs} in `{}` are another table: `probe report --out runs.csv` writes it, and `--format json` prints both",
                shown(&self.runs)
            )?;
        } else {
            if !caches.is_empty() {
                writeln!(out)?;
            }
            self.form.print(&table::runs(&runs), out)?;
        }
        Ok(Outcome::Done)
    }
}
