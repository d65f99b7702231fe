//! Errors of segmentation.

use std::path::PathBuf;

use common::text::{printable, shown};

use super::divide;

/// An error of segmentation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
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
    Diverged {
        /// The part of the training.
        phase: &'static str,
        /// The epoch, from 1.
        epoch: usize,
        /// The learning rates.
        learning_rates: String,
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
}
