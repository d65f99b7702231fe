//! The ways in which a probe can fail.

use std::path::PathBuf;

use cache::counted;

/// An error of a probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache cannot be read.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A feature is NaN or infinite.
    #[error(
        "`{path}`: row {row} (`{sample}`) holds the feature `{value}`, expected finite numbers\nhint: the model overflowed on this image; extract again in fp32"
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
        "`{path}`: row {row} (`{sample}`) has the label `{found}`, expected one that fits {}\nhint: the cache is damaged; extract it again",
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
        "`{path}`: the dataset has no slice labels, which this probe predicts\nhint: name a labelled dataset with --dataset"
    )]
    Unlabelled {
        /// The cache's folder.
        path: PathBuf,
    },
    /// No labelled slice is in the splits asked for.
    #[error(
        "`{path}`: no labelled slice is in `{wanted}`; labelled slices by split: {found}\nhint: a probe needs slices to fit and slices to test; give the dataset a split (`extract split`), or choose others with --train and --eval"
    )]
    EmptySplit {
        /// The cache's folder.
        path: PathBuf,
        /// The splits asked for.
        wanted: String,
        /// Labelled slices in each split.
        found: String,
    },
    /// More neighbours are asked for than there are.
    #[error(
        "`{path}`: `--k {k}` exceeds the {}\nhint: give a --k of at most {most}",
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
    /// No head of a grid can be chosen.
    #[error(
        "`{path}`: no head has an AUROC on `val`: no class has both positive and negative examples there, or all heads diverged\nhint: give the dataset another split (`extract split`), or smaller --lr"
    )]
    NoChoice {
        /// The cache's folder.
        path: PathBuf,
    },
    /// The chosen head's weights overflowed when it was trained anew.
    #[error(
        "`{path}`: weights overflowed at the learning rate {learning_rate}\nhint: leave it out of --lr"
    )]
    Diverged {
        /// The cache's folder.
        path: PathBuf,
        /// The learning rate.
        learning_rate: f32,
    },
    /// A run record could not be written.
    #[error(
        "`{path}`: cannot write a run record: {source}\nhint: give a writable folder with --runs"
    )]
    Record {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}
