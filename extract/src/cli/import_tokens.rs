//! `extract import-tokens`: embeddings of other programs as a cache.

use std::path::PathBuf;

use clap::Args;
use common::counted;
use common::text::shown;
use serde_json::json;

use super::{Format, Status, print_line, tell, tell_of_lock};
use crate::interchange::{self, Import, Imported, Note};

/// Arguments of `extract import-tokens`.
#[derive(Debug, Args)]
pub struct ImportTokensArgs {
    /// File of embeddings, or folder of TRIDENT or eva
    #[arg(value_name = "FILE")]
    pub source: PathBuf,
    /// Name of the model that computed them
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// Name of the dataset
    #[arg(long, value_name = "NAME")]
    pub dataset: String,
    /// Table of the rows, CSV or Parquet, in the order of the array: `sample` or
    /// `image`; `label`, `labels` (`a|b`) or --label-columns; `patient`; `split`;
    /// `slice`, for several rows of a sample
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub table: Option<PathBuf>,
    /// Columns with one class each: 1, 0, -1 (uncertain) or blank
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Column with the row of the array that a line is about, from 0; rows that no
    /// line names are left out [default: lines and rows have the same order]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub row_column: Option<String>,
    /// Format of the file [default: by its ending]
    #[arg(long, value_name = "FORMAT")]
    pub from: Option<interchange::Format>,
    /// Array of embeddings in the file, `[N, D]`, or of patch tokens, `[N, P, D]`
    /// [default: `cls`, `embeddings`, `features`, …, or the only one]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub array: Option<String>,
    /// Patch tokens of the same rows, `[N, P, D]` or `[N, rows, columns, D]`: a
    /// second `.npy` file, or the name of an array in the file
    #[arg(long, value_name = "FILE|NAME", verbatim_doc_comment)]
    pub patches: Option<String>,
    /// Rows and columns of patches [default: a square]
    #[arg(long, value_name = "ROWSxCOLUMNS", value_parser = grid)]
    pub grid: Option<[u32; 2]>,
    /// Multiply all numbers, so that they fit into half precision
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    pub scale: f64,
    /// Side of the model's input: the cache is MODEL@SIZE
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub image_size: u32,
    /// Allow a patient in several splits
    #[arg(long)]
    pub allow_patient_overlap: bool,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Output: text, or one JSON object
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Imports, and prints what the cache holds.
pub(super) fn run(args: &ImportTokensArgs) -> anyhow::Result<Status> {
    let import = Import {
        source: &args.source,
        format: args.from,
        table: args.table.as_deref(),
        label_columns: &args.label_columns,
        row_column: args.row_column.as_deref(),
        array: args.array.as_deref(),
        patches: args.patches.as_deref(),
        grid: args.grid,
        scale: args.scale,
        model: &args.model,
        dataset: &args.dataset,
        image_size: args.image_size,
        caches: &args.cache,
        allow_patient_overlap: args.allow_patient_overlap,
    };
    let imported = import.run(&mut |note| match note {
        Note::Warning(text) => tell(&format!("warning: {text}")),
        Note::Rows(done, all) => tell(&format!("{done} of {}", counted(all, "row"))),
        Note::Opening(dir) => tell_of_lock(&dir),
    })?;
    print(args, &imported)?;
    Ok(Status::Done)
}

fn print(args: &ImportTokensArgs, imported: &Imported) -> anyhow::Result<()> {
    let Imported {
        dir,
        meta,
        was_there,
    } = imported;
    if args.format == Format::Json {
        let line = json!({
            "cache": dir.to_string_lossy(),
            "rows": meta.rows,
            "samples": meta.samples,
            "width": meta.width,
            "grid": meta.grid,
            "tokens": meta.tokens,
            "task": meta.task,
            "classes": meta.classes,
            "was_there": was_there,
        });
        print_line(&line.to_string())?;
        return Ok(());
    }
    let state = if *was_there { "already complete: " } else { "" };
    let patches = meta.imported.as_ref().map(|imported| imported.tokens);
    let patches = match patches {
        Some(cache::ImportedTokens::OneVector) | None => String::new(),
        Some(_) => format!(", {} x {} patches", meta.grid[0], meta.grid[1]),
    };
    print_line(&format!(
        "{}: {state}{} of {}, width {}{patches}, {}, {:.1} MB",
        shown(dir),
        counted(meta.rows, "row"),
        counted(meta.samples, "sample"),
        meta.width,
        counted(meta.classes.len(), "class"),
        meta.bytes() as f64 / 1e6
    ))?;
    Ok(())
}

/// `14x14` as numbers.
fn grid(word: &str) -> Result<[u32; 2], String> {
    let sides = word.split_once('x');
    let sides = sides.and_then(|(rows, columns)| {
        let side = |word: &str| word.parse().ok().filter(|side| (1..=4096).contains(side));
        Some([side(rows)?, side(columns)?])
    });
    sides.ok_or_else(|| "expected rows and columns, as in `14x14`".to_owned())
}
