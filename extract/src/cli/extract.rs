//! `extract --model … --dataset …`: extracts a dataset.

use cache::{CacheMeta, CacheReader};
use common::text::shown;
use common::{counted, peak_rss_bytes};
use imaging::preprocess::{Augment, NonFinitePolicy, Normalise, Preprocess, Slicing, Views};
use onnx_models::ModelCard;

use super::advice::{self, Asked};
use super::args::{DatasetArgs, ExtractArgs, NonFiniteArg, hide_ids, open_dataset};
use super::contents::Contents;
use super::progress::{Bar, Total};
use super::signals::Signals;
use super::{Format, Status, print_line, tell, warn};
use crate::backbone::{Provider, Runtime};
use crate::dataset::{Dataset, Recipe};
use crate::extraction::{Event, Extraction, SliceCount, Summary};
use crate::split::{self, SplitRule};
use crate::{prepare, project};

/// Maximum number of samples whose slices are counted before they are read.
const FEW: usize = 100;

/// Mean and standard deviation of the channels of ImageNet's images.
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// Extracts, and prints progress and summary.
pub(super) fn run(args: &ExtractArgs, format: Format) -> anyhow::Result<Status> {
    if args.augment.is_some() && args.views == 0 {
        anyhow::bail!(
            "`--augment` without `--views`: there are no views to augment\nhint: give their number, for instance `--views 4`, or leave `--augment` out"
        );
    }
    args.backbone.forbid_tf32()?;
    let signals = Signals::register(&args.dataset.layout.staging)?;
    let home = project::find()?;
    let card = args.backbone.card(&home)?;
    let (dataset, recipe, rule) = dataset_and_recipe(args)?;
    let backbone = args.backbone.choice();
    let runtime = Runtime::load(&home, backbone.provider != Some(Provider::Cpu))?;
    let recipe = preprocess(args, &dataset, &recipe, &card, backbone.image_size(&card));
    let extraction = Extraction {
        runtime: &runtime,
        home: &home,
        card: &card,
        backbone: &backbone,
        dataset: &dataset,
        rule: &rule,
        recipe: &recipe,
        caches: &args.cache,
        staging: &args.dataset.layout.staging,
        settings: args.settings()?,
        stop: &signals.stop,
    };
    let mut bar = Bar::new(total(&extraction)?);
    let summary = extraction.run(&mut |event| {
        signals.go_on();
        match event {
            Event::Message(text) => tell(&text),
            Event::Detail(text) if args.verbose => tell(&text),
            Event::Detail(_) => {}
            Event::Warning(text) => warn(&[text]),
            Event::Locking(dir) => signals.locking(dir),
            Event::Writing(dir) => {
                signals.save_first();
                bar.start(&dir);
            }
            Event::Progress(progress) => bar.report(progress),
        }
    })?;
    bar.finish();
    warn(&summary.outcome.warnings);
    if !summary.outcome.meta.complete {
        tell(&stopped(&summary.outcome.meta, &extraction));
        return Ok(Status::Stopped(signals.exit_code()));
    }
    summarise(format, &summary)
}

/// What progress counts: samples, or slices if few samples have many.
fn total(extraction: &Extraction<'_>) -> anyhow::Result<Total> {
    let samples = extraction.samples()?;
    if samples.len() > FEW {
        return Ok(Total::Samples(samples.len() as u64));
    }
    let slices = SliceCount::of(extraction.dataset, samples, extraction.recipe);
    Ok(Total::Slices(slices.rows))
}

/// Where a run has stopped, as far as the number of all slices is known.
fn stopped(meta: &CacheMeta, extraction: &Extraction<'_>) -> String {
    if meta.saved_rows() == 0 {
        return "stopped before the first slice; the same command continues".to_owned();
    }
    let of = extraction.slices().map_or_else(
        || format!(" ({})", counted(meta.samples, "sample")),
        |all| format!(" of {all}"),
    );
    format!(
        "stopped at slice {}{of}; the same command continues",
        meta.saved_rows()
    )
}

/// The dataset with its splits, the recipe with the overrides of the command line, and the split rule.
pub(super) fn dataset_and_recipe(
    args: &ExtractArgs,
) -> anyhow::Result<(Dataset, Recipe, SplitRule)> {
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
    warn(&split::divide_checked(
        &mut dataset.samples,
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

/// Refuses a plane if no sample is a volume, and warns if some are not.
fn check_slicing(dataset: &Dataset, asked: Option<Slicing>) -> anyhow::Result<()> {
    let Some(slicing) = asked.filter(|slicing| *slicing != Slicing::StoredKXy) else {
        return Ok(());
    };
    let pictures = dataset.samples.iter().filter(|sample| sample.is_picture());
    match pictures.count() {
        0 => {}
        count if count == dataset.samples.len() => anyhow::bail!(
            "`--slicing {slicing}`: all samples are pictures\nhint: leave it out; a plane is for volumes (NIfTI, DICOM)"
        ),
        count => tell(&format!(
            "warning: `--slicing {slicing}` has no effect on {}, which are pictures",
            counted(count, "sample")
        )),
    }
    Ok(())
}

pub(super) fn preprocess(
    args: &ExtractArgs,
    dataset: &Dataset,
    recipe: &Recipe,
    card: &ModelCard,
    image_size: u32,
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
        ..prepare::preprocess(recipe, image_size, mean, std)
    }
}

fn summarise(format: Format, Summary { dir, outcome }: &Summary) -> anyhow::Result<Status> {
    let meta = &outcome.meta;
    let seconds = outcome.elapsed.as_secs_f64();
    let rate = outcome.slices as f64 / seconds.max(1e-9);
    let share = outcome.inference.as_secs_f64() / seconds.max(1e-9);
    // A cache in a bucket would have to be copied back; a part is joined later.
    let contents = if cache::is_in_bucket(dir) || meta.part.is_some() {
        None
    } else {
        Some(Contents::of(&CacheReader::open(dir)?)?)
    };
    let text = match format {
        Format::Json => serde_json::json!({
            "dataset": meta.dataset,
            "model": meta.model.name,
            "image_size": meta.image_size,
            "slices": meta.rows,
            "splits": contents.as_ref().map(Contents::json),
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
            "part": meta.part,
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
            lines.extend(contents.as_ref().map(Contents::text));
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
