//! Evaluation protocols: all differences between them.

use cache::Split;
use clap::ValueEnum;
use nn::Kind;
use serde::{Deserialize, Serialize};

use crate::made_class::MadeClass;
use crate::probes::knn::Whole;
use crate::probes::linear::{Link, Reduction};
use crate::segment::resolution::Resolution;
use crate::targets::Uncertain;

/// An evaluation protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// As published by Baharoon et al. (arXiv 2312.02366)
    Paper,
    /// Hyper-parameters chosen on `val`, standard measures, no leaks
    Strict,
}

impl Protocol {
    /// Name in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Paper => "paper",
            Protocol::Strict => "strict",
        }
    }

    /// Meaning of an uncertain label.
    pub fn uncertain(self) -> Uncertain {
        match self {
            Protocol::Paper => Uncertain::Absent,
            Protocol::Strict => Uncertain::Unknown,
        }
    }

    /// Class that is added to those of the dataset: `No Finding` of NIH ChestX-ray14, `Uncertain` of
    /// CheXpert.
    pub fn made_class(self, classes: &[String]) -> Option<MadeClass> {
        match self {
            Protocol::Paper => MadeClass::of(classes),
            Protocol::Strict => None,
        }
    }

    /// Default numbers of neighbours: those of appendix B.2, or DINOv2's.
    pub fn neighbours(self) -> &'static [usize] {
        match self {
            Protocol::Paper => &[100, 200, 400, 800, 1000],
            Protocol::Strict => &[10, 20, 100, 200],
        }
    }

    /// Split on which the number of neighbours is chosen: the study reports the best on `test`.
    pub fn neighbours_chosen_on(self) -> Split {
        match self {
            Protocol::Paper => Split::Test,
            Protocol::Strict => Split::Val,
        }
    }

    /// Neighbours over which the softmax vote for exclusive classes is normalised.
    pub fn whole(self) -> Whole {
        match self {
            Protocol::Paper => Whole::LargestK,
            Protocol::Strict => Whole::OwnK,
        }
    }

    /// Whether ML-kNN counts a training example among its own neighbours.
    pub fn counts_self(self) -> bool {
        self == Protocol::Paper
    }

    /// Reduction of the loss of multi-label heads.
    pub fn reduction(self) -> Reduction {
        match self {
            Protocol::Paper => Reduction::Sum,
            Protocol::Strict => Reduction::Mean,
        }
    }

    /// Link of linear heads: scores of exclusive classes are sigmoids of each in the study's code, else a
    /// softmax.
    pub fn link(self) -> Link {
        match self {
            Protocol::Paper => Link::Sigmoid,
            Protocol::Strict => Link::Softmax,
        }
    }

    /// AUROC of a class without positive or without negative cases in a macro mean: 0 in torchmetrics;
    /// `None` excludes the class.
    pub fn undefined_auroc(self) -> Option<f64> {
        match self {
            Protocol::Paper => Some(0.0),
            Protocol::Strict => None,
        }
    }

    /// Whether a decoder first applies a LayerNorm without weights (eps 1e-6) to tokens that did not pass the
    /// last LayerNorm of the model: the linear one in the study's code.
    pub fn norms_raw_tokens(self, decoder: Kind) -> bool {
        self == Protocol::Paper && decoder == Kind::Linear
    }

    /// Resolution at which segmentations are measured.
    pub fn resolution(self) -> Resolution {
        match self {
            Protocol::Paper => Resolution::Input,
            Protocol::Strict => Resolution::Native,
        }
    }

    /// Split on which decoders are chosen: `test` in the study's code if there is no `val`.
    pub fn chosen_on(self, has_val: bool) -> Split {
        match self {
            Protocol::Paper if !has_val => Split::Test,
            Protocol::Paper | Protocol::Strict => Split::Val,
        }
    }

    /// Splits from which few-shot runs draw, and the split on which they choose.
    pub fn few_shot_splits(self) -> (&'static [Split], Split) {
        match self {
            Protocol::Paper => (&[Split::Train, Split::Val], Split::Test),
            Protocol::Strict => (&[Split::Train], Split::Val),
        }
    }

    /// Whether a random part of `train` replaces a missing `val`.
    pub fn holds_out(self) -> bool {
        self == Protocol::Strict
    }

    /// Whether a few-shot run makes the study's single draw, and not repeated random ones.
    pub fn one_draw(self) -> bool {
        self == Protocol::Paper
    }
}
