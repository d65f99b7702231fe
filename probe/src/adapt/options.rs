//! Options of an adaptation.

use clap::ValueEnum;
use nn::transformer::{self, Optimiser};
use serde::{Deserialize, Serialize, Serializer};

use crate::evaluate::Select;

/// What of the last blocks is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Low-rank adapters of queries, keys and values and of the MLP
    Lora,
    /// All biases
    Bitfit,
    /// All parameters
    Full,
}

/// A rule by which gradients change parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rule {
    /// AdamW
    Adamw,
    /// Gradient descent with momentum 0.9
    Sgd,
}

/// The most last blocks, the highest rank and the largest batch.
pub(crate) const MOST_BLOCKS: u32 = 4;
pub(crate) const MOST_RANK: u32 = 1024;
pub(crate) const MOST_EXAMPLES: u32 = 65_536;

/// Options of an adaptation, as they are recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Number of last blocks, `n`.
    pub(crate) blocks: u32,
    pub(crate) method: Method,
    /// Rank of adapters, and the number by which their results are multiplied, times the rank; dropout of
    /// their inputs. `None` for other methods.
    pub(crate) lora: Option<LoraOptions>,
    /// Initial learning rate of the blocks.
    #[serde(serialize_with = "decimal")]
    pub(crate) learning_rate: f32,
    /// Initial learning rate of the head.
    #[serde(serialize_with = "decimal")]
    pub(crate) head_learning_rate: f32,
    pub(crate) optimiser: Rule,
    #[serde(serialize_with = "decimal")]
    pub(crate) weight_decay: f32,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    /// Epochs without a better result on `val` after which training ends.
    pub(crate) patience: Option<usize>,
    pub(crate) select: Select,
}

/// Options of low-rank adapters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoraOptions {
    pub(crate) rank: u32,
    #[serde(serialize_with = "decimal")]
    pub(crate) alpha: f32,
    #[serde(serialize_with = "decimal")]
    pub(crate) dropout: f32,
}

impl Method {
    /// Name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Method::Lora => "lora",
            Method::Bitfit => "bitfit",
            Method::Full => "full",
        }
    }

    /// The default learning rate of the blocks: that of the study for adapters (appendix B.3), and of its rates for
    /// fine-tuning (B.1) the largest for biases and a small one for all parameters.
    pub(crate) fn learning_rate(self) -> f32 {
        match self {
            Method::Lora => 2e-4,
            Method::Bitfit => 5e-4,
            Method::Full => 1e-5,
        }
    }
}

impl Options {
    /// Whether blocks can be built by them, as the command line makes sure; those in a file may be any.
    pub(crate) fn are_usable(&self) -> bool {
        let lora_fits = match (self.method, self.lora) {
            (Method::Lora, Some(lora)) => {
                (1..=MOST_RANK).contains(&lora.rank)
                    && lora.alpha.is_finite()
                    && (0.0..1.0).contains(&lora.dropout)
            }
            (method, lora) => method != Method::Lora && lora.is_none(),
        };
        lora_fits
            && (1..=MOST_BLOCKS).contains(&self.blocks)
            && (1..=MOST_EXAMPLES as usize).contains(&self.batch_size)
    }

    /// The method for a backbone; `is_split` says whether queries, keys and values have three layers.
    pub(super) fn method(&self, is_split: bool) -> transformer::Method {
        match (self.method, self.lora) {
            (Method::Bitfit, _) => transformer::Method::BitFit,
            (Method::Lora, Some(lora)) => transformer::Method::Lora(transformer::Lora {
                rank: lora.rank as usize,
                alpha: lora.alpha,
                dropout: lora.dropout,
                is_split,
            }),
            (Method::Full | Method::Lora, _) => transformer::Method::Full,
        }
    }

    pub(super) fn optimiser(&self) -> Optimiser {
        match self.optimiser {
            Rule::Adamw => Optimiser::AdamW {
                decay: self.weight_decay,
            },
            Rule::Sgd => Optimiser::Sgd { momentum: 0.9 },
        }
    }
}

/// The number that has the shortest decimal of `value`: 0.1 for the f32 nearest to it.
pub(super) fn shortest(value: f32) -> f64 {
    let decimal = value.to_string();
    decimal.parse().unwrap_or(f64::from(value))
}

fn decimal<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(shortest(*value))
}
