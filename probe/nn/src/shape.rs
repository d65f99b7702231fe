//! Kinds of decoders and their sizes.

use serde::Serialize;

/// The computation from tokens to logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A 1×1 convolution of one layer's tokens, resized bilinearly.
    Linear,
    /// Four steps of upsampling from the last of five layers, each joined with an earlier layer
    /// (after Ronneberger et al. 2015), resized bicubically from 16 times the grid.
    UNet,
}

impl Kind {
    /// The number of layers whose tokens a decoder takes.
    pub fn layers(self) -> usize {
        match self {
            Self::Linear => 1,
            Self::UNet => 5,
        }
    }
}

/// The sizes of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numbers of a token, D.
    pub width: usize,
    /// Classes, background included.
    pub classes: usize,
    /// Tokens of an image, `(h, w)`.
    pub grid: (usize, usize),
    /// Pixels of a side of the masks, S.
    pub size: usize,
}
