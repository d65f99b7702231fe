//! `probe ls`: the caches below a folder.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use common::text::shown;

use super::{Format, Outcome};
use crate::table;

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
    /// Output: a table, or one JSON object per line
    #[arg(long, default_value = "text")]
    format: Format,
}

impl List {
    pub(super) fn run(&self, out: &mut impl Write) -> Result<Outcome> {
        let caches = cache::list(&self.cache)?;
        match self.format {
            Format::Json => {
                for cache in &caches {
                    writeln!(out, "{}", cache.json())?;
                }
            }
            Format::Text if caches.is_empty() => {
                writeln!(out, "no caches in `{}`", shown(&self.cache))?;
            }
            Format::Text => writeln!(out, "{}", table::caches(&caches))?,
        }
        Ok(Outcome::Done)
    }
}
