//! Errors of adapted blocks.

use std::path::PathBuf;

use common::counted;
use common::disk::size;
use common::text::shown;

/// An error of adapted blocks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdaptError {
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
    Diverged {
        /// The cache's folder.
        path: PathBuf,
        /// The part of the training.
        phase: &'static str,
        /// The epoch, from 1.
        epoch: usize,
        /// The learning rate of the blocks.
        learning_rate: f32,
    },
}
