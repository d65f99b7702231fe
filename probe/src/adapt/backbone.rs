//! The last blocks of the backbone of a cache.

use std::path::Path;

use cache::{CacheReader, Tokens};
use nn::transformer::{Activation, BlockWeights, Encoder, LayerWeights, Network, Pooling};
use onnx_models::{Affine, Block, Cls, Flavour, LastBlocks, ModelCard, VitCard};

use super::options::Options;
use crate::Error;
use crate::error::AdaptError;

/// The last blocks of a backbone, with their weights.
pub(super) struct Backbone {
    pub(super) last: LastBlocks,
    pub(super) encoder: Encoder,
    /// The hash of the file of weights.
    pub(super) weights_sha256: String,
    /// Parameters of the whole encoder.
    pub(super) parameters: u64,
    /// Whether a slice has a token of the whole image before the patches, and how many registers follow it.
    pub(super) first: FirstTokens,
    pub(super) warnings: Vec<String>,
}

/// The tokens of a slice before the patches.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstTokens {
    /// Whether there is a CLS token.
    pub(super) has_cls: bool,
    /// Whether it is what the table `cls` holds.
    pub(super) is_kept: bool,
    pub(super) registers: u32,
    /// Whether tokens go through the last LayerNorm.
    pub(super) final_norm: bool,
}

impl Backbone {
    /// Reads the blocks from the folder `models`, for heads of `outputs` outputs.
    ///
    /// # Errors
    ///
    /// [`Error::Backbone`] without a card, [`AdaptError::NoWeights`], [`AdaptError::UnfitWeights`],
    /// [`AdaptError::NotTransformer`], [`AdaptError::TooFewBlocks`], and [`AdaptError::OtherWeights`] if the cache was extracted
    /// with other weights.
    pub(super) fn open(
        reader: &CacheReader,
        models: &Path,
        options: &Options,
        outputs: usize,
    ) -> Result<Backbone, Error> {
        let (meta, path) = (reader.meta(), reader.dir());
        let card = ModelCard::read(models, &meta.model.name)?;
        let Some(vit) = &card.vit else {
            return Err(Error::Adapt(AdaptError::NotTransformer {
                path: path.into(),
                model: card.name,
            }));
        };
        if options.blocks >= card.depth {
            return Err(Error::Adapt(AdaptError::TooFewBlocks {
                path: path.into(),
                model: card.name,
                depth: card.depth,
            }));
        }
        let weights = models.join(format!("{}.safetensors", card.name));
        if !weights.is_file() {
            return Err(Error::Adapt(AdaptError::NoWeights {
                path: weights,
                model: card.name,
            }));
        }
        let sha256 = common::sha256_file(&weights).map_err(onnx_models::Error::io(&weights))?;
        let warnings = check_weights(reader, &card, vit, (&weights, &sha256))?;
        let first = FirstTokens {
            has_cls: vit.tensors.has_cls(),
            is_kept: vit.cls == Cls::Token,
            registers: vit.registers,
            final_norm: vit.final_norm,
        };
        let last = onnx_models::last_blocks(&card, vit, &weights, options.blocks)
            .map_err(|error| of_weights(error, &card))?;
        let hidden = last.blocks.first().map_or(0, |block| block.mlp[1].shape[1]);
        Ok(Backbone {
            encoder: Encoder {
                width: card.width as usize,
                heads: card.heads as usize,
                hidden,
                tokens: match meta.tokens {
                    Tokens::Residual => meta.positions(1),
                    _ => first.count() + meta.shape(1).patches(),
                },
                activation: match vit.activation {
                    onnx_models::Activation::Gelu => Activation::Gelu,
                    onnx_models::Activation::GeluTanh => Activation::GeluTanh,
                    onnx_models::Activation::QuickGelu => Activation::QuickGelu,
                    onnx_models::Activation::Swiglu => Activation::Swiglu,
                },
                epsilon: vit.epsilon,
                pooling: match vit.cls {
                    Cls::Token => Pooling::First,
                    Cls::Mean => Pooling::Mean,
                },
                outputs,
            },
            last,
            weights_sha256: sha256,
            parameters: card.parameters,
            first,
            warnings: warnings.into_iter().collect(),
        })
    }

    /// Whether queries, keys and values have a layer each.
    pub(super) fn is_split(&self) -> bool {
        self.last.blocks.iter().any(|block| block.attend.len() > 1)
    }

    /// A network with a new head, and new adapters if `options` say so.
    pub(super) fn network(&self, options: &Options, seed: u64) -> Result<Network, Error> {
        let blocks = self.last.blocks.iter().map(weights_of).collect();
        let method = options.method(self.is_split());
        let norm = self.last.norm.clone();
        Ok(Network::new(self.encoder, method, blocks, norm, seed)?)
    }
}

impl FirstTokens {
    fn count(self) -> usize {
        usize::from(self.has_cls) + self.registers as usize
    }
}

/// Refuses weights other than those that the cache was extracted with. Caches of earlier versions do not name their
/// hash: the hash of the graph over the weights is compared then. Returns a warning if only the graph differs.
fn check_weights(
    reader: &CacheReader,
    card: &ModelCard,
    vit: &VitCard,
    (weights, sha256): (&Path, &str),
) -> Result<Option<String>, Error> {
    let meta = reader.meta();
    let other = |what: String| {
        Error::Adapt(AdaptError::OtherWeights {
            path: weights.into(),
            cache: reader.dir().into(),
            what,
        })
    };
    let recorded = meta.model.weights_sha256.as_deref();
    if let Some(expected) = recorded.filter(|expected| *expected != sha256) {
        return Err(other(format!(
            "with other weights: their sha256 is `{expected}`, and that of the file `{sha256}`"
        )));
    }
    if let Some(was) = meta.model.final_norm.filter(|was| *was != vit.final_norm) {
        let now = vit.final_norm;
        return Err(other(format!(
            "with another card of this model: its `final_norm` was {was}, and is {now}"
        )));
    }
    let flavours: &[Flavour] = match meta.precision.as_str() {
        "fp32" => &[Flavour::Fused, Flavour::Plain],
        "int8" => &[Flavour::Int8],
        _ => &[Flavour::FusedMixed16, Flavour::PlainMixed16],
    };
    let about = onnx_models::vit_metadata(card, meta.image_size, sha256.into());
    for &flavour in flavours {
        let graph = onnx_models::vit_graph(card, vit, weights, meta.image_size, flavour, &about)
            .map_err(|error| of_weights(error, card))?;
        if common::sha256_bytes(&graph) == meta.model.sha256 {
            return Ok(None);
        }
    }
    match recorded {
        Some(_) => Ok(Some(
            "the weights are those of the cache, but the graph over them is not: the card or the program has changed since the extraction".into(),
        )),
        None => Err(other("with other weights, or with another card of this model".into())),
    }
}

/// [`AdaptError::UnfitWeights`] if weights are not what the card says, else [`Error::Backbone`].
fn of_weights(error: onnx_models::Error, card: &ModelCard) -> Error {
    match error {
        onnx_models::Error::Weights { path, what } => Error::Adapt(AdaptError::UnfitWeights {
            path,
            what,
            model: card.name.clone(),
        }),
        error => error.into(),
    }
}

fn weights_of(block: &Block) -> BlockWeights {
    let layer = |affine: &Affine| LayerWeights {
        weight: affine.weight.clone(),
        bias: affine.bias.clone(),
    };
    let [fc1, fc2] = &block.mlp;
    let [first, second] = &block.scales;
    let scale = |scale: &Option<(String, Vec<f32>)>| scale.as_ref().map(|(_, s)| s.clone());
    BlockWeights {
        norms: block.norms.clone(),
        attend: joined(&block.attend),
        project: layer(&block.project),
        mlp: [layer(fc1), layer(fc2)],
        scales: [scale(first), scale(second)],
    }
}

/// Layers of the same inputs as one, with a bias if any has one.
fn joined(layers: &[Affine]) -> LayerWeights {
    let has_bias = layers.iter().any(|layer| layer.bias.is_some());
    let bias = layers.iter().flat_map(|layer| {
        let none = || vec![0.0; layer.shape[0]];
        layer.bias.clone().unwrap_or_else(none)
    });
    LayerWeights {
        weight: layers
            .iter()
            .flat_map(|layer| layer.weight.clone())
            .collect(),
        bias: has_bias.then(|| bias.collect()),
    }
}
