//! `extract verify --repair`: extracts damaged shards again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use cache::{CacheLock, CacheMeta, Depth, Fault, Repair, Staged};
use clap::{Args, ValueEnum};
use common::counted;
use common::text::{printable, shown};
use onnx_models::ModelCard;

use super::again::{Again, recipe};
use super::args::LayoutArgs;
use super::{tell, tell_of_lock, warn};
use crate::backbone::{Precision, Provider, Runtime};
use crate::extraction::{BackboneChoice, Event, Extraction, Settings};
use crate::project;
use crate::split::SplitRule;

/// What a cache does not say of its extraction.
#[derive(Debug, Args)]
#[command(next_help_heading = "Repair")]
pub struct RepairArgs {
    /// Extract damaged shards again, so that the cache is as it was; model, recipe and
    /// split are those in `meta.json`
    #[arg(long)]
    pub repair: bool,
    /// Dataset: a name from `extract datasets`, or a TOML file [default: that of the cache]
    #[arg(long, requires = "repair")]
    pub dataset: Option<String>,
    /// ONNX file of a model of your own
    #[arg(long, value_name = "FILE", requires_all = ["repair", "card"])]
    pub onnx: Option<PathBuf>,
    /// Card of the ONNX file
    #[arg(long, value_name = "FILE", requires = "onnx")]
    pub card: Option<PathBuf>,
    /// Split rule of the extraction, if it was a table: `file:PATH`
    #[arg(
        long,
        help_heading = "Repair",
        value_name = "RULE",
        requires = "repair"
    )]
    pub split: Option<SplitRule>,
    /// `--limit` of the extraction
    #[arg(long, value_name = "N", requires = "repair")]
    pub limit: Option<usize>,
    /// `--seed` of the extraction
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Options of the dataset's layout, as for the extraction
    #[command(flatten)]
    pub layout: LayoutArgs,
}

/// Sorted numbers of the shards that have faults.
pub(super) fn damaged(faults: &[Fault]) -> Vec<usize> {
    let shards: BTreeSet<usize> = faults.iter().filter_map(|fault| fault.shard).collect();
    shards.into_iter().collect()
}

/// Repairs the sorted `shards` of the cache `dir`. That of a bucket is repaired in a copy of what is needed, below
/// `--staging`.
pub(super) fn repair(
    args: &RepairArgs,
    dir: &Path,
    how: (Option<&Path>, usize),
    shards: &[usize],
) -> anyhow::Result<()> {
    tell_of_lock(dir);
    if !cache::is_in_bucket(dir) {
        return repair_folder(args, dir, how, shards);
    }
    refuse_part(&CacheMeta::read(dir)?, dir)?;
    let staged = Staged::to_repair(CacheLock::of(dir)?, &args.layout.staging, shards)?;
    repair_folder(args, staged.dir(), how, shards)?;
    Ok(staged.replace(shards)?)
}

fn refuse_part(meta: &CacheMeta, dir: &Path) -> anyhow::Result<()> {
    meta.part.map_or(Ok(()), |part| {
        Err(anyhow!(
            "`{}`: parts of a cache cannot be repaired\nhint: delete this folder and extract the part again, with `--shard {}/{}`",
            shown(dir),
            part.index,
            part.of
        ))
    })
}

fn repair_folder(
    args: &RepairArgs,
    dir: &Path,
    (root, threads): (Option<&Path>, usize),
    shards: &[usize],
) -> anyhow::Result<()> {
    let begun = Repair::begin(dir)?;
    let meta = begun.meta().clone();
    refuse_part(&meta, dir)?;
    for &shard in shards {
        begun.restore_checksums(shard)?;
    }
    drop(begun);
    let left = damaged(&cache::verify(dir, Depth::Full, threads)?.faults);
    // A copy has no other shards than those that are repaired.
    let left: Vec<usize> = left
        .into_iter()
        .filter(|shard| shards.contains(shard))
        .collect();
    let restored = shards.len() - left.len();
    let name = shown(&cache::original_path(dir, &args.layout.staging));
    if restored > 0 {
        let shards = counted(restored, "shard");
        tell(&format!("{name}: checksums of {shards} restored"));
    }
    if left.is_empty() {
        return Ok(());
    }
    let root = root.with_context(|| {
        format!(
            "`{name}`: {} damaged, and no folder of the dataset is given\nhint: give it as `--root`",
            counted(left.len(), "shard")
        )
    })?;
    extract_again(args, dir, &meta, (root, threads), &left)?;
    tell(&format!(
        "{name}: {} repaired",
        counted(left.len(), "shard")
    ));
    Ok(())
}

fn extract_again(
    args: &RepairArgs,
    dir: &Path,
    meta: &CacheMeta,
    (root, threads): (&Path, usize),
    shards: &[usize],
) -> anyhow::Result<()> {
    if meta.imported.is_some() {
        bail!(
            "`{}`: its tokens were imported, so they cannot be computed again\nhint: delete it (`extract rm`) and repeat `extract import-tokens`",
            shown(dir)
        );
    }
    let home = project::find()?;
    let card = match &args.card {
        Some(file) => ModelCard::read_file(file)?,
        None => ModelCard::read(&project::models(&home), &meta.model.name).map_err(|_| {
            let (dir, model) = (shown(dir), printable(&meta.model.name));
            anyhow!("`{dir}`: extracted with `{model}`, which is no model of `extract models`\nhint: give its ONNX file and card as `--onnx` and `--card`")
        })?,
    };
    let layers = Some(meta.layers).filter(|_| args.onnx.is_none());
    let card = card.with_layers(layers)?;
    let again = Again {
        dataset: args.dataset.as_deref(),
        split: args.split.as_ref(),
        limit: args.limit,
        seed: args.seed,
        layout: &args.layout,
    };
    let (dataset, rule) = again.dataset(dir, meta, root)?;
    let recipe = recipe(dir, meta)?;
    let provider = Provider::from_str(&meta.provider, false).ok();
    let backbone = BackboneChoice {
        onnx: args.onnx.clone(),
        image_size: Some(meta.image_size),
        tokens: Some(meta.tokens),
        layers: Some(meta.layers),
        provider,
        precision: Precision::from_str(&meta.precision, false).ok(),
        parity_slices: 0,
        batch_size: Some(meta.batch_size),
        threads: Some(threads),
        ..BackboneChoice::default()
    };
    let runtime = Runtime::load(&home, provider != Some(Provider::Cpu))?;
    // Ctrl-C ends the program at once: damaged shards stay until new ones replace them.
    let stop = AtomicBool::new(false);
    let extraction = Extraction {
        runtime: &runtime,
        home: &home,
        card: &card,
        backbone: &backbone,
        dataset: &dataset,
        rule: &rule,
        recipe: &recipe,
        caches: dir,
        settings: Settings {
            patch_dtype: Some(meta.patch_dtype),
            save_every: Duration::MAX,
            wait: Some(Duration::ZERO),
            ..Settings::default()
        },
        staging: &args.layout.staging,
        stop: &stop,
    };
    extraction.repair(dir, shards, &mut |event| match event {
        Event::Message(text) => tell(&text),
        Event::Warning(text) => warn(&[text]),
        Event::Detail(_) | Event::Locking(_) | Event::Writing(_) | Event::Progress(_) => {}
    })?;
    Ok(())
}
