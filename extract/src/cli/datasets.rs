//! `extract datasets`: lists dataset cards and checks downloads.

use std::path::{Path, PathBuf};

use clap::Args;
use common::draw::equidistant;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::advice::{self, Asked};
use super::args::{LayoutArgs, open_dataset};
use super::{Format, Status, print_line, report, usable};
use crate::dataset::{Dataset, DatasetCard, Recipe};
use crate::inspect::{self, Findings, Inspected, Inspection};
use crate::split::{self, SplitRule};

/// Number of samples that are read without `--pixels`.
const SPOT_CHECKS: usize = 20;

/// Arguments of `extract datasets`.
#[derive(Debug, Args)]
pub struct DatasetsArgs {
    /// Dataset to describe: a built-in one, or the TOML file of your own card
    pub name: Option<String>,
    /// Check the download in this folder
    #[arg(long, value_name = "DIR", requires = "name")]
    pub root: Option<PathBuf>,
    /// Read all images instead of 20, and look for duplicates
    #[arg(long, requires = "root")]
    pub pixels: bool,
    /// Recipe to check with [default: study]
    #[arg(long, value_name = "NAME", requires = "root")]
    pub recipe: Option<String>,
    /// Split rule, overriding the recipe; see `extract --help`
    #[arg(long, value_name = "RULE", requires = "root")]
    pub split: Option<SplitRule>,
    /// Allow a patient in several splits
    #[arg(long, requires = "root")]
    pub allow_patient_overlap: bool,
    /// Options of its layout
    #[command(flatten)]
    pub layout: LayoutArgs,
    /// Output: text, or one JSON object per line
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Lists the cards, shows one, or checks a download.
pub(super) fn run(args: &DatasetsArgs) -> anyhow::Result<Status> {
    match (&args.name, &args.root) {
        (None, _) => list(args.format),
        (Some(name), None) => show(name, args.format),
        (Some(name), Some(root)) => check(args, name, root),
    }
}

fn list(format: Format) -> anyhow::Result<Status> {
    let (cards, status) = usable(DatasetCard::built_in());
    if format == Format::Json {
        for card in &cards {
            print_line(&summary(card)?.to_string())?;
        }
        return Ok(status);
    }
    let blocks: Vec<String> = cards.iter().map(report::entry).collect();
    print_line(&blocks.join("\n\n"))?;
    Ok(status)
}

/// A card with its recipes as a JSON object.
fn summary(card: &DatasetCard) -> anyhow::Result<Value> {
    let mut recipes = json!({});
    for (name, recipe) in &card.recipe {
        recipes[name] = json!({
            "intensity": recipe.intensity,
            "slicing": recipe.slicing,
            "resize": recipe.resize,
            "rescale": recipe.rescale,
            "normalise": recipe.normalise,
            "split": recipe.split.clone().unwrap_or_default(),
            "allow_patient_overlap": recipe.allow_patient_overlap,
        });
    }
    Ok(json!({
        "name": card.name,
        "task": card.task,
        "modality": card.modality,
        "licence": card.licence,
        "size": card.size,
        "title": card.title,
        "source": card.source,
        "layout": card.layout,
        "classes": card.classes,
        "mask_classes": card.mask_classes,
        "tree": card.tree,
        "recipes": recipes,
    }))
}

fn show(name: &str, format: Format) -> anyhow::Result<Status> {
    let card = DatasetCard::find(name)?;
    match format {
        Format::Json => print_line(&summary(&card)?.to_string())?,
        Format::Text => print_line(&report::card(&card))?,
    }
    Ok(Status::Done)
}

fn check(args: &DatasetsArgs, name: &str, root: &Path) -> anyhow::Result<Status> {
    let (card, mut dataset) = open_dataset(name, Some(root), &args.layout)?;
    let recipe = card.recipe(args.recipe.as_deref())?;
    let asked = Asked {
        recipe: args.recipe.is_some(),
        intensity: false,
        slicing: false,
    };
    let advice = advice::of_preparing(&card, &dataset, &recipe, &asked);
    dataset.warnings.extend(advice);
    let rule = args.split.clone().or(recipe.split.clone());
    let rule = rule.unwrap_or_default();
    let rule_error = split_if_possible(&mut dataset, &rule);
    let inspection = Inspection {
        rule,
        rule_error,
        overlap_allowed: args.allow_patient_overlap || recipe.allow_patient_overlap,
        files: inspect::files(&dataset),
        inspected: inspect(&dataset, &recipe, args.pixels),
    };
    let findings = Findings::new(&dataset, inspection);
    let problems = findings.problems();
    match args.format {
        Format::Text => print_line(&report::findings(&findings, &problems))?,
        Format::Json => {
            let mut line = serde_json::to_value(&findings)?;
            line["problems"] = serde_json::to_value(&problems)?;
            print_line(&line.to_string())?;
        }
    }
    Ok(if problems.is_empty() {
        Status::Done
    } else {
        Status::Skipped
    })
}

/// Splits the dataset; else the reason, since the rest of an incomplete download is still checked.
fn split_if_possible(dataset: &mut Dataset, rule: &SplitRule) -> Option<String> {
    let error = split::divide(&mut dataset.samples, rule).err()?;
    // The hint is to run this command.
    let text = error.to_string();
    text.lines().next().map(str::to_owned)
}

/// Reads all samples, or 20 that are evenly spaced.
fn inspect(dataset: &Dataset, recipe: &Recipe, all: bool) -> Vec<Inspected> {
    let count = dataset.samples.len();
    let which = if all || count <= SPOT_CHECKS {
        (0..count).collect()
    } else {
        equidistant(count, SPOT_CHECKS)
    };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} samples, {eta} left");
    let bar = ProgressBar::new(which.len() as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let inspected = inspect::pixels(dataset, recipe, &which, &|| bar.inc(1));
    bar.finish_and_clear();
    inspected
}
