//! Sizes of a network and what of it is trained.

use super::activation::Activation;
use crate::error::Error;

/// Images that a thread computes at once.
pub(super) const CHUNK: usize = 2;
/// The largest number of groups of images of a batch, each with gradients of its own: the memory that gradients take does
/// not grow with the batch. Threads compute groups, and results depend on their number, so it depends on the method alone.
const GROUPS: usize = 16;
/// The same if all parameters are trained, whose gradients are large.
const GROUPS_OF_ALL: usize = 8;

/// Sizes of a network of the last blocks of a vision transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Encoder {
    /// Width `D` of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Inputs of the second layer of an MLP.
    pub hidden: usize,
    /// Tokens `T` of an image: CLS, registers and patches.
    pub tokens: usize,
    /// The activation of the MLPs.
    pub activation: Activation,
    /// The number that LayerNorms add to the variance.
    pub epsilon: f32,
    /// The token that stands for the image.
    pub pooling: Pooling,
    /// Outputs `O` of the head.
    pub outputs: usize,
}

/// The token that stands for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first, CLS. Of the last block, only this one is computed.
    First,
    /// The mean of all.
    Mean,
}

/// What of the blocks is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Low-rank adapters of queries, keys and values and of both layers of the MLP (Hu et al. 2021).
    Lora(Lora),
    /// All biases, those of LayerNorms included (Zaken et al. 2022).
    BitFit,
    /// Every parameter.
    Full,
}

/// Options of low-rank adapters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lora {
    /// The rank `r`.
    pub rank: usize,
    /// The results are multiplied by `alpha / r`.
    pub alpha: f32,
    /// Share of an adapter's inputs that a step drops.
    pub dropout: f32,
    /// Whether queries, keys and values have an adapter each, as three layers have, and not one together.
    pub is_split: bool,
}

impl Method {
    /// Images of a batch of `images` whose gradients are added to the same copy.
    pub(super) fn group(self, images: usize) -> usize {
        match self {
            // Adapters and biases are few: smaller groups let more threads work.
            Method::Lora(_) | Method::BitFit => images.div_ceil(GROUPS).next_multiple_of(CHUNK),
            Method::Full => {
                let images = images.div_ceil(GROUPS_OF_ALL);
                images.next_multiple_of(2 * CHUNK)
            }
        }
    }

    /// Copies of the gradients that a step on `images` images holds.
    pub fn copies(self, images: usize) -> usize {
        images.div_ceil(self.group(images).max(1))
    }
}

impl Encoder {
    /// Numbers that a thread holds of the images that it computes in `blocks` blocks: inputs and results of their
    /// layers, which the backward pass needs.
    pub fn chunk_numbers(&self, blocks: usize) -> usize {
        let Encoder {
            width,
            heads,
            hidden,
            tokens,
            ..
        } = *self;
        let of_block = |queries: usize| {
            // Input, the first LayerNorm, keys and values; queries, attention, the second LayerNorm, the MLP.
            let of_tokens = 5 * width;
            let of_queries = 7 * width + (self.activation.gates() + 1) * hidden + heads * tokens;
            tokens * of_tokens + queries * of_queries
        };
        let last = match self.pooling {
            Pooling::First => 1,
            Pooling::Mean => tokens,
        };
        CHUNK * (blocks.saturating_sub(1) * of_block(tokens) + of_block(last))
    }

    pub(super) fn check(&self, method: Method) -> Result<(), Error> {
        let sizes = [
            self.width,
            self.heads,
            self.hidden,
            self.tokens,
            self.outputs,
        ];
        if sizes.contains(&0) {
            return Err(Error::Shape("every size must be at least one"));
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(Error::Shape(
                "the width is no multiple of the number of heads",
            ));
        }
        if let Method::Lora(lora) = method {
            if lora.rank == 0 || !lora.alpha.is_finite() {
                return Err(Error::Shape(
                    "the rank must be at least one, and alpha finite",
                ));
            }
            if !(0.0..1.0).contains(&lora.dropout) {
                return Err(Error::Shape("dropout must be from 0 to below 1"));
            }
        }
        Ok(())
    }
}
