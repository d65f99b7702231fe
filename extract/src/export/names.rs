//! What tensors are called in the checkpoints of different implementations.

use serde::{Deserialize, Serialize};

/// An implementation whose names a checkpoint uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tensors {
    /// Hugging Face's `Dinov2Model` and `Dinov2WithRegistersModel`.
    Dinov2,
    /// Hugging Face's `ViTModel`, `ViTMSNModel` and `ViTMAEModel`.
    Vit,
    /// The vision tower of Hugging Face's `CLIPModel`.
    Clip,
    /// The vision tower of Hugging Face's `SiglipModel`.
    Siglip,
    /// timm's `VisionTransformer`.
    Timm,
}

/// Names without what precedes them all; those of a block without `block` and its number.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) patch: &'static str,
    pub(super) cls: Option<&'static str>,
    pub(super) registers: Option<&'static str>,
    pub(super) positions: &'static str,
    pub(super) first_norm: Option<&'static str>,
    pub(super) last_norm: &'static str,
    pub(super) block: &'static str,
    pub(super) norms: [&'static str; 2],
    pub(super) attention: Attention,
    pub(super) projection: &'static str,
    /// The two matrices of the MLP; the first pair that is there.
    pub(super) mlp: &'static [[&'static str; 2]],
    pub(super) scales: Option<[&'static str; 2]>,
}

/// Names of the matrices that give queries, keys and values.
#[derive(Debug)]
pub(super) enum Attention {
    /// A matrix each.
    Separate([&'static str; 3]),
    /// One matrix, in which they follow one another.
    Packed(&'static str),
}

impl Tensors {
    /// Whether such checkpoints have a CLS token.
    pub(crate) fn has_cls(self) -> bool {
        self.names().cls.is_some()
    }

    /// The names.
    pub(super) fn names(self) -> &'static Names {
        match self {
            Tensors::Dinov2 => &DINOV2,
            Tensors::Vit => &VIT,
            Tensors::Clip => &CLIP,
            Tensors::Siglip => &SIGLIP,
            Tensors::Timm => &TIMM,
        }
    }
}

const DINOV2: Names = Names {
    patch: "embeddings.patch_embeddings.projection",
    cls: Some("embeddings.cls_token"),
    registers: Some("embeddings.register_tokens"),
    positions: "embeddings.position_embeddings",
    first_norm: None,
    last_norm: "layernorm",
    block: "encoder.layer",
    norms: ["norm1", "norm2"],
    attention: Attention::Separate([
        "attention.attention.query",
        "attention.attention.key",
        "attention.attention.value",
    ]),
    projection: "attention.output.dense",
    mlp: &[
        ["mlp.fc1", "mlp.fc2"],
        ["mlp.weights_in", "mlp.weights_out"],
    ],
    scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
};

const VIT: Names = Names {
    registers: None,
    norms: ["layernorm_before", "layernorm_after"],
    mlp: &[["intermediate.dense", "output.dense"]],
    scales: None,
    ..DINOV2
};

const CLIP: Names = Names {
    patch: "embeddings.patch_embedding",
    cls: Some("embeddings.class_embedding"),
    registers: None,
    positions: "embeddings.position_embedding.weight",
    first_norm: Some("pre_layrnorm"),
    last_norm: "post_layernorm",
    block: "encoder.layers",
    norms: ["layer_norm1", "layer_norm2"],
    attention: Attention::Separate(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    projection: "self_attn.out_proj",
    mlp: &[["mlp.fc1", "mlp.fc2"]],
    scales: None,
};

const SIGLIP: Names = Names {
    cls: None,
    first_norm: None,
    ..CLIP
};

const TIMM: Names = Names {
    patch: "patch_embed.proj",
    cls: Some("cls_token"),
    registers: Some("reg_token"),
    positions: "pos_embed",
    first_norm: Some("norm_pre"),
    last_norm: "norm",
    block: "blocks",
    norms: ["norm1", "norm2"],
    attention: Attention::Packed("attn.qkv"),
    projection: "attn.proj",
    mlp: &[["mlp.fc1", "mlp.fc2"]],
    scales: Some(["ls1.gamma", "ls2.gamma"]),
};
