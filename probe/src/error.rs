//! Errors of probes.

use std::path::PathBuf;

use common::counted;
use common::text::{printable, shown};

/// Error of another library.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Message of another library, on one line.
fn said(cause: &dyn std::fmt::Display) -> String {
    printable(&cause.to_string()).into_owned()
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
    /// No labelled slice is in the splits asked for.
    #[error(
        "`{}`: no {unit} to use is in `{wanted}`; by split there are {found}\nhint: give the dataset another split (`extract split`) and name it with --split",
        shown(.path)
    )]
    EmptySplit {
        /// The cache's folder.
        path: PathBuf,
        /// The splits asked for.
        wanted: String,
        /// The word for an example.
        unit: &'static str,
        /// Examples in each split.
        found: String,
    },
    /// More neighbours are asked for than there are.
    #[error(
        "`{}`: `--k {k}` exceeds the {}\nhint: give a --k of at most {most}",
        shown(.path),
        counted(*train, "train slice")
    )]
    TooFewNeighbours {
        /// The cache's folder.
        path: PathBuf,
        /// Neighbours asked for.
        k: usize,
        /// Slices fitted on.
        train: usize,
        /// The largest possible number.
        most: usize,
    },
    /// Settings cannot be chosen by their accuracy.
    #[error(
        "`{}`: accuracy is of exclusive classes, and here a case may be of several\nhint: give --select auroc",
        shown(.path)
    )]
    SelectAccuracy {
        /// The cache's folder.
        path: PathBuf,
    },
    /// An option is given that means nothing for a cache.
    #[error(
        "`{}`: `{option}` has no effect: {why}\nhint: leave it out",
        shown(.path)
    )]
    NoEffect {
        /// The cache's folder.
        path: PathBuf,
        /// The option.
        option: &'static str,
        /// Why, as a sentence without its end.
        why: &'static str,
    },
    /// A cache has the name of the dataset that a head was trained on, and other samples.
    #[error(
        "`{}`: it has the name of the dataset `{}` that the head was trained on, and other samples or another split\nhint: give `--eval test` if both are of the same data, or `--eval all` if they only have the same name",
        shown(.path),
        printable(.dataset)
    )]
    Namesake {
        /// The cache's folder.
        path: PathBuf,
        /// The dataset.
        dataset: String,
    },
    /// No setting of several can be chosen.
    #[error(
        "`{}`: no {what} can be chosen on `{part}`: no class has both positive and negative examples there, or all diverged\nhint: give the dataset another split (`extract split`){more}",
        shown(.path)
    )]
    NoChoice {
        /// The cache's folder.
        path: PathBuf,
        /// What is chosen.
        what: &'static str,
        /// The split that is chosen on.
        part: &'static str,
        /// Options that may help too.
        more: String,
    },
    /// The chosen head's weights overflowed when it was trained anew.
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
    /// No logistic regression of a path reached its minimum.
    #[error(
        "`{}`: no logistic regression reached its minimum, so none can be chosen\nhint: leave the largest values out of --C",
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
    /// There is nothing to tell apart.
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
        /// What linfa says, or what it lacks.
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
    /// No slice with a mask is in the splits asked for.
    #[error(
        "`{}`: no slice with a mask is in `{wanted}`; slices with masks by split: {found}\nhint: give the dataset a split (`extract split`) and name it with --split",
        shown(.path)
    )]
    NoMaskedSlices {
        /// The cache's folder.
        path: PathBuf,
        /// The splits asked for.
        wanted: String,
        /// Slices with masks in each split.
        found: String,
    },
    /// A decoder finds nothing to predict.
    #[error(
        "`{}`: no slice is in `{split}`\nhint: predict --eval all",
        shown(.path)
    )]
    NoSlices {
        /// The cache's folder.
        path: PathBuf,
        /// The split asked for.
        split: &'static str,
    },
    /// A class is to be found that is in no mask that is learnt from.
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
    /// Masks hold values that stand for no class, though others have names.
    #[error(
        "`{}`: the masks hold values that no class is named for: {values}\nhint: extract again with names for them, or leave such pixels out with `--unnamed-values ignore`",
        shown(.path)
    )]
    UnnamedValues {
        /// The cache's folder.
        path: PathBuf,
        /// Some of them.
        values: String,
    },
    /// There is nothing to find.
    #[error(
        "`{}`: the masks in `{split}` have nothing but background\nhint: give the dataset another split (`extract split`) and name it with --split",
        shown(.path)
    )]
    OnlyBackground {
        /// The cache's folder.
        path: PathBuf,
        /// The split.
        split: String,
    },
    /// The layers that a decoder takes differ in shape.
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
    /// A decoder's loss overflowed at all learning rates.
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
    /// A decoder does not fit what it is given.
    #[error(
        "decoder: {0}\nhint: the U-Net needs a width that is a multiple of 8; a saved decoder the backbone and image size that it was trained on"
    )]
    Decoder(#[from] nn::Error),
    /// A run record could not be written.
    #[error(
        "`{}`: cannot write a run record: {}\nhint: give a folder with room that can be written to with --runs",
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
        "`{}`: cannot write it: {}\nhint: give a folder with room that can be written to with --runs",
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
    /// What was kept of an earlier run is damaged.
    #[error(
        "`{}`: cannot go on with it: {}\nhint: delete it; it is made anew",
        shown(.path),
        said(.source)
    )]
    Kept {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// A decoder is for other tokens than a cache has.
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
    /// A head or decoder is for other tokens.
    #[error(
        "`{}`: found tokens of the `{}` {found}, expected {expected} as the head was trained on\nhint: apply it to a cache of the same backbone that was extracted with the same recipe; --allow-mismatch applies it all the same",
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
    /// A head is for other features than a cache has.
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
    /// There is nothing to tell apart.
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
    /// Slices of a volume are of different classes where one is to be predicted.
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
    /// A patient has several labels where one is to be predicted.
    #[error(
        "patient `{}`: has cases of different classes, expected one class per patient\nhint: leave out --per-patient",
        printable(.patient)
    )]
    PatientLabels {
        /// The patient.
        patient: String,
    },
    /// There is nothing to measure.
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
    /// A file of scores is not the one that was recorded.
    #[error(
        "`{}`: found scores with a macro AUROC of {found}, expected {recorded} as is recorded\nhint: the file was replaced; --force evaluates it again",
        shown(.path)
    )]
    OtherScores {
        /// The file.
        path: PathBuf,
        /// Macro AUROC of the scores.
        found: f64,
        /// Macro AUROC in the record.
        recorded: f64,
    },
    /// A paired test is asked for on cases that are not the same.
    #[error(
        "scores: found cases or labels in one table that the other lacks, expected the same in both\nhint: compare runs on the same dataset and split"
    )]
    UnlikeCases,
    /// A paired test is asked for on different numbers of answers.
    #[error(
        "answers: found {found} in the second table, expected {expected} as in the first\nhint: compare runs on the same dataset and split"
    )]
    UnlikeAnswers {
        /// Answers of the second table.
        found: usize,
        /// Answers of the first.
        expected: usize,
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
    #[error(
        "bootstrap: found {found} patients, expected at least 2\nhint: evaluate more patients; one alone does not tell how patients vary"
    )]
    TooFewPatients {
        /// Patients found.
        found: usize,
    },
    /// The number of draws is 0 or too large.
    #[error(
        "bootstrap: found `{found}` draws, expected 1 to {most}\nhint: 1000 draws serve for an interval of 95 %"
    )]
    Draws {
        /// Draws asked for.
        found: usize,
        /// The most there may be.
        most: usize,
    },
}

impl Error {
    /// What was kept of an earlier run can be made anew.
    pub(crate) fn of_kept(self) -> Error {
        match self {
            Error::Input { path, source } => Error::Kept { path, source },
            other => other,
        }
    }
}
