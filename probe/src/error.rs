//! Errors of probes.

use std::path::{Path, PathBuf};

use common::counted;
use common::disk::size;
use common::text::{argument, printable, shown};

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
    /// No image has the requested name.
    #[error(
        "`{}`: no image `{}` is in the cache\nhint: {hint}",
        shown(.path),
        printable(.word)
    )]
    NoSuchCase {
        /// The cache's folder.
        path: PathBuf,
        /// The requested sample or slice.
        word: String,
        /// Names that exist.
        hint: String,
    },
    /// A table of metadata could not be read.
    #[error(
        "`{}`: cannot read the table: {}\nhint: give a CSV or Parquet file with a column `sample`, `image` or `patient`, named as in the table `slices`",
        shown(.path),
        said(.source)
    )]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// There is no column of this name.
    #[error(
        "`{}`: no column `{}` for --colour\nhint: there is {}",
        shown(.path),
        printable(.column),
        printable(&known.join(", "))
    )]
    NoSuchColumn {
        /// The cache's folder.
        path: PathBuf,
        /// The requested column.
        column: String,
        /// Columns that exist.
        known: Vec<String>,
    },
    /// There are too few examples for a map.
    #[error(
        "`{}`: {examples} examples are too few for a map of perplexity {wanted}, which needs more than three times as many\nhint: {}",
        shown(.path),
        match most {
            0 => "give --unit slice, or extract more images".to_owned(),
            most => format!("give a --perplexity of at most {most}"),
        }
    )]
    TooFewForMap {
        /// The cache's folder.
        path: PathBuf,
        /// Examples of the cache.
        examples: usize,
        /// Requested perplexity.
        wanted: usize,
        /// The greatest possible one.
        most: usize,
    },
    /// No query has a relevant example.
    #[error(
        "`{}`: no query has a relevant example of another patient\nhint: name a dataset with labels and several patients, or give it another split (`extract split`)",
        shown(.path)
    )]
    NothingRelevant {
        /// The cache's folder.
        path: PathBuf,
    },
    /// Too few patches are foreground for principal components.
    #[error(
        "`{}`: {kept} of {all} patches are above {threshold}, which are too few for principal components\nhint: give a lower --threshold, or --no-cut",
        shown(.path)
    )]
    NoForeground {
        /// The cache's folder.
        path: PathBuf,
        /// Patches above the threshold.
        kept: usize,
        /// All patches.
        all: usize,
        /// The threshold.
        threshold: f64,
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
    /// Features and targets of logistic regression differ in number.
    #[error(
        "logistic regression: found targets of {}, expected {expected} as there are rows of features\nhint: take both from the same slices",
        counted(*found, "example")
    )]
    LogregTargets {
        /// Rows of the targets.
        found: usize,
        /// Rows of the features.
        expected: usize,
    },
    /// A label of logistic regression does not fit the classes.
    #[error(
        "logistic regression: row {row} has the label `{label}`, expected one below {classes}\nhint: the cache is damaged; extract it again"
    )]
    LogregLabel {
        /// The row, from 0.
        row: usize,
        /// The label.
        label: u32,
        /// Classes of the dataset.
        classes: usize,
    },
    /// Logistic regression did not reach the minimum for any `C`.
    #[error(
        "`{}`: logistic regression did not reach the minimum for any C\nhint: leave the largest values out of --C",
        shown(.path)
    )]
    LogregUnconverged {
        /// The cache's folder.
        path: PathBuf,
    },
    /// A feature of logistic regression is NaN or infinite.
    #[error(
        "logistic regression: row {row} holds the feature `{value}`, expected finite numbers\nhint: the model overflowed on this image; extract again in fp32"
    )]
    LogregFeature {
        /// The row, from 0.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A `C` of logistic regression is no positive number.
    #[error(
        "logistic regression: found the C `{c}`, expected a finite number above 0\nhint: the study's C run from 1e-6 to 1e5"
    )]
    LogregPenalty {
        /// The inverse of the penalty's strength.
        c: f64,
    },
    /// All examples are of one class.
    #[error(
        "logistic regression: found examples of one class only, expected two classes, or a label that some have and others lack\nhint: fit on more slices, or give the dataset another split (`extract split`)"
    )]
    LogregOneClass,
    /// linfa-logistic cannot fit this.
    #[error(
        "linfa: cannot fit at C = {c}: {}\nhint: leave out --solver linfa",
        printable(.reason)
    )]
    Linfa {
        /// The inverse of the penalty's strength.
        c: f64,
        /// Message of linfa.
        reason: String,
    },
    /// The dataset has no masks.
    #[error(
        "`{}`: the dataset has no masks, which decoders learn from\nhint: name a dataset with masks with --dataset",
        shown(.path)
    )]
    NoMasks {
        /// The cache's folder.
        path: PathBuf,
    },
    /// The requested splits have no slice with a mask.
    #[error(
        "`{}`: no slice with a mask is in `{wanted}`; slices with masks by split: {found}\nhint: {}",
        shown(.path),
        divide(.path)
    )]
    NoMaskedSlices {
        /// The cache's folder.
        path: PathBuf,
        /// Requested splits.
        wanted: String,
        /// Slices with masks in each split.
        found: String,
    },
    /// The requested split has no slices to predict.
    #[error(
        "`{}`: no slice is in `{split}`\nhint: predict --eval all",
        shown(.path)
    )]
    NoSlices {
        /// The cache's folder.
        path: PathBuf,
        /// Requested split.
        split: &'static str,
    },
    /// A class of the other splits is in no training mask.
    #[error(
        "`{}`: no mask in `train` has the class `{}`, which others have\nhint: give the dataset another split (`extract split`) and name it with --split",
        shown(.path),
        printable(.class)
    )]
    ClassAbsent {
        /// The cache's folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// Masks have values without a name although others have names.
    #[error(
        "`{}`: the masks have values without a class name: {values}\nhint: extract again with names for them, or leave such pixels out with `--unnamed-values ignore`",
        shown(.path)
    )]
    UnnamedValues {
        /// The cache's folder.
        path: PathBuf,
        /// Some of them.
        values: String,
    },
    /// The masks of a split have only background.
    #[error(
        "`{}`: the masks in `{split}` have only background\nhint: give the dataset another split (`extract split`) and name it with --split",
        shown(.path)
    )]
    OnlyBackground {
        /// The cache's folder.
        path: PathBuf,
        /// The split.
        split: String,
    },
    /// The layers of a decoder differ in shape.
    #[error(
        "`{}`: layer {layer} has tokens of another width or grid than layer 1, expected the same of all layers of a U-Net\nhint: choose --decoder linear for this backbone",
        shown(.path)
    )]
    UnevenLayers {
        /// The cache's folder.
        path: PathBuf,
        /// The layer.
        layer: u32,
    },
    /// The loss of a decoder overflowed at all learning rates.
    #[error(
        "{phase}: the loss became NaN or infinite in epoch {epoch} at every learning rate of {learning_rates}\nhint: give smaller --lr"
    )]
    SegmentDiverged {
        /// The part of the training.
        phase: &'static str,
        /// The epoch, from 1.
        epoch: usize,
        /// The learning rates.
        learning_rates: String,
    },
    /// A card or weights of a backbone cannot be used.
    #[error(transparent)]
    Backbone(#[from] onnx_models::Error),
    /// The weights of a backbone are missing.
    #[error(
        "`{}`: no such file; adaptation needs the weights of the backbone\nhint: `extract export {model}` gets them; give their folder as `--models`",
        shown(.path),
        model = shown(.model)
    )]
    NoWeights {
        /// The file.
        path: PathBuf,
        /// The backbone.
        model: String,
    },
    /// The weights of a backbone do not fit its card.
    #[error(
        "`{}`: {}\nhint: `extract export {model}` gets the weights that the card describes; give their folder as `--models`, or correct the card",
        shown(.path),
        shown(.what),
        model = shown(.model)
    )]
    UnfitWeights {
        /// The file.
        path: PathBuf,
        /// The difference.
        what: String,
        /// The backbone.
        model: String,
    },
    /// A cache was extracted with other weights.
    #[error(
        "`{}`: `{}` was extracted {what}\nhint: give the folder of those as `--models`, or extract again",
        shown(.path),
        shown(.cache)
    )]
    OtherWeights {
        /// The file of weights.
        path: PathBuf,
        /// The cache's folder.
        cache: PathBuf,
        /// The difference.
        what: String,
    },
    /// A cache lacks tokens before the adapted blocks.
    #[error("`{}`: {what}\nhint: {hint}", shown(.path))]
    NoResidual {
        /// The cache's folder.
        path: PathBuf,
        /// What is missing.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// Another process trains what was to be trained.
    #[error(
        "`{}`: another process trains these blocks with the same options on the same cache\nhint: wait until it ends; the same command then finds its record, or goes on where it was",
        shown(.path)
    )]
    Training {
        /// The file that the other process has locked.
        path: PathBuf,
    },
    /// A training would take more memory than there is.
    #[error(
        "`{}`: the training takes at least {}, and {} are available\nhint: {hint}",
        shown(.path),
        size(*needed),
        size(*available)
    )]
    Memory {
        /// The cache's folder.
        path: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are available.
        available: u64,
        /// What to do.
        hint: String,
    },
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
    /// A backbone has no blocks that can be adapted.
    #[error(
        "`{}`: `{model}` is no vision transformer of `extract models`, so it cannot be adapted\nhint: leave it out by `--model`",
        shown(.path),
        model = shown(.model)
    )]
    NotTransformer {
        /// The cache's folder.
        path: PathBuf,
        /// The backbone.
        model: String,
    },
    /// A backbone has too few blocks.
    #[error(
        "`{}`: `{model}` has {}\nhint: give fewer `--blocks`",
        shown(.path),
        counted(*depth, "block"),
        model = shown(.model)
    )]
    TooFewBlocks {
        /// The cache's folder.
        path: PathBuf,
        /// The backbone.
        model: String,
        /// Its blocks.
        depth: u32,
    },
    /// The loss of an adaptation overflowed.
    #[error(
        "`{}`: {phase}: the loss or the scores became NaN or infinite in epoch {epoch} at the learning rate {learning_rate}\nhint: give a smaller --lr, or a smaller --head-lr",
        shown(.path)
    )]
    AdaptDiverged {
        /// The cache's folder.
        path: PathBuf,
        /// The part of the training.
        phase: &'static str,
        /// The epoch, from 1.
        epoch: usize,
        /// The learning rate of the blocks.
        learning_rate: f32,
    },
    /// A decoder does not fit its input.
    #[error(
        "decoder: {0}\nhint: the U-Net needs a width that is a multiple of 8, and a saved decoder the backbone and image size of its training"
    )]
    Decoder(#[from] nn::Error),
    /// A run record could not be written.
    #[error(
        "`{}`: cannot write a run record: {}\nhint: name a writable folder with free space with --runs",
        shown(.path),
        said(.source)
    )]
    Record {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file of run records could not be read.
    #[error(
        "`{}`: cannot read the run records: {}\nhint: name another folder with --runs",
        shown(.path),
        said(.source)
    )]
    Records {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Scores or a head could not be written.
    #[error(
        "`{}`: cannot write it: {}\nhint: name a writable folder with free space with --runs",
        shown(.path),
        said(.source)
    )]
    Output {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// A file of scores or a head could not be read.
    #[error(
        "`{}`: cannot read it: {}\nhint: name a file that `probe` has written",
        shown(.path),
        said(.source)
    )]
    Input {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// A file of an earlier run is damaged.
    #[error(
        "`{}`: cannot continue with it: {}\nhint: delete it; it will be created again",
        shown(.path),
        said(.source)
    )]
    Kept {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// A decoder needs other tokens than those of a cache.
    #[error(
        "`{}`: found {found}, expected {expected} as the decoder was trained on\nhint: apply it to a cache of the same backbone and image size",
        shown(.path)
    )]
    DecoderTokens {
        /// The cache's folder.
        path: PathBuf,
        /// Tokens of the cache.
        found: String,
        /// Tokens of the decoder.
        expected: String,
    },
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
    /// There are no cases or no classes.
    #[error(
        "scores: found no cases or no classes, expected at least one of each\nhint: choose a split that has labelled slices"
    )]
    NoCases,
    /// Scores and targets differ in shape.
    #[error(
        "scores: found `{scores:?}` cases and classes, expected `{targets:?}` as targets have\nhint: take scores and targets from the same slices, of which there may be 4,294,967,295"
    )]
    ScoreShape {
        /// Shape of the scores, `[N, C]`.
        scores: [usize; 2],
        /// Shape of the targets, `[N, C]`.
        targets: [usize; 2],
    },
    /// A score is NaN or infinite.
    #[error(
        "scores: case {case} has the score `{value}` for class {class}, expected a finite number\nhint: the probe diverged; fit it with a lower learning rate or more regularisation"
    )]
    Score {
        /// The case, from 0.
        case: usize,
        /// The class, from 0.
        class: usize,
        /// The score.
        value: f64,
    },
    /// A case is of a class that has no scores.
    #[error(
        "scores: case {case} has the label `{label}`, expected one below {classes}\nhint: take scores and labels from the same dataset"
    )]
    ScoreLabel {
        /// The case, from 0.
        case: usize,
        /// The label.
        label: usize,
        /// Classes that have scores.
        classes: usize,
    },
    /// A file of scores differs from its record.
    #[error(
        "`{}`: found scores with {measure} {found}, expected {recorded} as recorded\nhint: the file was replaced; --force evaluates it again",
        shown(.path)
    )]
    OtherScores {
        /// The file.
        path: PathBuf,
        /// Name of the measure.
        measure: &'static str,
        /// The measure of the scores.
        found: f64,
        /// The measure in the record.
        recorded: f64,
    },
    /// A paired test got different cases.
    #[error(
        "scores: found cases or labels in one table that the other lacks, expected the same in both\nhint: compare runs on the same dataset and split"
    )]
    UnlikeCases,
    /// A paired test got different numbers of answers.
    #[error(
        "answers: found {found} in the second table, expected {expected} as in the first\nhint: compare runs on the same dataset and split"
    )]
    UnlikeAnswers {
        /// Answers of the second table.
        found: usize,
        /// Answers of the first.
        expected: usize,
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
    /// A confidence level is no share.
    #[error(
        "confidence level: found `{found}`, expected a number between 0 and 1\nhint: give 0.95 for 95 %"
    )]
    Level {
        /// The level.
        found: f64,
    },
    /// There are not enough patients to resample.
    #[error("bootstrap: found {found} patients, expected at least 2\nhint: evaluate more patients")]
    TooFewPatients {
        /// Patients found.
        found: usize,
    },
    /// The number of draws is 0 or too large.
    #[error(
        "bootstrap: found `{found}` draws, expected 1 to {most}\nhint: 1000 draws are enough for an interval of 95 %"
    )]
    Draws {
        /// Requested draws.
        found: usize,
        /// Maximum number of draws.
        most: usize,
    },
}

impl Error {
    /// The same error for a file of an earlier run, which can be created again.
    pub(crate) fn of_kept(self) -> Error {
        match self {
            Error::Input { path, source } => Error::Kept { path, source },
            other => other,
        }
    }
}
