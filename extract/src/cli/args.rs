//! What `extract` is told.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use imaging::preprocess::{Augment, Intensity, Normalise, Rescale, Resize, Slicing};

use super::backbone::BackboneArgs;
use super::{Format, warn};
use crate::Error;
use crate::dataset::{self, Dataset, DatasetCard, Layout, UnnamedValues};
use crate::pseudonyms::Pseudonyms;
use crate::split::SplitRule;

/// What `extract` is told.
#[derive(Debug, Args)]
pub struct ExtractArgs {
    /// The backbone, and the device that computes
    #[command(flatten)]
    pub backbone: BackboneArgs,
    /// The dataset, or its card
    #[command(flatten)]
    pub dataset: DatasetArgs,
    /// The dataset's name in the cache [default: the dataset's, or the folder's]
    #[arg(long)]
    pub name: Option<String>,
    /// Take N samples only, drawn by `--seed` so that all classes and splits are there
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Where caches lie
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
    /// The dataset's recipe: `study` or `radiology` for those built in [default: study]
    #[arg(long, help_heading = "Recipe", value_name = "NAME")]
    pub recipe: Option<String>,
    /// Intensities, instead of the recipe's: `minmax`, `window:LOW:HIGH`,
    /// `window:lung`, `percentile:LOW:HIGH`, `voi`; with `:volume` per volume,
    /// else per slice
    #[arg(long, verbatim_doc_comment, help_heading = "Recipe")]
    pub intensity: Option<Intensity>,
    /// How volumes are cut, instead of the recipe's: `stored-k-xy`, `axial`, `coronal`, …
    #[arg(long, help_heading = "Recipe")]
    pub slicing: Option<Slicing>,
    /// How slices are brought to the model's size, instead of the recipe's
    #[arg(long, help_heading = "Recipe")]
    pub resize: Option<Resize>,
    /// How intensities become 0 to 1, instead of the recipe's
    #[arg(long, help_heading = "Recipe")]
    pub rescale: Option<Rescale>,
    /// How channels are normalised, instead of the recipe's
    #[arg(long, help_heading = "Recipe")]
    pub normalise: Option<Normalise>,
    /// How samples are split, instead of the recipe's: `official`,
    /// `official:val=0.1:SEED`, `random:0.7:0.1:0.2:SEED`, `kfold:5:0:SEED`,
    /// `systematic:test=70,val=50`, `folds:0`, `file:PATH`, `none`
    #[arg(
        long,
        verbatim_doc_comment,
        help_heading = "Recipe",
        value_name = "RULE"
    )]
    pub split: Option<SplitRule>,
    /// Let a patient be in two splits
    #[arg(long, help_heading = "Recipe")]
    pub allow_patient_overlap: bool,
    /// Augmented views of each slice to store beside the plain one
    #[arg(long, help_heading = "Augmented views", value_name = "V", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    pub views: u16,
    /// How views are drawn [default: by the dataset's task]
    #[arg(long, help_heading = "Augmented views")]
    pub augment: Option<Augment>,
    /// What random draws begin with
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Keep pictures of the slices as the model sees them [default: with masks and `--tokens all`]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub pictures: Option<bool>,
    /// NaN and infinite voxels: refuse the file, or set them to 0
    #[arg(long, help_heading = "Recipe", default_value = "error")]
    pub non_finite: NonFiniteArg,
    /// Slices after which progress is saved [default: 1024, or fewer if tokens are large]
    #[arg(long, value_name = "SLICES", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub shard_rows: Option<u32>,
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
    /// Its folder, or for `manifest` the table itself [default: the TOML file's folder]
    #[arg(long)]
    pub root: Option<PathBuf>,
    /// What its layout is told
    #[command(flatten)]
    pub layout: LayoutArgs,
}

/// What a layout is told besides its card.
#[derive(Debug, Default, Args)]
pub struct LayoutArgs {
    /// Columns of a manifest that each hold one class as 1, 0, -1 or blank
    #[arg(long, value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// The folder of a manifest's images and masks [default: the manifest's]
    #[arg(long, value_name = "DIR")]
    pub image_root: Option<PathBuf>,
    /// The channel of volumes with several: its number, its name, or `all`
    #[arg(long)]
    pub channel: Option<String>,
    /// Pixels of masks whose value no class is named for, where others are: leave out the sample, or
    /// ignore the pixels [default: error, or as the card says]
    #[arg(long, value_name = "WHAT")]
    pub unnamed_values: Option<UnnamedValues>,
    /// Leave out samples whose files are missing, as after a partial download
    #[arg(long)]
    pub allow_missing: bool,
    /// Keep PatientID and UIDs of DICOM files as they are; by default
    /// hashes stand for them in the cache
    #[arg(long, verbatim_doc_comment)]
    pub keep_ids: bool,
    /// Let hashes stand for patients, and for the names of folders and
    /// files, in the cache, whatever the dataset
    #[arg(long, verbatim_doc_comment, conflicts_with = "keep_ids")]
    pub mask_paths: bool,
    /// Leave out missing files where the layout can, whatever the user said.
    #[arg(skip)]
    pub lenient: bool,
}

impl LayoutArgs {
    /// Refuses options that the card's layout does not heed.
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

/// The card of a dataset, with what the command line adds to it, and the dataset that it describes.
pub(super) fn open_dataset(
    name: &str,
    root: Option<&Path>,
    layout: &LayoutArgs,
) -> anyhow::Result<(DatasetCard, Dataset)> {
    let mut card = DatasetCard::find(name)?;
    let root = root_of(name, root)?;
    let heeding = layout.check(&card, &root)?;
    let options = &mut card.options;
    if !layout.label_columns.is_empty() {
        options.label_columns.clone_from(&layout.label_columns);
    }
    if let Some(images) = &layout.image_root {
        options.image_root = Some(std::path::absolute(images)?);
    }
    if layout.channel.is_some() {
        options.channel.clone_from(&layout.channel);
    }
    options.unnamed_values = layout.unnamed_values.unwrap_or(options.unnamed_values);
    options.allow_missing |=
        layout.allow_missing || layout.lenient && heeding.heeds("allow_missing");
    let mut dataset = dataset::open(&card, &root)?;
    let incomplete = dataset::incomplete(&card, &dataset);
    dataset.warnings.extend(incomplete);
    Ok((card, dataset))
}

/// Lets hashes stand for what `layout` does not keep; after splits have been assigned, which tables of
/// the user name by the original ids.
pub(super) fn hide_ids(layout: &LayoutArgs, dataset: &mut Dataset) -> anyhow::Result<()> {
    if layout.mask_paths || dataset.dicom_ids.is_some() && !layout.keep_ids {
        let left = Pseudonyms::of_user(layout.mask_paths)?.hide(dataset);
        warn(left.as_slice());
    }
    Ok(())
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
            "`{name}`: where is it?\nhint: give the folder of the download as `--root`"
        ),
    }
}

/// The choices of `--non-finite`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum NonFiniteArg {
    /// The file is refused.
    Error,
    /// Such voxels become 0.
    Zero,
}
