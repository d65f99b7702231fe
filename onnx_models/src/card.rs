//! Model cards: one TOML file describes a backbone.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::names::TensorNames;
use crate::positions::Positions;

/// A model card, `NAME.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The name on the command line and in the cache.
    pub name: String,
    /// One line about the model.
    pub title: String,
    /// Number of parameters of the encoder.
    pub parameters: u64,
    /// Width of the last block's CLS token, `D`.
    pub width: u32,
    /// Number of blocks.
    pub depth: u32,
    /// Number of attention heads.
    pub heads: u32,
    /// Height and width of a patch in pixels; for a CNN, the stride of its last feature map.
    pub patch_size: u32,
    /// Input size that the model was trained at, in pixels.
    pub native_size: u32,
    /// Default input size, in pixels.
    pub image_size: u32,
    /// Number of the last blocks whose tokens an export gives.
    pub layers: u32,
    /// The card's own [`layers`](Self::layers), if [`with_layers`](Self::with_layers) raised them.
    #[serde(skip)]
    pub usual_layers: Option<u32>,
    /// True if an export also gives all tokens before the last LayerNorm.
    #[serde(skip)]
    pub residual: bool,
    /// Mean of each input channel.
    pub mean: [f32; 3],
    /// Standard deviation of each input channel.
    pub std: [f32; 3],
    /// Licence of the weights.
    pub licence: String,
    /// `open`, or the steps that are needed to get the weights.
    pub access: String,
    /// Web page of the model.
    pub page: Option<String>,
    /// Remarks for users.
    pub notes: Option<String>,
    /// Sources of the weights, in order of preference.
    #[serde(default)]
    pub source: Vec<Source>,
    /// Tokens of the original implementation.
    #[serde(default)]
    pub reference: Vec<Reference>,
    /// Description of a vision transformer, whose graph this crate builds.
    pub vit: Option<VitCard>,
    /// Description of a model that a Python library exports.
    pub python: Option<PythonCard>,
}

/// Tokens of the original implementation for the image `sin(0.7 c + 0.05 y + 0.03 x)` at channel `c`,
/// row `y` and column `x`, not normalised.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Input size in pixels.
    pub image_size: u32,
    /// First numbers of the last block's CLS token.
    pub cls_1: Vec<f32>,
}

/// Properties of a vision transformer besides its sizes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitCard {
    /// Naming scheme of the checkpoint's tensors.
    pub tensors: TensorNames,
    /// Activation after the first layer of an MLP.
    pub activation: Activation,
    /// Term that LayerNorm adds to the variance.
    pub epsilon: f32,
    /// Interpolation of the position table for other input sizes.
    pub positions: Positions,
    /// True if tokens go through the model's last LayerNorm.
    pub final_norm: bool,
    /// Number of register tokens.
    #[serde(default)]
    pub registers: u32,
    /// Token of the whole image.
    pub cls: Cls,
}

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x * Phi(x)` (Hendrycks and Gimpel 2016).
    Gelu,
    /// GELU approximated by tanh.
    GeluTanh,
    /// GELU approximated by `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `silu(a) * b` of the two halves of a layer (Shazeer 2020).
    Swiglu,
}

/// The token that stands for the whole image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cls {
    /// The CLS token.
    Token,
    /// The mean of the patch tokens, for models without a CLS token.
    Mean,
}

/// A model of a Python library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PythonCard {
    /// `torchvision`, `timm` or `transformers`.
    pub library: String,
    /// The model's name there.
    pub model: String,
    /// Further arguments of the model.
    #[serde(flatten)]
    pub options: BTreeMap<String, toml::Value>,
}

/// A source of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A local file.
    Local {
        /// Its path, relative to the project's folder.
        file: PathBuf,
        /// Sha256 of the file.
        sha256: Option<String>,
    },
    /// A file on the Hugging Face hub.
    Hub {
        /// Owner and name of the repository.
        repository: String,
        /// Path of the file in the repository.
        file: String,
        /// A branch or a commit.
        revision: String,
        /// Sha256 of the file.
        sha256: Option<String>,
    },
    /// A file in a Python package.
    Pypi {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// Path of the file in the wheel.
        member: String,
        /// Sha256 of the file.
        sha256: String,
    },
}

impl ModelCard {
    /// Reads a card.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Card`], and [`Error::CardValue`] if a value is out of range.
    pub fn read_file(path: &Path) -> Result<ModelCard, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        ModelCard::parse(&text, path)
    }

    /// Parses the text of a card; `path` names it in errors.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<ModelCard, Error> {
        let card: ModelCard = toml::from_str(text).map_err(|source| Error::Card {
            path: path.to_path_buf(),
            source: Box::new(source),
        })?;
        match card.fault() {
            None => Ok(card),
            Some(what) => Err(Error::CardValue {
                path: path.to_path_buf(),
                what,
            }),
        }
    }

    /// True if tokens go through the model's last LayerNorm; `None` if the card does not say.
    pub fn final_norm(&self) -> Option<bool> {
        self.vit.as_ref().map(|vit| vit.final_norm)
    }

    /// The card of a graph that gives the tokens of at least `layers` of the last blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Layers`] if the model has fewer blocks, or is not built by this crate and its export gives
    /// fewer.
    pub fn with_layers(mut self, layers: Option<u32>) -> Result<ModelCard, Error> {
        let Some(layers) = layers else {
            return Ok(self);
        };
        let most = match self.vit {
            Some(_) => self.depth,
            None => self.layers,
        };
        if layers > most {
            return Err(Error::Layers {
                model: self.name,
                found: layers,
                most,
            });
        }
        if layers > self.layers {
            self.usual_layers = Some(self.layers);
            self.layers = layers;
        }
        Ok(self)
    }

    /// The card of a graph that also gives all tokens before the last LayerNorm.
    ///
    /// # Errors
    ///
    /// [`Error::NoResidual`] if this crate does not build the model's graph.
    pub fn with_residual(mut self) -> Result<ModelCard, Error> {
        if self.vit.is_none() {
            return Err(Error::NoResidual { model: self.name });
        }
        self.residual = true;
        Ok(self)
    }

    /// Tokens of an image before the patches: CLS and registers.
    pub fn first_tokens(&self) -> u32 {
        let of = |vit: &VitCard| u32::from(vit.tensors.has_cls()) + vit.registers;
        self.vit.as_ref().map_or(0, of)
    }

    /// The card before [`with_layers`](Self::with_layers) or [`with_residual`](Self::with_residual) changed it, if one
    /// did.
    pub fn usual(&self) -> Option<ModelCard> {
        let mut card = self.clone();
        card.residual = false;
        if let Some(layers) = card.usual_layers.take() {
            card.layers = layers;
        }
        (card != *self).then_some(card)
    }

    /// Rows and columns of the patch grid for inputs of `image_size` pixels.
    ///
    /// # Errors
    ///
    /// [`Error::ImageSize`] if `image_size` is no multiple of the patch size, and [`Error::TooLarge`].
    pub fn grid(&self, image_size: u32) -> Result<[u32; 2], Error> {
        if image_size > self.most_pixels() {
            return Err(Error::TooLarge {
                model: self.name.clone(),
                found: image_size,
                most: self.most_pixels(),
            });
        }
        if image_size == 0 || !image_size.is_multiple_of(self.patch_size) {
            return Err(Error::ImageSize {
                model: self.name.clone(),
                found: image_size,
                patch: self.patch_size,
            });
        }
        Ok([image_size / self.patch_size; 2])
    }
}
