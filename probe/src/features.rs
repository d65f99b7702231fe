//! Features: the tokens that stand side by side in a row of a feature matrix.

use std::ops::Range;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Tokens that make up the features, in the order of their columns. Layer 1 is the last block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Layers whose CLS tokens come first.
    pub cls: Vec<u32>,
    /// Layers whose means of patch tokens follow.
    pub mean: Vec<u32>,
}

/// Widths of the tokens in a row of features: CLS tokens, oldest block first, then means of patch
/// tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Width of each CLS token.
    pub cls: Vec<usize>,
    /// Width of all mean patch tokens.
    pub mean: usize,
}

/// Inputs of a linear head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Number of last blocks whose CLS tokens it takes.
    pub blocks: usize,
    /// Whether it also takes the mean patch token of the last block.
    pub mean: bool,
}

/// Tokens of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
pub enum Features {
    /// The CLS token
    #[value(name = "cls")]
    #[serde(rename = "cls")]
    Cls,
    /// The mean of the patch tokens
    #[value(name = "mean-patch")]
    #[serde(rename = "mean-patch")]
    Mean,
    /// Both, one after the other
    #[value(name = "cls+mean-patch")]
    #[serde(rename = "cls+mean-patch")]
    Both,
}

impl Tokens {
    /// CLS tokens of the last `blocks` blocks, oldest first, and the mean patch token of the last one.
    pub fn last_blocks(blocks: u32) -> Tokens {
        Inputs {
            blocks: blocks as usize,
            mean: true,
        }
        .tokens()
    }
}

impl Columns {
    /// Number of features in a row.
    pub fn width(&self) -> usize {
        self.cls.iter().sum::<usize>() + self.mean
    }

    /// Columns of the features that a head takes.
    pub fn range(&self, inputs: Inputs) -> Range<usize> {
        let end = self.cls.iter().sum::<usize>();
        let taken = self.cls.iter().rev().take(inputs.blocks).sum::<usize>();
        end - taken..end + if inputs.mean { self.mean } else { 0 }
    }
}

impl Inputs {
    /// The same as tokens of a cache.
    pub fn tokens(self) -> Tokens {
        Tokens {
            cls: (1..=self.blocks as u32).rev().collect(),
            mean: if self.mean { vec![1] } else { Vec::new() },
        }
    }
}

impl Features {
    /// The same as tokens of a cache, of the block `layer`.
    pub(crate) fn tokens(self, layer: u32) -> Tokens {
        let layer_if = |wanted: bool| if wanted { vec![layer] } else { Vec::new() };
        Tokens {
            cls: layer_if(self != Features::Mean),
            mean: layer_if(self != Features::Cls),
        }
    }
}
