//! `extract --model … --dataset …`: runs a backbone over a dataset.

use std::path::{Path, PathBuf};

use cache::{CacheMeta, CacheReader, CacheWriter, FORMAT_VERSION, Tokens};
use common::text::{printable, shown};
use common::{counted, peak_rss_bytes};
use imaging::preprocess::{
    Augment, NonFinitePolicy, Normalise, Preprocess, Resize, Slicing, Views,
};
use imaging::read::Reader;
use onnx_models::ModelCard;

use super::advice::{self, Asked};
use super::args::{DatasetArgs, ExtractArgs, NonFiniteArg, hide_ids, open_dataset};
use super::backbone::{Gate, Opened};
use super::progress::Bar;
use super::{Format, Status, print_line, tell, warn};
use crate::dataset::{Dataset, Recipe};
use crate::pipeline::{self, Job, Outcome};
use crate::prepare;
use crate::split::{self, Member, SplitRule};
use crate::{fingerprint, project};

/// Bytes of tensors in a shard, roughly: what a stop can lose.
const SHARD_BYTES: usize = 256 << 20;

/// Mean and standard deviation of the channels of ImageNet's images.
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Most rows in a shard.
const SHARD_ROWS: usize = 1024;

/// Extracts, and prints the summary.
pub(super) fn run(args: &ExtractArgs) -> anyhow::Result<Status> {
    if args.augment.is_some() && args.views == 0 {
        anyhow::bail!(
            "`--augment` without `--views`: there are no views to draw\nhint: say how many, for instance `--views 4`, or leave `--augment` out"
        );
    }
    args.backbone.forbid_tf32()?;
    let home = project::find()?;
    let card = args.backbone.card(&home)?;
    let (dataset, recipe, rule) = dataset_and_recipe(args)?;
    check_crop(&dataset, &recipe, args.views)?;
    let recipe = preprocess(args, &dataset, &recipe, &card);
    let dir = cache_dir(args, &dataset, &card)?;
    let begun = CacheMeta::read(&dir).ok();
    let opened = args.backbone.open(
        &home,
        &card,
        begun.as_ref().filter(|begun| !begun.is_blank()),
    )?;
    let mut meta = describe(args, &dataset, &rule, &recipe, &opened)?;
    if let Some(begun) = &begun {
        go_on_as_begun(args, &mut meta, begun);
    }
    if begun.is_some_and(|begun| begun.complete) {
        let meta = CacheReader::open_same(&dir, &meta)?.meta().clone();
        tell(&format!("{}: already complete", dir.display()));
        return summarise(args, &dir, &Outcome::of_finished(meta));
    }
    let gate = Gate {
        home: &home,
        card: &card,
        dataset: &dataset,
        recipe: &recipe,
    };
    // Before there is a cache, which would keep another precision from being tried after a failure.
    let (mut opened, parity) = args.backbone.pass(&gate, opened)?;
    let mut writer = CacheWriter::open(&dir, meta)?;
    if let Some(parity) = parity {
        writer.set_parity(serde_json::to_value(parity)?);
    }
    let job = Job {
        dataset: &dataset,
        reader: &Reader::new(&dataset.root),
        recipe: &recipe,
        pictures: writer.meta().has_pictures,
        batch_size: opened.backbone.slices_at_once(),
        readers: args.backbone.threads(),
    };
    let mut bar = Bar::new(dataset.samples.len() as u64, &dir);
    let outcome = pipeline::run(&job, &mut opened.backbone, writer, &mut |p| bar.report(p))?;
    bar.finish();
    warn(&outcome.warnings);
    summarise(args, &dir, &outcome)
}

/// The dataset as split by a rule, the recipe with what the command line changes of it, and the
/// rule.
fn dataset_and_recipe(args: &ExtractArgs) -> anyhow::Result<(Dataset, Recipe, SplitRule)> {
    let DatasetArgs {
        dataset,
        root,
        layout,
    } = &args.dataset;
    // Required by clap wherever no command is given.
    let name = dataset.as_deref().unwrap_or_default();
    let (card, mut dataset) = open_dataset(name, root.as_deref(), layout)?;
    let mut recipe = card.recipe(args.recipe.as_deref())?;
    let asked = Asked {
        recipe: args.recipe.is_some(),
        intensity: args.intensity.is_some(),
        slicing: args.slicing.is_some(),
    };
    recipe.intensity = args.intensity.unwrap_or(recipe.intensity);
    recipe.slicing = args.slicing.unwrap_or(recipe.slicing);
    check_slicing(&dataset, args.slicing)?;
    recipe.resize = args.resize.unwrap_or(recipe.resize);
    recipe.rescale = args.rescale.unwrap_or(recipe.rescale);
    recipe.normalise = args.normalise.unwrap_or(recipe.normalise);
    warn(&advice::of_preparing(&card, &dataset, &recipe, &asked));
    recipe.allow_patient_overlap |= args.allow_patient_overlap;
    let rule = args.split.clone().or(recipe.split.clone());
    let rule = rule.unwrap_or_default();
    warn(&dataset.warnings);
    warn(&split_checked(
        &mut dataset,
        &rule,
        recipe.allow_patient_overlap,
    )?);
    hide_ids(layout, &mut dataset)?;
    if let Some(name) = &args.name {
        dataset.name.clone_from(name);
    }
    if let Some(limit) = args.limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        split::limit(&mut dataset.samples, limit, args.seed);
    }
    Ok((dataset, recipe, rule))
}

/// Refuses a plane to cut in where nothing can be cut, and warns where some cannot.
fn check_slicing(dataset: &Dataset, asked: Option<Slicing>) -> anyhow::Result<()> {
    let Some(slicing) = asked.filter(|slicing| *slicing != Slicing::StoredKXy) else {
        return Ok(());
    };
    let pictures = dataset.samples.iter().filter(|sample| sample.is_picture());
    match pictures.count() {
        0 => {}
        count if count == dataset.samples.len() => anyhow::bail!(
            "`--slicing {slicing}`: all samples are pictures, which are not cut\nhint: leave it out; a plane is for volumes (NIfTI, DICOM)"
        ),
        count => tell(&format!(
            "warning: `--slicing {slicing}` changes nothing in pictures, which {} are",
            counted(count, "sample")
        )),
    }
    Ok(())
}

/// Splits the dataset by patient or not at all; gives what is worth a warning.
fn split_checked(
    dataset: &mut Dataset,
    rule: &SplitRule,
    allow_overlap: bool,
) -> anyhow::Result<Vec<String>> {
    split::divide(&mut dataset.samples, rule)?;
    let members = Member::of_samples(&dataset.samples);
    let splits: Vec<_> = dataset.samples.iter().map(|s| s.split).collect();
    let overlaps = split::overlaps(&members, &splits);
    let overlap = split::check_overlaps(&overlaps, allow_overlap)?;
    let odd = split::warnings(rule, &members, &splits);
    Ok(overlap.into_iter().chain(odd).collect())
}

/// The rule's words as a cache keeps them: a table by its name, since folders move. What it says of
/// each sample is in the samples' hash.
fn recorded(rule: &SplitRule) -> String {
    match rule {
        SplitRule::File(path) => {
            let name = path.file_name().unwrap_or_default();
            format!("file:{}", name.to_string_lossy())
        }
        rule => rule.to_string(),
    }
}

/// Masks and augmented views know nothing of a crop: tokens would lie elsewhere than they do.
fn check_crop(dataset: &Dataset, recipe: &Recipe, views: u16) -> anyhow::Result<()> {
    if recipe.resize == Resize::BicubicSquashCrop && (views > 0 || pipeline::has_masks(dataset)) {
        anyhow::bail!(
            "`{}`: the resizing `bicubic-squash-crop` is for datasets without masks, and without `--views`\nhint: give `--resize bicubic-squash`",
            printable(&dataset.name)
        );
    }
    Ok(())
}

fn preprocess(
    args: &ExtractArgs,
    dataset: &Dataset,
    recipe: &Recipe,
    card: &ModelCard,
) -> Preprocess {
    let views = Views {
        count: args.views,
        augment: args.augment.unwrap_or(if dataset.labels_from_mask {
            Augment::FlipRotate
        } else {
            Augment::CropFlip
        }),
        seed: args.seed,
    };
    let (mean, std) = match recipe.normalise {
        Normalise::Model => (card.mean, card.std),
        Normalise::Imagenet => IMAGENET,
    };
    Preprocess {
        non_finite: match args.non_finite {
            NonFiniteArg::Error => NonFinitePolicy::Error,
            NonFiniteArg::Zero => NonFinitePolicy::Zero,
        },
        views: (args.views > 0).then_some(views),
        ..prepare::preprocess(recipe, args.backbone.image_size(card), mean, std)
    }
}

fn describe(
    args: &ExtractArgs,
    dataset: &Dataset,
    rule: &SplitRule,
    recipe: &Preprocess,
    Opened { runtime, backbone }: &Opened,
) -> anyhow::Result<CacheMeta> {
    let options = backbone.options();
    let has_masks = pipeline::has_masks(dataset);
    let shapes = backbone.shapes().to_vec();
    let last = shapes.last().copied().unwrap_or_default();
    let mut meta = CacheMeta {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_string(),
        dataset: dataset.name.clone(),
        task: dataset.task,
        classes: dataset.classes.clone(),
        has_masks,
        mask_classes: dataset.mask_classes.clone(),
        ignored_mask_value: dataset.ignored_mask_value().filter(|_| has_masks),
        has_placement: true,
        has_pictures: args
            .pictures
            .unwrap_or(has_masks && options.tokens == Tokens::All),
        split: Some(recorded(rule)),
        samples: dataset.samples.len() as u64,
        samples_sha256: fingerprint::of_samples(dataset),
        model: backbone.meta().clone(),
        image_size: options.image_size,
        tokens: options.tokens,
        layers: options.layers,
        width: last.cls,
        grid: last.grid,
        shapes,
        dtype: "f16".to_string(),
        preprocess: serde_json::to_value(recipe)?,
        provider: options.device.provider.name().to_string(),
        precision: options.device.precision.name().to_string(),
        onnxruntime_version: runtime.version(),
        parity: None,
        batch_size: options.batch_size,
        shard_rows: 0,
        rows: 0,
        shards: Vec::new(),
        skipped: Vec::new(),
        complete: false,
    };
    meta.shard_rows = shard_rows(args, &meta);
    Ok(meta)
}

/// A cache that an earlier version began is finished as that one would have, but for what this run was
/// told.
fn go_on_as_begun(args: &ExtractArgs, meta: &mut CacheMeta, begun: &CacheMeta) {
    meta.has_placement = begun.has_placement;
    meta.has_pictures = args.pictures.unwrap_or(begun.has_pictures);
}

/// A multiple of the batch size: so a continued run cuts the same batches as one without a stop.
fn shard_rows(args: &ExtractArgs, meta: &CacheMeta) -> u32 {
    let fitting = SHARD_BYTES / meta.token_bytes().max(1);
    let fitting = u32::try_from(fitting.clamp(1, SHARD_ROWS));
    let wanted = args.shard_rows.unwrap_or(fitting.unwrap_or(1));
    wanted.next_multiple_of(meta.batch_size)
}

fn cache_dir(args: &ExtractArgs, dataset: &Dataset, card: &ModelCard) -> anyhow::Result<PathBuf> {
    let plain =
        |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    if !plain(&dataset.name) {
        anyhow::bail!(
            "`{}` cannot name a folder\nhint: give the dataset another `--name`",
            printable(&dataset.name)
        );
    }
    let model = format!("{}@{}", card.name, args.backbone.image_size(card));
    Ok(args.cache.join(&dataset.name).join(model))
}

fn summarise(args: &ExtractArgs, dir: &Path, outcome: &Outcome) -> anyhow::Result<Status> {
    let meta = &outcome.meta;
    let seconds = outcome.elapsed.as_secs_f64();
    let rate = outcome.slices as f64 / seconds.max(1e-9);
    let share = outcome.inference.as_secs_f64() / seconds.max(1e-9);
    let text = match args.format {
        Format::Json => serde_json::json!({
            "dataset": meta.dataset,
            "model": meta.model.name,
            "image_size": meta.image_size,
            "slices": meta.rows,
            "slices_embedded": outcome.slices,
            "skipped": meta.skipped,
            "bytes": meta.bytes(),
            "seconds": seconds,
            "slices_per_second": rate,
            "inference_share": share,
            "provider": meta.provider,
            "precision": meta.precision,
            "batch_size": meta.batch_size,
            "parity": meta.parity,
            "peak_rss_bytes": peak_rss_bytes(),
            "cache": dir,
        })
        .to_string(),
        Format::Text => {
            let mut lines = vec![format!(
                "{}: {} of {}, {:.1} MB",
                shown(dir),
                counted(meta.rows, "slice"),
                counted(meta.samples, "sample"),
                meta.bytes() as f64 / 1e6
            )];
            if outcome.slices > 0 {
                lines.push(format!(
                    "{} in {seconds:.1} s ({rate:.2}/s), {:.0}% of the time in the backbone",
                    counted(outcome.slices, "slice"),
                    share * 100.0
                ));
            }
            if !meta.skipped.is_empty() {
                lines.push(format!(
                    "{} skipped:",
                    counted(meta.skipped.len(), "sample")
                ));
            }
            let reasons = meta.skipped.iter();
            lines.extend(reasons.map(|s| format!("  {}", s.reason.replace('\n', "\n    "))));
            lines.join("\n")
        }
    };
    print_line(&text)?;
    Ok(if meta.skipped.is_empty() {
        Status::Done
    } else {
        Status::Skipped
    })
}
