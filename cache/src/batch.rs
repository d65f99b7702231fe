//! Rows of slices and their tokens, as they pass from stage one to stage two.

use common::{Mask, Picture, Placement};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::PatchTokens;

/// The part of a dataset that a slice belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Fitted on.
    Train,
    /// Used to choose hyper-parameters.
    Val,
    /// Reported.
    Test,
}

impl Split {
    /// Every split, in the order in which they are shown.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// The name in files and messages: `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }

    /// The split that a dataset's file means by `word`, in any of the spellings in use
    /// (`training`, `validation`, `valid`, `dev`, `testing`, `eval`, …), or `None`.
    pub fn parse(word: &str) -> Option<Split> {
        match word.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Some(Split::Train),
            "val" | "valid" | "validation" | "dev" => Some(Split::Val),
            "test" | "testing" | "eval" | "evaluation" => Some(Split::Test),
            _ => None,
        }
    }
}

/// Kind of prediction from a slice; the same for every slice of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// No slice-level labels.
    Unlabelled,
    /// One class out of several.
    SingleLabel,
    /// Each class present or absent on its own.
    MultiLabel,
}

/// A slice's labels; the variant agrees with the dataset's [`Task`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Labels {
    /// The dataset is [`Task::Unlabelled`].
    Unlabelled,
    /// The index into the class names, or `None` where the label is blank.
    Single(Option<u32>),
    /// Per class 1 (present), 0 (absent), -1 (uncertain) or `None` (blank).
    Multi(Vec<Option<i8>>),
}

/// One slice without its tokens: a row of the `slices` table.
#[derive(Clone, Debug, PartialEq)]
pub struct SliceMeta {
    /// The sample (source file, or part of one) that the slice was cut from; unique in a dataset.
    pub sample: String,
    /// Path of the image, relative to the dataset's root, with `/` between folders.
    pub image: String,
    /// The patient, where known.
    pub patient: Option<String>,
    /// Position along the slicing axis of the source file, from 0.
    pub slice: u32,
    /// 0 for the plain image, 1 and up for augmented views of it.
    pub view: u16,
    /// The split, where the dataset has one.
    pub split: Option<Split>,
    /// The labels.
    pub labels: Labels,
    /// Native height of the slice in pixels.
    pub height: u32,
    /// Native width of the slice in pixels.
    pub width: u32,
    /// Distance between slices, rows and columns in mm, where the file says it.
    pub spacing_mm: Option<[f32; 3]>,
    /// Position of the source's slices, if known; `None` for augmented views, whose pixels were
    /// moved. Kept if the cache `has_placement`.
    pub placement: Option<Placement>,
}

/// The tokens of `B` slices from `L` blocks of a backbone.
///
/// Each block has an array of its own, since each has a column of its own in the cache. Blocks are
/// ordered oldest first: of `L` blocks, entry `i` is layer `L - i`, and layer 1 is the last block.
/// Each block has its own `P` and `D`, and its own `D` of CLS tokens, as
/// [`CacheMeta::shape`](crate::CacheMeta::shape) says.
#[derive(Clone, Debug)]
pub struct TokenBatch {
    /// `B` rows.
    pub slices: Vec<SliceMeta>,
    /// CLS tokens, `L` arrays `[B, D]`.
    pub cls: Vec<Array2<f32>>,
    /// Means of the patch tokens, `L` arrays `[B, D]`.
    pub mean: Vec<Array2<f32>>,
    /// Patch tokens, `L` times `[B, P, D]`; empty where only CLS tokens are kept.
    pub patch: Vec<PatchTokens>,
    /// One mask per slice, `None` where a slice has none; empty where the dataset has no masks.
    pub masks: Vec<Option<Mask>>,
    /// Input of the backbone for each slice, `B` arrays `[S, S]`, as grey; empty if the cache keeps no
    /// pictures.
    pub pictures: Vec<Picture>,
}
