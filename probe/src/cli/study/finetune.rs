//! Cells of fine-tuning: `scripts/finetune` trains them on the images, and their records are found by what is asked for.

use anyhow::Result;
use cache::{CacheReader, Split};
use clap::Parser;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::super::over::Job;
use super::super::settings::RulesArgs;
use super::super::{Caches, Output};
use crate::Error;
use crate::evaluate::Settings;
use crate::outside;
use crate::record::{self, RunRecord};
use crate::segment;

/// Name in a study, of the records, and of the script.
pub(super) const NAME: &str = "finetune";
/// The program, in a checkout of the project.
pub(super) const SCRIPT: &str = "scripts/finetune";

/// The option of a study that names a network from scratch; the script calls it `--model`.
const NETWORK: &str = "network";

/// Options of the script that select the cache.
const OF_CACHE: [&str; 1] = ["image-size"];

/// Options that a study may give.
#[derive(Debug, Parser)]
#[command(name = NAME, disable_help_flag = true)]
pub(super) struct Finetune {
    #[command(flatten)]
    caches: Caches,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    output: Output,
    #[arg(long, value_parser = ["full", "lora", "bitfit", "head-only"])]
    method: Option<String>,
    #[arg(long, value_parser = ["unet", "transunet"], conflicts_with_all = ["method", "decoder"])]
    network: Option<String>,
    #[arg(long, value_parser = ["linear", "unet"])]
    decoder: Option<String>,
    #[arg(long)]
    epochs: Option<u32>,
    #[arg(long)]
    batch_size: Option<u32>,
    #[arg(long)]
    lr: Option<f64>,
    #[arg(long)]
    head_lr: Option<f64>,
    #[arg(long, value_parser = ["adamw", "sgd"])]
    optimiser: Option<String>,
    #[arg(long)]
    weight_decay: Option<f64>,
    #[arg(long)]
    rank: Option<u32>,
    #[arg(long)]
    alpha: Option<f64>,
    #[arg(long)]
    dropout: Option<f64>,
    #[arg(long, value_parser = ["study", "none"])]
    augment: Option<String>,
    #[arg(long)]
    per_patient: bool,
}

impl Finetune {
    /// A job that finds records, and evaluates nothing: `options` are those of the study.
    pub(super) fn job<'a>(&'a self, options: &'a Table) -> Job<'a> {
        let splits = [Split::Train];
        let settings = self.rules.settings(Split::Test, &splits).into_iter();
        Job {
            caches: &self.caches,
            output: &self.output,
            probe: NAME,
            settings: settings.collect(),
            key: Box::new(|reader, settings| {
                let known = record::read(&self.output.runs, NAME)?;
                let fits = |record: &RunRecord| {
                    record.cache_sha256 == reader.sha256() && is_of(record, settings, options)
                };
                let mut latest = known.latest().into_iter();
                let found = latest.rfind(fits);
                Ok(found.map(|record| record.key).unwrap_or_default())
            }),
            evaluate: Box::new(|_, _, _| Ok(Vec::new())),
            recorded: None,
        }
    }
}

/// Whether what is trained segments.
pub(super) fn segments(options: &Table) -> bool {
    options.contains_key("decoder") || options.contains_key(NETWORK)
}

/// Checks that a cache has labelled slices, or slices with masks, in the three splits that the script needs.
///
/// # Errors
///
/// [`Error::EmptySplit`] and [`SegmentError::NoMaskedSlices`](crate::error::SegmentError::NoMaskedSlices), and those of reading slices and masks.
pub(super) fn check_splits(
    reader: &CacheReader,
    settings: &Settings,
    segments: bool,
) -> Result<(), Error> {
    if segments {
        segment::check_splits(reader, settings)
    } else {
        outside::check_splits(reader, settings)
    }
}

/// The options of a cell for the script.
pub(super) fn words(options: &Table) -> Result<Vec<String>, (String, String)> {
    let mut options = options.clone();
    options.retain(|name, _| !OF_CACHE.contains(&name));
    if let Some(network) = options.remove(NETWORK) {
        options.insert("model".into(), network);
    }
    super::commands::words_of(&options)
}

/// Whether a record is of these settings and options.
fn is_of(record: &RunRecord, settings: &Settings, options: &Table) -> bool {
    let of = |name: &str| record.params.get(name).unwrap_or(&Json::Null);
    let method = options.get("method").map_or("lora", |method| text(method));
    let method = if options.contains_key(NETWORK) {
        "scratch"
    } else {
        method
    };
    record.protocol == settings.protocol.name()
        && record.seed == settings.seed
        && record.split_name == settings.split_name
        && of("method") == method
        && of("task")
            == if segments(options) {
                "segmentation"
            } else {
                "classification"
            }
        && options.iter().all(|(name, value)| match name.as_str() {
            NETWORK => record.model == text(value),
            "per-patient" => Some(record.per_patient) == value.as_bool(),
            "lr" => is_equal(of("learning_rate"), value),
            "head-lr" => is_equal(of("head_learning_rate"), value),
            "rank" | "alpha" | "dropout" => is_equal(&of("lora")[name], value),
            "epochs" | "batch-size" | "optimiser" | "weight-decay" | "decoder" => {
                is_equal(of(&name.replace('-', "_")), value)
            }
            _ => true,
        })
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn is_equal(found: &Json, value: &Value) -> bool {
    match value {
        Value::String(text) => found == text.as_str(),
        Value::Integer(number) => found.as_f64() == Some(*number as f64),
        Value::Float(number) => found.as_f64() == Some(*number),
        _ => false,
    }
}

/// The error that a study has no such option, with what to do.
pub(super) fn unknown(said: &str) -> (String, String) {
    let hint = format!("see `{SCRIPT} --help`; `{NETWORK}` is its `--model`");
    (format!("probe `{NAME}`: {said}"), hint)
}
