//! Sizes of a network and what of it is trained.

use super::activation::Activation;
use crate::error::Error;

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

impl Encoder {
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
