//! Names of tensors in the checkpoints of different implementations.

use serde::{Deserialize, Serialize};

/// The implementation whose names a checkpoint uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TensorNames {
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

/// Names of an encoder's tensors, without the prefix of the encoder; names within a block follow `block.N.`.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) patch: &'static str,
    pub(super) cls: Option<&'static str>,
    /// Names of the register tokens; the first that exists is used.
    pub(super) registers: &'static [&'static str],
    pub(super) positions: &'static str,
    pub(super) first_norm: Option<&'static str>,
    pub(super) last_norm: &'static str,
    pub(super) block: &'static str,
    pub(super) norms: [&'static str; 2],
    pub(super) attention: AttentionNames,
    pub(super) projection: &'static str,
    /// Names of the two matrices of the MLP; the first pair that exists is used.
    pub(super) mlp: &'static [[&'static str; 2]],
    pub(super) scales: Option<[&'static str; 2]>,
}

/// Names of the matrices that give queries, keys and values.
#[derive(Debug)]
pub(super) enum AttentionNames {
    /// One matrix each.
    Separate([&'static str; 3]),
    /// One matrix whose rows are those of queries, keys and values, in this order.
    Packed(&'static str),
}

/// Tensors of an encoder that do not affect its tokens.
const UNUSED: [&str; 2] = ["mask_token", "position_ids"];

impl TensorNames {
    /// True if such checkpoints have a CLS token.
    pub fn has_cls(self) -> bool {
        self.names()[0].cls.is_some()
    }

    /// The names: first those of the implementation itself, then those of other implementations of the
    /// same architecture.
    pub(super) fn names(self) -> &'static [Names] {
        match self {
            TensorNames::Dinov2 => &[DINOV2, TIMM],
            TensorNames::Vit => &[VIT, TIMM],
            TensorNames::Clip => &[CLIP, OPEN_CLIP, TIMM],
            TensorNames::Siglip => &[SIGLIP, TIMM],
            TensorNames::Timm => &[TIMM],
        }
    }
}

impl Names {
    /// True if tokens depend on the tensor `name`: the first part of its name is that of a tensor that every
    /// such encoder has.
    pub(super) fn covers(&self, name: &str) -> bool {
        let required = [self.patch, self.positions, self.block, self.last_norm];
        let optional = self.first_norm.into_iter().chain(self.cls);
        let registers = self.registers.iter().copied();
        let mut own = required.into_iter().chain(optional).chain(registers);
        own.any(|own| first_part(own) == first_part(name))
            && !UNUSED.iter().any(|end| name.ends_with(end))
    }
}

fn first_part(name: &str) -> &str {
    name.split_once('.').map_or(name, |(first, _)| first)
}

/// A tensor's name in the form that [`Names`] has: without the chunk of blocks in checkpoints of DINOv2's
/// training (`blocks.0.11.` becomes `blocks.11.`), and with a dot in the names of PyTorch's
/// `MultiheadAttention` (`in_proj_weight` becomes `in_proj.weight`).
pub(super) fn canonical(name: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts: Vec<&str> = name.split('.').collect();
    let chunk = parts
        .windows(3)
        .position(|parts| parts[0] == "blocks" && is_number(parts[1]) && is_number(parts[2]));
    if let Some(blocks) = chunk {
        parts.remove(blocks + 1);
    }
    parts.join(".").replace("in_proj_", "in_proj.")
}

const DINOV2: Names = Names {
    patch: "embeddings.patch_embeddings.projection",
    cls: Some("embeddings.cls_token"),
    registers: &["embeddings.register_tokens"],
    positions: "embeddings.position_embeddings",
    first_norm: None,
    last_norm: "layernorm",
    block: "encoder.layer",
    norms: ["norm1", "norm2"],
    attention: AttentionNames::Separate([
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
    registers: &[],
    norms: ["layernorm_before", "layernorm_after"],
    mlp: &[["intermediate.dense", "output.dense"]],
    scales: None,
    ..DINOV2
};

const CLIP: Names = Names {
    patch: "embeddings.patch_embedding",
    cls: Some("embeddings.class_embedding"),
    registers: &[],
    positions: "embeddings.position_embedding.weight",
    first_norm: Some("pre_layrnorm"),
    last_norm: "post_layernorm",
    block: "encoder.layers",
    norms: ["layer_norm1", "layer_norm2"],
    attention: AttentionNames::Separate([
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
    ]),
    projection: "self_attn.out_proj",
    mlp: &[["mlp.fc1", "mlp.fc2"]],
    scales: None,
};

const SIGLIP: Names = Names {
    cls: None,
    first_norm: None,
    ..CLIP
};

/// open_clip's and OpenAI's own CLIP.
const OPEN_CLIP: Names = Names {
    patch: "conv1",
    cls: Some("class_embedding"),
    registers: &[],
    positions: "positional_embedding",
    first_norm: Some("ln_pre"),
    last_norm: "ln_post",
    block: "transformer.resblocks",
    norms: ["ln_1", "ln_2"],
    attention: AttentionNames::Packed("attn.in_proj"),
    projection: "attn.out_proj",
    mlp: &[["mlp.c_fc", "mlp.c_proj"]],
    scales: None,
};

/// timm's, and that of Meta's own DINO, DINOv2, MAE and MSN.
const TIMM: Names = Names {
    patch: "patch_embed.proj",
    cls: Some("cls_token"),
    registers: &["reg_token", "register_tokens"],
    positions: "pos_embed",
    first_norm: Some("norm_pre"),
    last_norm: "norm",
    block: "blocks",
    norms: ["norm1", "norm2"],
    attention: AttentionNames::Packed("attn.qkv"),
    projection: "attn.proj",
    mlp: &[["mlp.fc1", "mlp.fc2"], ["mlp.w12", "mlp.w3"]],
    scales: Some(["ls1.gamma", "ls2.gamma"]),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_blocks_and_names_without_a_dot_are_brought_to_one_form() {
        let pairs = [
            (
                "backbone.blocks.3.11.norm1.weight",
                "backbone.blocks.11.norm1.weight",
            ),
            ("blocks.11.norm1.weight", "blocks.11.norm1.weight"),
            (
                "visual.transformer.resblocks.0.attn.in_proj_weight",
                "visual.transformer.resblocks.0.attn.in_proj.weight",
            ),
            ("encoder.layer.0.norm1.bias", "encoder.layer.0.norm1.bias"),
        ];
        for (name, expected) in pairs {
            assert_eq!(canonical(name), expected);
        }
    }

    #[test]
    fn blocks_norms_and_tables_are_of_the_encoder_and_heads_are_not() {
        for name in [
            "encoder.layer.3.gamma",
            "layernorm.weight",
            "embeddings.register_tokens",
        ] {
            assert!(DINOV2.covers(name), "{name}");
        }
        for name in [
            "embeddings.mask_token",
            "pooler.dense.weight",
            "classifier.bias",
        ] {
            assert!(!DINOV2.covers(name), "{name}");
        }
        assert!(TIMM.covers("blocks.0.attn.q_norm.weight"));
        assert!(!TIMM.covers("head.weight") && !TIMM.covers("decoder_pos_embed"));
    }
}
