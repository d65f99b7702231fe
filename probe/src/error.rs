//! Errors of probes.

mod adapt;
mod explore;
mod files;
mod logreg;
mod measures;
mod segment;

use std::path::{Path, PathBuf};

use common::counted;
use common::text::{argument, printable, shown};

pub use self::adapt::AdaptError;
pub use self::explore::ExploreError;
pub use self::files::FileError;
pub use self::logreg::LogregError;
pub use self::measures::MeasureError;
pub use self::segment::SegmentError;

/// Error of another library.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Message of another library, on one line.
fn said(cause: &dyn std::fmt::Display) -> String {
    printable(&cause.to_string()).into_owned()
}

/// Advice for a dataset that lacks a split; `cache` is the folder `DATASET/MODEL@SIZE`.
fn divide(cache: &Path) -> String {
    let dataset = cache.parent().and_then(Path::file_name);
    let dataset = dataset.map(|name| name.to_string_lossy());
    let dataset = dataset.map_or("NAME".into(), |name| argument(Path::new(&*name)));
    let folder = cache.ancestors().nth(2).unwrap_or(Path::new(""));
    let folder = match folder.to_str() {
        Some("" | "embeddings") => String::new(),
        _ => format!(" --cache {}", argument(folder)),
    };
    format!(
        "divide it, for instance by `extract split --dataset {dataset} --rule random:0.7:0.1:0.2 --name main{folder}`, and give `--split main`"
    )
}

/// An error of a probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache cannot be read.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A feature is NaN or infinite.
    #[error(
        "`{}`: row {row} (`{}`) holds the feature `{value}`, expected finite numbers\nhint: the model overflowed on this image; extract again in fp32",
        shown(.path),
        printable(.sample)
    )]
    NotFinite {
        /// The cache's folder.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The row's sample.
        sample: String,
        /// The value.
        value: f32,
    },
    /// A label does not fit the classes.
    #[error(
        "`{}`: row {row} (`{}`) has the label `{found}`, expected one that fits {}\nhint: the cache is damaged; extract it again",
        shown(.path),
        printable(.sample),
        counted(*classes, "class")
    )]
    Label {
        /// The cache's folder.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The row's sample.
        sample: String,
        /// The label.
        found: String,
        /// Classes of the dataset.
        classes: usize,
    },
    /// The dataset has no labels per slice.
    #[error(
        "`{}`: the dataset has no slice labels, which this probe predicts\nhint: name a labelled dataset with --dataset",
        shown(.path)
    )]
    Unlabelled {
        /// The cache's folder.
        path: PathBuf,
    },
    /// The requested splits have no labelled example.
    #[error(
        "`{}`: no labelled {unit} is in `{wanted}`; by split there are {found}\nhint: {}",
        shown(.path),
        divide(.path)
    )]
    EmptySplit {
        /// The cache's folder.
        path: PathBuf,
        /// Requested splits.
        wanted: String,
        /// The word for an example.
        unit: &'static str,
        /// Examples in each split.
        found: String,
    },
    /// The requested number of neighbours exceeds that of the training examples.
    #[error(
        "`{}`: `--k {k}` exceeds the {}\nhint: give a --k of at most {most}",
        shown(.path),
        counted(*train, "train slice")
    )]
    TooFewNeighbours {
        /// The cache's folder.
        path: PathBuf,
        /// Requested neighbours.
        k: usize,
        /// Slices fitted on.
        train: usize,
        /// The largest possible number.
        most: usize,
    },
    /// Settings cannot be chosen by accuracy.
    #[error(
        "`{}`: accuracy needs exclusive classes, but a case of this dataset may be of several\nhint: give --select auroc",
        shown(.path)
    )]
    SelectAccuracy {
        /// The cache's folder.
        path: PathBuf,
    },
    /// An option has no effect on a cache.
    #[error(
        "`{}`: `{option}` has no effect: {why}\nhint: leave it out",
        shown(.path)
    )]
    NoEffect {
        /// The cache's folder.
        path: PathBuf,
        /// The option.
        option: &'static str,
        /// The reason, without a full stop.
        why: &'static str,
    },
    /// A cache has the name of the training dataset of a head, but other samples.
    #[error(
        "`{}`: it has the name of the dataset `{}` that the head was trained on, but other samples, or they have other labels or splits there\nhint: give `--eval test` if both are of the same data, or `--eval all` if they only have the same name; labels that `extract relabel` made are named by `--labels`",
        shown(.path),
        printable(.dataset)
    )]
    Namesake {
        /// The cache's folder.
        path: PathBuf,
        /// The dataset.
        dataset: String,
    },
    /// None of several settings can be chosen.
    #[error(
        "`{}`: {what} cannot be chosen on `{part}`: no class has both positive and negative examples there, or all diverged\nhint: give the dataset another split (`extract split`){more}",
        shown(.path)
    )]
    NoChoice {
        /// The cache's folder.
        path: PathBuf,
        /// The chosen thing.
        what: &'static str,
        /// The split that is chosen on.
        part: &'static str,
        /// Other options that may help.
        more: String,
    },
    /// The weights of the chosen head overflowed when it was trained again.
    #[error(
        "`{}`: weights overflowed at the learning rate {learning_rate}\nhint: leave it out of --lr",
        shown(.path)
    )]
    Diverged {
        /// The cache's folder.
        path: PathBuf,
        /// The learning rate.
        learning_rate: f32,
    },
    /// A card or weights of a backbone cannot be used.
    #[error(transparent)]
    Backbone(#[from] onnx_models::Error),
    /// Scores belong to another cache.
    #[error(
        "`{}`: scores of another cache than `{}`, or of this one before it was changed\nhint: name the cache of the training by `--dataset` and `--model`, or train again",
        shown(.path),
        shown(.cache)
    )]
    ScoresOfOtherCache {
        /// The folder of the training.
        path: PathBuf,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// A decoder does not fit its input.
    #[error(
        "decoder: {0}\nhint: the U-Net needs a width that is a multiple of 8, and a saved decoder the backbone and image size of its training"
    )]
    Decoder(#[from] nn::Error),
    /// Two caches hold tokens of different backbones.
    #[error(
        "`{}`: its tokens cannot be compared with those of `{}`, which are of another backbone or input size\nhint: name a cache of the same backbone and size with --against",
        shown(.path),
        shown(.other)
    )]
    OtherBackbone {
        /// A cache's folder.
        path: PathBuf,
        /// The folder of the other cache.
        other: PathBuf,
    },
    /// A head or decoder was trained on other tokens.
    #[error(
        "`{}`: found tokens of the `{}` {found}, expected {expected} as the head was trained on\nhint: apply it to a cache of the same backbone that was extracted with the same recipe, or give --allow-mismatch to apply it anyway",
        shown(.path),
        printable(.field)
    )]
    HeadTokens {
        /// The cache's folder.
        path: PathBuf,
        /// The field of the cache's `meta.json` that differs.
        field: String,
        /// The cache's value.
        found: String,
        /// The value of the cache that the head was trained on.
        expected: String,
    },
    /// A head needs other features than those of a cache.
    #[error(
        "`{}`: found {found} features, expected {expected} as the head was trained on\nhint: apply it to a cache of the same backbone",
        shown(.path)
    )]
    HeadWidth {
        /// The cache's folder.
        path: PathBuf,
        /// Features of the cache.
        found: usize,
        /// Features of the head.
        expected: usize,
    },
    /// All training examples are of one class.
    #[error(
        "`{}`: all training examples are of the class `{}`, expected several classes\nhint: give the dataset another split (`extract split`)",
        shown(.path),
        printable(.class)
    )]
    OneClass {
        /// The cache's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// Slices of a volume have different exclusive classes.
    #[error(
        "`{}`: the slices of the sample `{}` are of different classes, expected one class per volume\nhint: measure slices with `--unit slice`",
        shown(.path),
        printable(.sample)
    )]
    VolumeLabels {
        /// The cache's folder.
        path: PathBuf,
        /// The sample.
        sample: String,
    },
    /// A patient has cases of different exclusive classes.
    #[error(
        "patient `{}`: has cases of different classes, expected one class per patient\nhint: leave out --per-patient",
        printable(.patient)
    )]
    PatientLabels {
        /// The patient.
        patient: String,
    },
    /// The file of a study is wrong.
    #[error("`{}`: {}\nhint: {hint}", printable(.file), printable(.problem))]
    Study {
        /// The file, or the name of a built-in study.
        file: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// A fold has no result that can be pooled.
    #[error(
        "`{name}`: no single result with scores of the classes of the other folds, so that folds cannot be pooled\nhint: give one setting, or several of which one is chosen; `--force` repeats the evaluations"
    )]
    Fold {
        /// Name of the fold's split.
        name: String,
    },
    /// A control whose folds cannot be pooled.
    #[error(
        "the control `{control}` has no scores of cases, so that its folds cannot be pooled\nhint: `probe ls` lists the result of each fold"
    )]
    FoldOfControl {
        /// Name of the control.
        control: String,
    },
    /// A file that is read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Scores, measures and their intervals.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// Logistic regression.
    #[error(transparent)]
    Logreg(#[from] LogregError),
    /// Segmentation.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Adapted blocks.
    #[error(transparent)]
    Adapt(#[from] AdaptError),
    /// Pictures, maps and searches.
    #[error(transparent)]
    Explore(#[from] ExploreError),
}

impl Error {
    /// The same error for a file of an earlier run, which can be created again.
    pub(crate) fn of_kept(self) -> Error {
        match self {
            Error::File(FileError::Input { path, source }) => {
                Error::File(FileError::Kept { path, source })
            }
            other => other,
        }
    }
}
