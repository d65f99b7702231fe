//! `extract --model … --dataset …`: runs a backbone over a dataset.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheWriter, FORMAT_VERSION, Tokens, peak_rss_bytes};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::{Format, Status, eprint_line, print_line};
use crate::backbone::{Backbone, BackboneOptions};
use crate::dataset::{self, Dataset, DatasetCard, Recipe};
use crate::model::ModelCard;
use crate::pipeline::{self, Job, Outcome, Progress};
use crate::preprocess::{Augment, Intensity, NonFinitePolicy, Preprocess, Rescale, Slicing, Views};
use crate::read::Reader;
use crate::split::SplitRule;
use crate::{fingerprint, project};

/// Bytes of tensors in a shard, roughly: what a stop can lose.
const SHARD_BYTES: usize = 256 << 20;

/// Most rows in a shard.
const SHARD_ROWS: usize = 1024;

/// Time between two lines of progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What `extract` is told.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// The backbone: a card in onnx_models/
    #[arg(long)]
    pub model: String,
    /// The dataset, or its card
    #[command(flatten)]
    pub dataset: DatasetArgs,
    /// The dataset's name in the cache [default: the dataset's, or the folder's]
    #[arg(long)]
    pub name: Option<String>,
    /// Take the first N samples only
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Where caches lie
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Input size in pixels [default: the card's]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<u32>,
    /// Tokens to keep: `cls` (and means of the patch tokens), or `all` (patch tokens too)
    #[arg(long, default_value = "cls")]
    pub tokens: TokensArg,
    /// How many of the last blocks to keep
    #[arg(long, default_value_t = 5)]
    pub layers: u32,
    /// The dataset's recipe: `study` or `radiology` for those built in [default: study]
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// Intensities, instead of the recipe's: `minmax`, `window:LOW:HIGH`, `window:lung`,
    /// `percentile:LOW:HIGH`, `voi`; with `:volume` per volume, else per slice
    #[arg(long)]
    pub intensity: Option<Intensity>,
    /// How volumes are cut, instead of the recipe's: `stored-k-xy`, `axial`, `coronal`, …
    #[arg(long)]
    pub slicing: Option<Slicing>,
    /// How intensities become 0 to 1, instead of the recipe's
    #[arg(long)]
    pub rescale: Option<Rescale>,
    /// How samples are split, instead of the recipe's
    #[arg(long, value_name = "RULE")]
    pub split: Option<SplitRule>,
    /// Let a patient be in two splits
    #[arg(long)]
    pub allow_patient_overlap: bool,
    /// Augmented views of each slice to store beside the plain one
    #[arg(long, value_name = "V", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub views: u16,
    /// How views are drawn [default: by the dataset's task]
    #[arg(long)]
    pub augment: Option<Augment>,
    /// What random draws begin with
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// NaN and infinite voxels: refuse the file, or set them to 0
    #[arg(long, default_value = "error")]
    pub non_finite: NonFiniteArg,
    /// Slices in a run of the backbone
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch_size: u32,
    /// Slices after which progress is saved [default: 1024, or fewer if tokens are large]
    #[arg(long, value_name = "SLICES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub shard_rows: Option<u32>,
    /// Threads [default: the number of cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// How the summary is printed
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// Which dataset, and where.
#[derive(Debug, Args)]
pub struct DatasetArgs {
    /// The dataset: a name that `extract datasets` lists, or a TOML file that describes yours
    #[arg(long)]
    pub dataset: String,
    /// Its folder; with `manifest`, or the table itself [default: that of the TOML file]
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// Columns of a manifest that each hold one class as 1, 0, -1 or blank
    #[arg(long, value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// The channel of volumes with several: its number, its name, or `all`
    #[arg(long)]
    pub channel: Option<String>,
    /// Go on without files that the dataset should have; the number is told as a warning
    #[arg(long)]
    pub allow_missing: bool,
}

impl DatasetArgs {
    /// The card, with what the command line adds to it, and the dataset that it describes.
    pub(super) fn open(&self) -> anyhow::Result<(DatasetCard, Dataset)> {
        let mut card = DatasetCard::find(&self.dataset)?;
        let options = &mut card.options;
        if !self.label_columns.is_empty() {
            options.label_columns.clone_from(&self.label_columns);
        }
        if self.channel.is_some() {
            options.channel.clone_from(&self.channel);
        }
        options.allow_missing |= self.allow_missing;
        let root = match (&self.root, Path::new(&self.dataset).parent()) {
            (Some(root), _) => root.clone(),
            (None, Some(folder)) if self.dataset.ends_with(".toml") => {
                let is_here = folder.as_os_str().is_empty();
                if is_here {
                    PathBuf::from(".")
                } else {
                    folder.into()
                }
            }
            _ => anyhow::bail!(
                "`{}`: where is it?\nhint: give the folder of the download as `--root`",
                self.dataset
            ),
        };
        let dataset = dataset::open(&card, &root)?;
        Ok((card, dataset))
    }
}

/// The choices of `--tokens`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokensArg {
    /// CLS tokens and means of the patch tokens.
    Cls,
    /// Patch tokens too.
    All,
}

/// The choices of `--non-finite`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NonFiniteArg {
    /// The file is refused.
    Error,
    /// Such voxels become 0.
    Zero,
}

/// Extracts, and prints the summary.
pub(super) fn run(args: &ExtractArgs) -> anyhow::Result<Status> {
    let home = project::find()?;
    let card = ModelCard::read(&home, &args.model)?;
    let (dataset, recipe) = dataset_and_recipe(args)?;
    let threads = args.threads.map_or_else(cores, usize::from);
    let options = backbone_options(args, &card, threads);
    let recipe = preprocess(args, &dataset, &recipe, &card, options.image_size);
    let mut backbone = Backbone::load(&home, &card, options.clone())?;
    let meta = describe(args, &card, &dataset, &recipe, &options, &backbone)?;
    let dir = cache_dir(&args.cache, &meta)?;
    let writer = CacheWriter::open(&dir, meta)?;
    if writer.meta().complete {
        eprint_line(&format!("{}: already complete", dir.display()));
        let meta = writer.meta().clone();
        return summarise(args, &dir, &Outcome::of_finished(meta));
    }
    let job = Job {
        dataset: &dataset,
        reader: &Reader::new(&dataset.root),
        recipe: &recipe,
        batch_size: args.batch_size as usize,
        readers: threads,
    };
    let mut bar = Bar::new(dataset.samples.len() as u64, &dir);
    let outcome = pipeline::run(&job, &mut backbone, writer, &mut |p| bar.report(p))?;
    bar.finish();
    summarise(args, &dir, &outcome)
}

/// The dataset as split by the recipe, and the recipe with what the command line changes of it.
fn dataset_and_recipe(args: &ExtractArgs) -> anyhow::Result<(Dataset, Recipe)> {
    let (card, mut dataset) = args.dataset.open()?;
    let mut recipe = card.recipe(args.recipe.as_deref())?;
    recipe.intensity = args.intensity.unwrap_or(recipe.intensity);
    recipe.slicing = args.slicing.unwrap_or(recipe.slicing);
    recipe.rescale = args.rescale.unwrap_or(recipe.rescale);
    recipe.split = args.split.clone().or(recipe.split);
    recipe.allow_patient_overlap |= args.allow_patient_overlap;
    if let Some(name) = &args.name {
        dataset.name.clone_from(name);
    }
    if let Some(limit) = args.limit {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        dataset.samples.truncate(limit);
    }
    for warning in &dataset.warnings {
        eprint_line(&format!("warning: {warning}"));
    }
    Ok((dataset, recipe))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn backbone_options(args: &ExtractArgs, card: &ModelCard, threads: usize) -> BackboneOptions {
    BackboneOptions {
        image_size: args.image_size.unwrap_or(card.image_size),
        layers: args.layers,
        tokens: match args.tokens {
            TokensArg::Cls => Tokens::Cls,
            TokensArg::All => Tokens::All,
        },
        threads,
    }
}

fn preprocess(
    args: &ExtractArgs,
    dataset: &Dataset,
    recipe: &Recipe,
    card: &ModelCard,
    image_size: u32,
) -> Preprocess {
    let views = Views {
        count: args.views,
        augment: args.augment.unwrap_or(match dataset.labels_from_mask {
            true => Augment::FlipRotate,
            false => Augment::CropFlip,
        }),
        seed: args.seed,
    };
    Preprocess {
        image_size,
        slicing: recipe.slicing,
        intensity: recipe.intensity,
        resize: Default::default(),
        rescale: recipe.rescale,
        mean: card.mean,
        std: card.std,
        non_finite: match args.non_finite {
            NonFiniteArg::Error => NonFinitePolicy::Error,
            NonFiniteArg::Zero => NonFinitePolicy::Zero,
        },
        views: (args.views > 0).then_some(views),
    }
}

fn describe(
    args: &ExtractArgs,
    card: &ModelCard,
    dataset: &Dataset,
    recipe: &Preprocess,
    options: &BackboneOptions,
    backbone: &Backbone,
) -> anyhow::Result<CacheMeta> {
    let mut meta = CacheMeta {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_string(),
        dataset: dataset.name.clone(),
        task: dataset.task,
        classes: dataset.classes.clone(),
        has_masks: pipeline::has_masks(dataset),
        mask_classes: dataset.mask_classes.clone(),
        samples: dataset.samples.len() as u64,
        samples_sha256: fingerprint::of_samples(dataset)?,
        model: backbone.meta().clone(),
        image_size: options.image_size,
        tokens: options.tokens,
        layers: options.layers,
        width: card.width,
        grid: card.grid(options.image_size)?,
        dtype: "f16".to_string(),
        preprocess: serde_json::to_value(recipe)?,
        provider: "cpu".to_string(),
        precision: "fp32".to_string(),
        batch_size: args.batch_size,
        shard_rows: 0,
        rows: 0,
        shards: Vec::new(),
        skipped: Vec::new(),
        complete: false,
    };
    meta.shard_rows = shard_rows(args, &meta);
    Ok(meta)
}

/// A multiple of the batch size: so a continued run cuts the same batches as one without a stop.
fn shard_rows(args: &ExtractArgs, meta: &CacheMeta) -> u32 {
    let tokens = match meta.tokens {
        Tokens::Cls => 2,
        Tokens::All => 2 + meta.patches(),
    };
    let row_bytes = tokens * meta.layers as usize * meta.width as usize * 2;
    let fitting = u32::try_from((SHARD_BYTES / row_bytes.max(1)).clamp(1, SHARD_ROWS));
    let wanted = args.shard_rows.unwrap_or(fitting.unwrap_or(1));
    wanted.next_multiple_of(args.batch_size)
}

fn cache_dir(root: &Path, meta: &CacheMeta) -> anyhow::Result<PathBuf> {
    let plain =
        |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
    if !plain(&meta.dataset) {
        anyhow::bail!(
            "`{}` cannot name a folder\nhint: give the dataset another `--name`",
            meta.dataset
        );
    }
    let model = format!("{}@{}", meta.model.name, meta.image_size);
    Ok(root.join(&meta.dataset).join(model))
}

/// Progress on stderr: a bar on a terminal, a line every few seconds elsewhere.
struct Bar {
    bar: ProgressBar,
    started: Instant,
    printed: Instant,
    total: u64,
    first: Option<u64>,
}

impl Bar {
    fn new(total: u64, dir: &Path) -> Bar {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} samples {msg}");
        let bar = ProgressBar::new(total);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        eprint_line(&format!("writing {}", dir.display()));
        Bar {
            bar,
            started: Instant::now(),
            printed: Instant::now(),
            total,
            first: None,
        }
    }

    fn report(&mut self, progress: Progress) {
        for reason in &progress.skipped {
            self.bar
                .suspend(|| eprint_line(&format!("warning: skipped {reason}")));
        }
        let text = self.describe(&progress);
        self.bar.set_position(progress.samples);
        self.bar.set_message(text.clone());
        if !io::stderr().is_terminal() && self.printed.elapsed() >= LINE_EVERY {
            self.printed = Instant::now();
            let (done, total) = (progress.samples, self.total);
            eprint_line(&format!("{done}/{total} samples {text}"));
        }
    }

    /// Slices, slices/s and the time left, if the samples to come have as many slices.
    fn describe(&mut self, progress: &Progress) -> String {
        let first = *self.first.get_or_insert(progress.samples);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = progress.slices as f64 / seconds.max(1e-9);
        let done = progress.samples - first;
        let left = match done {
            0 => "?".to_string(),
            _ => {
                let to_do = (self.total - progress.samples) as f64;
                readable(Duration::from_secs_f64(seconds / done as f64 * to_do))
            }
        };
        format!("| {} slices, {rate:.1}/s, {left} left", progress.slices)
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn readable(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
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
            "peak_rss_bytes": peak_rss_bytes(),
            "cache": dir,
        })
        .to_string(),
        Format::Text => {
            let mut lines = vec![format!(
                "{}: {} slices of {} samples, {:.1} MB",
                dir.display(),
                meta.rows,
                meta.samples,
                meta.bytes() as f64 / 1e6
            )];
            if outcome.slices > 0 {
                lines.push(format!(
                    "{} slices in {seconds:.1} s ({rate:.2}/s), {:.0}% of the time in the backbone",
                    outcome.slices,
                    share * 100.0
                ));
            }
            if !meta.skipped.is_empty() {
                lines.push(format!("{} samples skipped:", meta.skipped.len()));
            }
            let reasons = meta.skipped.iter();
            lines.extend(reasons.map(|s| format!("  {}", s.reason.replace('\n', "\n    "))));
            lines.join("\n")
        }
    };
    print_line(&text)?;
    Ok(match meta.skipped.is_empty() {
        true => Status::Done,
        false => Status::Skipped,
    })
}
