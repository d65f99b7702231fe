//! Arguments of an extraction, and those that several commands share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::PatchDtype;
use clap::{Args, ValueEnum};
use common::counted;
use common::text::shown;
use imaging::preprocess::{Augment, Intensity, Normalise, Rescale, Resize, Slicing};

use super::backbone::BackboneArgs;
use super::{tell, warn};
use crate::Error;
use crate::dataset::{self, Dataset, DatasetCard, Layout, UnnamedValues};
use crate::extraction::Settings;
use crate::part::PartRule;
use crate::pseudonyms::Pseudonyms;
use crate::split::SplitRule;

/// Default folder for what lies in a bucket.
pub(super) const STAGING: &str = "staging";

/// Arguments of an extraction.
#[derive(Clone, Debug, Args)]
pub struct ExtractArgs {
    /// The backbone, and the device that computes
    #[command(flatten)]
    pub backbone: BackboneArgs,
    /// The dataset, or its card
    #[command(flatten)]
    pub dataset: DatasetArgs,
    /// Name of the dataset in the cache [default: that of the dataset, or of the folder]
    #[arg(long)]
    pub name: Option<String>,
    /// Extract only N samples, drawn by `--seed` over all classes and splits
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Folder of caches, also in a bucket (`s3://`, `gs://`, `az://`)
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// Extract only part I of N, from 1; when all parts are done, the last
    /// process joins them. `auto` takes both from a Slurm array, `auto/N`
    /// takes I from a Slurm array or a Kubernetes Job
    #[arg(
        long,
        verbatim_doc_comment,
        value_name = "I/N",
        conflicts_with = "retry_skipped"
    )]
    pub shard: Option<PartRule>,
    /// Recipe of the dataset: `study` or `radiology` for built-in datasets
    /// [default: study, else default, else the only one]
    #[arg(
        long,
        verbatim_doc_comment,
        help_heading = "Recipe",
        value_name = "NAME"
    )]
    pub recipe: Option<String>,
    /// Range of intensities, overriding the recipe: `minmax`,
    /// `window:LOW:HIGH`, `window:lung`, `percentile:LOW:HIGH`, `voi`;
    /// with `:volume` per volume, else per slice
    #[arg(long, verbatim_doc_comment, help_heading = "Recipe")]
    pub intensity: Option<Intensity>,
    /// Plane of the slices, overriding the recipe: `stored-k-xy`, `axial`, `coronal`, …
    #[arg(long, help_heading = "Recipe")]
    pub slicing: Option<Slicing>,
    /// Resizing to the model's input size, overriding the recipe
    #[arg(long, help_heading = "Recipe")]
    pub resize: Option<Resize>,
    /// Rescaling of intensities to 0..=1, overriding the recipe
    #[arg(long, help_heading = "Recipe")]
    pub rescale: Option<Rescale>,
    /// Normalisation of channels, overriding the recipe
    #[arg(long, help_heading = "Recipe")]
    pub normalise: Option<Normalise>,
    /// Split rule, overriding the recipe: `official`,
    /// `official:val=0.1:SEED`, `random:0.7:0.1:0.2:SEED`, `kfold:5:0:SEED`,
    /// `systematic:test=70,val=50`, `folds:0`, `file:PATH`, `none`
    #[arg(
        long,
        verbatim_doc_comment,
        help_heading = "Recipe",
        value_name = "RULE"
    )]
    pub split: Option<SplitRule>,
    /// Allow a patient in several splits
    #[arg(long, help_heading = "Recipe")]
    pub allow_patient_overlap: bool,
    /// Number of augmented views to store per slice, besides the original
    #[arg(long, help_heading = "Augmented views", value_name = "V", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub views: u16,
    /// Augmentation of views [default: by the dataset's task]
    #[arg(long, help_heading = "Augmented views")]
    pub augment: Option<Augment>,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Store pictures of the preprocessed slices [default: true for masks with `--tokens all`]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub pictures: Option<bool>,
    /// Element type of patch tokens: `f16`, or `int8` with a scale for each token, in half the
    /// space [default: `f16`]
    #[arg(long, value_name = "TYPE")]
    pub token_dtype: Option<TokenDtypeArg>,
    /// NaN and infinite voxels: skip the sample, or set them to 0
    #[arg(long, help_heading = "Recipe", default_value = "error")]
    pub non_finite: NonFiniteArg,
    /// Slices per shard [default: 1024, or fewer if tokens are large]
    #[arg(long, value_name = "SLICES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub shard_rows: Option<u32>,
    /// Save progress after this time, also within a shard
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub save_every: Duration,
    /// Take in samples that were skipped and can be read now, also into a
    /// finished cache; slices after the first of them are computed again
    #[arg(long, verbatim_doc_comment)]
    pub retry_skipped: bool,
    /// Name host, user and the absolute paths of dataset and cache in `history.json` of the cache;
    /// by default nothing names them
    #[arg(long, verbatim_doc_comment)]
    pub record_host: bool,
    /// Time to wait for another process that writes the same cache [default: until it has ended]
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u32>,
    /// Say more: why no GPU is used
    #[arg(long, short)]
    pub verbose: bool,
}

impl ExtractArgs {
    /// The choices of the extraction that have a default.
    pub(super) fn settings(&self) -> Result<Settings, Error> {
        Ok(Settings {
            pictures: self.pictures,
            part: self.shard.map(PartRule::part).transpose()?,
            patch_dtype: self.token_dtype.map(Into::into),
            shard_rows: self.shard_rows,
            save_every: self.save_every,
            wait: self.wait.map(|seconds| Duration::from_secs(seconds.into())),
            retry_skipped: self.retry_skipped,
            record_host: self.record_host,
        })
    }
}

/// A dataset and its folder.
#[derive(Clone, Debug, Args)]
pub struct DatasetArgs {
    /// Dataset: a name from `extract datasets`, or the TOML file of your own card
    #[arg(long, required = true)]
    pub dataset: Option<String>,
    /// Folder of the dataset, or for `manifest` the table; may lie in a bucket
    /// [default: the folder of the TOML file]
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// Options of its layout
    #[command(flatten)]
    pub layout: LayoutArgs,
}

/// Options of a layout that override its card.
#[derive(Clone, Debug, Default, Args)]
pub struct LayoutArgs {
    /// Columns of a manifest with one class each: 1, 0, -1 or blank
    #[arg(long, value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Folder of a manifest's images and masks [default: that of the manifest]
    #[arg(long, value_name = "DIR")]
    pub image_root: Option<PathBuf>,
    /// Channel of volumes with several channels: number, name or `all`
    #[arg(long)]
    pub channel: Option<String>,
    /// Pixels of masks with a value without a class: skip the sample, or exclude the pixels
    /// [default: error, or that of the card]
    #[arg(long, value_name = "WHAT")]
    pub unnamed_values: Option<UnnamedValues>,
    /// Skip samples with missing files, for instance of a partial download
    #[arg(long)]
    pub allow_missing: bool,
    /// Keep PatientID and UIDs of DICOM files in the cache; by default
    /// they are replaced by hashes
    #[arg(long, verbatim_doc_comment)]
    pub keep_ids: bool,
    /// Replace patients and the names of folders and files by hashes in
    /// the cache, for every dataset
    #[arg(long, verbatim_doc_comment, conflicts_with = "keep_ids")]
    pub mask_paths: bool,
    /// Folder for what lies in a bucket (`s3://`, `gs://`, `az://`): copies of --root, and the
    /// cache until it is uploaded
    #[arg(
        long,
        verbatim_doc_comment,
        value_name = "DIR",
        env = "SLICEBANK_STAGING",
        default_value = STAGING
    )]
    pub staging: PathBuf,
    /// Skip missing files if the layout can, even without `allow_missing`.
    #[arg(skip)]
    pub lenient: bool,
}

impl LayoutArgs {
    /// Refuses options that the card's layout does not use.
    fn check(&self, card: &DatasetCard, root: &Path) -> Result<&'static Layout, Error> {
        let layout = Layout::of(card)?;
        let given = [
            ("label_columns", !self.label_columns.is_empty()),
            ("image_root", self.image_root.is_some()),
            ("allow_missing", self.allow_missing),
            ("keep_ids", self.keep_ids),
        ];
        for (option, _) in given.iter().filter(|(_, given)| *given) {
            let spelt = format!("--{}", option.replace('_', "-"));
            layout.check(root, option, &spelt)?;
        }
        Ok(layout)
    }
}

/// The card of a dataset, with the options of the command line, and the dataset that it describes.
pub(super) fn open_dataset(
    name: &str,
    root: Option<&Path>,
    layout: &LayoutArgs,
) -> anyhow::Result<(DatasetCard, Dataset)> {
    let mut card = DatasetCard::find(name)?;
    let root = copied(root_of(name, root)?, &layout.staging)?;
    let used = layout.check(&card, &root)?;
    let options = &mut card.options;
    if !layout.label_columns.is_empty() {
        options.label_columns.clone_from(&layout.label_columns);
    }
    if let Some(images) = &layout.image_root {
        let images = copied(images.clone(), &layout.staging)?;
        options.image_root = Some(std::path::absolute(images)?);
    }
    if layout.channel.is_some() {
        options.channel.clone_from(&layout.channel);
    }
    options.unnamed_values = layout.unnamed_values.unwrap_or(options.unnamed_values);
    options.allow_missing |= layout.allow_missing || layout.lenient && used.uses("allow_missing");
    let mut dataset = dataset::open(&card, &root)?;
    let incomplete = dataset::incomplete(&card, &dataset);
    dataset.warnings.extend(incomplete);
    Ok((card, dataset))
}

/// Replaces identifiers by hashes, as `layout` asks. Called after splits are assigned, because tables of
/// splits may contain the original ids.
pub(super) fn hide_ids(layout: &LayoutArgs, dataset: &mut Dataset) -> anyhow::Result<()> {
    if layout.mask_paths || dataset.dicom_ids.is_some() && !layout.keep_ids {
        let left = dataset.hide(Pseudonyms::of_user(layout.mask_paths)?);
        warn(left.as_slice());
    }
    Ok(())
}

/// A local copy of a dataset in a bucket; a folder stays as it is.
fn copied(root: PathBuf, staging: &Path) -> anyhow::Result<PathBuf> {
    if !cache::is_in_bucket(&root) {
        return Ok(root);
    }
    let (local, done) = cache::local_copy(&root, staging)?;
    let megabytes = done.bytes as f64 / 1e6;
    tell(&format!(
        "{}: copied to {}: {}, {megabytes:.1} MB; {} unchanged",
        shown(&root),
        shown(&local),
        counted(done.files, "file"),
        done.kept
    ));
    Ok(local)
}

/// The folder that was given, else that of the TOML file.
fn root_of(name: &str, root: Option<&Path>) -> anyhow::Result<PathBuf> {
    match (root, Path::new(name).parent()) {
        (Some(root), _) => Ok(root.to_path_buf()),
        (None, Some(folder)) if name.ends_with(".toml") => {
            let is_here = folder.as_os_str().is_empty();
            Ok(if is_here {
                PathBuf::from(".")
            } else {
                folder.into()
            })
        }
        _ => anyhow::bail!(
            "`{name}`: no folder is given\nhint: give the folder of the download as `--root`"
        ),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().map(Duration::try_from_secs_f64);
    match time {
        Ok(Ok(time)) if !time.is_zero() => Ok(time),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

/// The choices of `--non-finite`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NonFiniteArg {
    /// Skip the sample
    Error,
    /// Set such voxels to 0
    Zero,
}

/// Values of `--token-dtype`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokenDtypeArg {
    /// Half precision
    F16,
    /// 8-bit integers, with a scale in single precision for each token
    Int8,
}

impl From<TokenDtypeArg> for PatchDtype {
    fn from(dtype: TokenDtypeArg) -> PatchDtype {
        match dtype {
            TokenDtypeArg::F16 => PatchDtype::F16,
            TokenDtypeArg::Int8 => PatchDtype::Int8,
        }
    }
}
