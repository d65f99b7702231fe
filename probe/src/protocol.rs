//! Where the published protocol and an honest one differ: here and nowhere else.

use cache::Split;
use serde::{Deserialize, Serialize};

use crate::probes::knn::Whole;
use crate::probes::linear::Reduction;
use crate::study::MadeClass;
use crate::targets::Uncertain;

/// A set of rules for evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// What Baharoon et al. (arXiv 2312.02366) published, traps included.
    Paper,
    /// Hyper-parameters chosen on `val`, standard measures, no leaks.
    Strict,
}

impl Protocol {
    /// The word for it in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Paper => "paper",
            Protocol::Strict => "strict",
        }
    }

    /// What an uncertain label counts as.
    pub fn uncertain(self) -> Uncertain {
        match self {
            Protocol::Paper => Uncertain::Absent,
            Protocol::Strict => Uncertain::Unknown,
        }
    }

    /// The class that is added to a dataset's own: `No Finding` of NIH ChestX-ray14, `Uncertain` of
    /// CheXpert.
    pub fn made_class(self, classes: &[String]) -> Option<MadeClass> {
        match self {
            Protocol::Paper => MadeClass::of(classes),
            Protocol::Strict => None,
        }
    }

    /// Numbers of neighbours where none are asked for: those of appendix B.2, or DINOv2's.
    pub fn neighbours(self) -> &'static [usize] {
        match self {
            Protocol::Paper => &[100, 200, 400, 800, 1000],
            Protocol::Strict => &[10, 20, 100, 200],
        }
    }

    /// Where the number of neighbours is chosen: the study reports the best on `test`.
    pub fn neighbours_chosen_on(self) -> Split {
        match self {
            Protocol::Paper => Split::Test,
            Protocol::Strict => Split::Val,
        }
    }

    /// The neighbours in whose weight a class has a share, by the softmax vote for exclusive classes.
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

    /// How the loss of multi-label heads is reduced.
    pub fn reduction(self) -> Reduction {
        match self {
            Protocol::Paper => Reduction::Sum,
            Protocol::Strict => Reduction::Mean,
        }
    }

    /// Whether scores of exclusive classes are their own sigmoids, as the study's code has it, and not
    /// a softmax.
    pub fn scores_by_sigmoid(self) -> bool {
        self == Protocol::Paper
    }

    /// What a class without positive or without negative cases counts as in a macro mean of AUROC:
    /// torchmetrics takes 0; `None` leaves it out.
    pub fn undefined_auroc(self) -> Option<f64> {
        match self {
            Protocol::Paper => Some(0.0),
            Protocol::Strict => None,
        }
    }

    /// Whether the linear decoder first puts a LayerNorm without weights (eps 1e-6) on tokens that have
    /// not been through the model's last one, as the study's code does.
    pub fn norms_raw_tokens(self) -> bool {
        self == Protocol::Paper
    }

    /// Whether segmentations are measured by volume, at its own resolution, and not in all pixels together.
    pub fn measures_volumes(self) -> bool {
        self == Protocol::Strict
    }

    /// Whether a part of `train` is drawn to choose on where a dataset has no `val`.
    pub fn holds_out(self) -> bool {
        self == Protocol::Strict
    }

    /// Whether a few-shot run takes the study's one draw, and not repeated random ones.
    pub fn one_draw(self) -> bool {
        self == Protocol::Paper
    }
}
