//! `extract relabel`: adds labels to finished caches.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cache::{CacheReader, Task};
use clap::{ArgGroup, Args};
use common::text::shown;
use serde_json::json;

use super::args::{LayoutArgs, hide_ids, open_dataset};
use super::caches::{for_each, found, of_dataset};
use super::{Format, Status, print_line, table, tell_of_lock, warn};
use crate::Error;
use crate::dataset::Dataset;
use crate::relabel::{self, Target, Written};

/// Arguments of `extract relabel`.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("source").required(true).args(["labels", "dataset"])),
    override_usage = "extract relabel [OPTIONS] --name <NAME>\n       <--labels <FILE>|--dataset <NAME>> [CACHE]...",
)]
pub struct RelabelArgs {
    /// Caches: `DATASET/MODEL@SIZE` below --cache, or their folders [default:
    /// all of --dataset]
    #[arg(value_name = "CACHE", required_unless_present = "dataset")]
    pub of: Vec<PathBuf>,
    /// Name of the labels
    #[arg(long)]
    pub name: String,
    /// Table of labels, CSV or Parquet: a column `sample` or `image`, and `label`,
    /// `labels` (`a|b`) or --label-columns; a column `patient` replaces patients
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Dataset that is read again for its labels, patients and masks: a name
    /// from `extract datasets`, or a TOML file
    #[arg(long)]
    pub dataset: Option<String>,
    /// Folder of the dataset, as for the extraction
    #[arg(long, value_name = "DIR", requires = "dataset")]
    pub root: Option<PathBuf>,
    /// Name of the dataset in the cache, if it was extracted with `--name`
    #[arg(long, value_name = "NAME", requires = "dataset")]
    pub cache_name: Option<String>,
    /// Options of the dataset's layout, as for the extraction
    #[command(flatten)]
    pub layout: LayoutArgs,
    /// Only caches of this backbone
    #[arg(long)]
    pub model: Option<String>,
    /// Replace labels of that name
    #[arg(long)]
    pub force: bool,
    /// Allow a patient in several splits
    #[arg(long)]
    pub allow_patient_overlap: bool,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Output: a table, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Writes labels to every selected cache; skips those for which it fails, with a warning.
pub(super) fn run(args: &RelabelArgs) -> anyhow::Result<Status> {
    let dataset = match &args.dataset {
        Some(name) => Some(opened(args, name)?),
        None => None,
    };
    let caches = caches(args, dataset.as_ref())?;
    let (written, status) = for_each(caches, "relabelled", |dir| {
        Ok((dir.to_path_buf(), relabel(args, dir, dataset.as_ref())?))
    })?;
    let mut said = HashSet::new();
    for (_, done) in &written {
        let new = done.warnings.iter().filter(|text| said.insert(*text));
        warn(&new.cloned().collect::<Vec<_>>());
    }
    print(args, &written)?;
    Ok(status)
}

fn opened(args: &RelabelArgs, name: &str) -> anyhow::Result<Dataset> {
    let layout = &args.layout;
    let (_, mut dataset) = open_dataset(name, args.root.as_deref(), layout)?;
    warn(&dataset.warnings);
    hide_ids(layout, &mut dataset)?;
    Ok(dataset)
}

fn caches(args: &RelabelArgs, dataset: Option<&Dataset>) -> anyhow::Result<Vec<PathBuf>> {
    if !args.of.is_empty() {
        return Ok(args.of.iter().map(|of| found(&args.cache, of)).collect());
    }
    let name = dataset.map_or("all", |dataset| &dataset.name);
    let name = args.cache_name.as_deref().unwrap_or(name);
    of_dataset(&args.cache, name, args.model.as_deref())
}

fn relabel(args: &RelabelArgs, dir: &Path, dataset: Option<&Dataset>) -> Result<Written, Error> {
    let reader = CacheReader::open(dir)?;
    tell_of_lock(dir);
    let target = Target {
        name: &args.name,
        replace: args.force,
        allow_patient_overlap: args.allow_patient_overlap,
        staging: &args.layout.staging,
    };
    match (dataset, &args.labels) {
        (Some(dataset), _) => relabel::by_dataset(&reader, dataset, target),
        (None, file) => {
            // Required by clap without a dataset.
            let file = file.as_deref().unwrap_or(Path::new(""));
            relabel::by_table(&reader, file, &args.layout.label_columns, target)
        }
    }
}

fn print(args: &RelabelArgs, written: &[(PathBuf, Written)]) -> anyhow::Result<()> {
    if args.format == Format::Json {
        for (dir, done) in written {
            let line = json!({
                "cache": dir,
                "name": args.name,
                "task": done.task,
                "classes": done.classes,
                "slices": done.slices,
                "labelled": done.labelled,
                "changed": done.changed,
                "masks": done.has_masks,
            });
            print_line(&line.to_string())?;
        }
        return Ok(());
    }
    let rows = written.iter().map(|(dir, done)| {
        let task = match done.task {
            Task::Unlabelled => "unlabelled",
            Task::SingleLabel => "single-label",
            Task::MultiLabel => "multi-label",
        };
        let changed = done
            .changed
            .map_or("all".to_owned(), |count| count.to_string());
        vec![
            shown(dir).to_string(),
            args.name.clone(),
            task.to_owned(),
            if done.has_masks { "replaced" } else { "" }.to_owned(),
            done.classes.len().to_string(),
            done.slices.to_string(),
            done.labelled.to_string(),
            changed,
        ]
    });
    let header = [
        "cache", "labels", "task", "masks", "classes", "slices", "labelled", "changed",
    ];
    print_line(&table(&header, rows.collect(), 4))?;
    Ok(())
}
