//! `extract export-tokens`: a cache as files of other programs.

use std::path::PathBuf;

use cache::{CacheReader, ORIGINAL};
use clap::Args;
use common::counted;
use common::text::shown;
use serde_json::json;

use super::caches::found;
use super::{Format, Status, print_line, warn};
use crate::interchange::{Export, Target};

/// Arguments of `extract export-tokens`.
#[derive(Debug, Args)]
pub struct ExportTokensArgs {
    /// Cache: `DATASET/MODEL@SIZE` below --cache, or its folder
    #[arg(value_name = "CACHE")]
    pub of: PathBuf,
    /// Format
    #[arg(long, value_name = "FORMAT")]
    pub to: Target,
    /// Folder of the files, which is made
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Layer whose tokens are written; 1 is the last block
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub layer: u32,
    /// Write patch tokens too
    #[arg(long)]
    pub patches: bool,
    /// Split that `extract split` added, in place of that of the extraction
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Labels that `extract relabel` added, in place of those of the extraction
    #[arg(long, value_name = "NAME", default_value = ORIGINAL)]
    pub labels: String,
    /// Replace an export in the folder
    #[arg(long)]
    pub force: bool,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Output: text, or one JSON object
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Exports, and prints the files.
pub(super) fn run(args: &ExportTokensArgs) -> anyhow::Result<Status> {
    let reader = CacheReader::open(&found(&args.cache, &args.of))?;
    let reader = match args.labels.as_str() {
        ORIGINAL => reader,
        name => reader.with_labels(name)?,
    };
    let exported = Export {
        reader: &reader,
        to: args.to,
        out: &args.out,
        layer: args.layer,
        patches: args.patches,
        split: args.split.as_deref(),
        force: args.force,
    }
    .run()?;
    warn(&exported.warnings);
    let files = exported.files.iter();
    if args.format == Format::Json {
        let files: Vec<_> = files.map(|file| file.to_string_lossy()).collect();
        print_line(&json!({"rows": exported.rows, "files": files}).to_string())?;
        return Ok(Status::Done);
    }
    let files: Vec<String> = files.map(shown).collect();
    let rows = counted(exported.rows, "row");
    print_line(&format!("{rows}: {}", files.join(", ")))?;
    Ok(Status::Done)
}
