//! Names of tensors: of the network, of checkpoints, and of modules of other libraries.

use onnx_models::{Block, LastBlocks};

use crate::error::Cause;
use crate::tensors::{Tensor, Tensors};

/// A tensor of the network under its name in the checkpoint: several equal parts if that has a layer each for queries, keys
/// and values. Modules that the checkpoint has as one layer have its adapter's `A` each, and their part of `B`.
pub(super) fn of_checkpoint(last: &LastBlocks, tensor: &Tensor) -> Vec<Tensor> {
    let names = names(last, &tensor.name).unwrap_or_default();
    if tensor.name.ends_with(".lora_A") {
        let named = |name| Tensor {
            name,
            ..tensor.clone()
        };
        return names.into_iter().map(named).collect();
    }
    let parts = names.len().max(1);
    let mut shape = tensor.shape.clone();
    shape[0] /= parts;
    let values = tensor.values.chunks_exact(tensor.values.len() / parts);
    let named = names.into_iter().zip(values).map(|(name, values)| Tensor {
        name,
        shape: shape.clone(),
        values: values.to_vec(),
    });
    named.collect()
}

/// The values of the network's tensor `name` from those of the checkpoint.
pub(super) fn of_network(
    last: &LastBlocks,
    name: &str,
    found: &mut Tensors<f32>,
) -> Result<Vec<f32>, Cause> {
    let names = names(last, name).unwrap_or_default().into_iter();
    let mut parts = names.map(|name| Ok(found.take(&name)?.values));
    if name.ends_with(".lora_A") {
        return parts.next().unwrap_or_else(|| Ok(Vec::new()));
    }
    let parts: Vec<Vec<f32>> = parts.collect::<Result<_, Cause>>()?;
    Ok(parts.concat())
}

/// Names in the checkpoint of a tensor of the network, those of adapters in the form of PEFT.
fn names(last: &LastBlocks, name: &str) -> Option<Vec<String>> {
    if let Some(part) = name.strip_prefix("norm.") {
        return Some(vec![format!("{}.{part}", last.norm_name)]);
    }
    let (number, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let block = last.blocks.get(number.parse::<usize>().ok()?)?;
    let (module, part) = rest.rsplit_once('.')?;
    let one = |name: &str| Some(of_module(block, name, part));
    match module {
        "norm1" => one(&block.norm_names[0]),
        "norm2" => one(&block.norm_names[1]),
        "ls1" => Some(vec![block.scales[0].as_ref()?.0.clone()]),
        "ls2" => Some(vec![block.scales[1].as_ref()?.0.clone()]),
        "attn.proj" => one(&block.project.name),
        "mlp.fc1" => one(&block.mlp[0].name),
        "mlp.fc2" => one(&block.mlp[1].name),
        "attn.qkv" => {
            let layers = block.attend.iter();
            Some(
                layers
                    .flat_map(|layer| of_module(block, &layer.name, part))
                    .collect(),
            )
        }
        _ => {
            let group = module.strip_prefix("attn.qkv.")?.parse::<usize>().ok()?;
            one(&block.attend.get(group)?.name)
        }
    }
}

/// The names of a tensor of the layer `name` of the checkpoint.
fn of_module(block: &Block, name: &str, part: &str) -> Vec<String> {
    if !part.starts_with("lora_") {
        return vec![format!("{name}.{part}")];
    }
    let modules = modules(block, name).into_iter();
    modules
        .map(|module| format!("base_model.model.{module}.{part}.weight"))
        .collect()
}

/// The modules of the layer `name` of a checkpoint in its library. Version 5 of transformers has other names than the
/// checkpoints of Hugging Face for DINOv2, ViT, MAE and MSN, whose `AutoModel` lacks the prefix of a model for a task.
pub(super) fn modules(block: &Block, name: &str) -> Vec<String> {
    let Some(start) = name.find(LAYERS) else {
        return vec![name.to_owned()];
    };
    let name = &name[start..];
    let is_dinov2 = block.mlp[0].name.contains(".mlp.");
    let (renamed, list) = if is_dinov2 {
        (&DINOV2[..], LAYERS)
    } else {
        (&VIT[..], "layers.")
    };
    let (_, rest) = name.split_at(LAYERS.len());
    let found = renamed.iter().chain(&ATTENTION).find_map(|(old, new)| {
        let block = rest.strip_suffix(old)?;
        Some(
            new.iter()
                .map(|new| format!("{list}{block}{new}"))
                .collect(),
        )
    });
    found.unwrap_or_else(|| vec![format!("{list}{rest}")])
}

/// The text before the number of a block in checkpoints of Hugging Face whose modules were renamed.
const LAYERS: &str = "encoder.layer.";

/// The end of a layer's name in the checkpoint, and those of its modules.
type Renamed = (&'static str, &'static [&'static str]);

const ATTENTION: [Renamed; 3] = [
    (".attention.attention.query", &[".attention.q_proj"]),
    (".attention.attention.key", &[".attention.k_proj"]),
    (".attention.attention.value", &[".attention.v_proj"]),
];
const DINOV2: [Renamed; 2] = [
    // The two halves of the first layer of SwiGLU.
    (".mlp.weights_in", &[".mlp.gate_proj", ".mlp.up_proj"]),
    (".mlp.weights_out", &[".mlp.down_proj"]),
];
const VIT: [Renamed; 2] = [
    (".intermediate.dense", &[".mlp.fc1"]),
    (".output.dense", &[".mlp.fc2"]),
];

#[cfg(test)]
mod tests {
    use onnx_models::Affine;

    use super::*;

    fn affine(name: &str) -> Affine {
        Affine {
            name: name.into(),
            weight: Vec::new(),
            shape: [0, 0],
            bias: None,
        }
    }

    /// A block of the layers `names`: queries, keys, values, and those of the MLP.
    fn block(names: [&str; 5]) -> Block {
        let [attend @ .., fc1, fc2] = names.map(affine);
        Block {
            norms: Default::default(),
            attend: attend.into(),
            project: affine("projection"),
            mlp: [fc1, fc2],
            scales: [None, None],
            norm_names: Default::default(),
        }
    }

    #[test]
    fn adapters_have_the_names_of_modules_of_transformers_5() {
        let attention = ["query", "key", "value"];
        let projections = ["q_proj", "k_proj", "v_proj"];
        for (prefix, mlp, layers, expected) in [
            (
                "vit.encoder.layer.23",
                ["intermediate.dense", "output.dense"],
                "layers.23",
                &["mlp.fc1", "mlp.fc2"][..],
            ),
            (
                "encoder.layer.3",
                ["mlp.fc1", "mlp.fc2"],
                "encoder.layer.3",
                &["mlp.fc1", "mlp.fc2"],
            ),
            (
                "dinov2.encoder.layer.39",
                ["mlp.weights_in", "mlp.weights_out"],
                "encoder.layer.39",
                &["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"],
            ),
        ] {
            let attend = attention.map(|name| format!("{prefix}.attention.attention.{name}"));
            let mlp = mlp.map(|name| format!("{prefix}.{name}"));
            let [query, key, value] = &attend;
            let block = block([query, key, value, &mlp[0], &mlp[1]]);
            let layers_of = block.attend.iter().chain(&block.mlp);
            let found: Vec<String> = layers_of
                .flat_map(|layer| modules(&block, &layer.name))
                .collect();
            let projections = projections.map(|name| format!("attention.{name}"));
            let expected = projections
                .iter()
                .map(String::as_str)
                .chain(expected.iter().copied());
            let expected: Vec<String> = expected.map(|name| format!("{layers}.{name}")).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn names_of_other_libraries_are_those_of_the_checkpoint() {
        for name in [
            "blocks.11.attn.qkv",
            "vision_model.encoder.layers.3.self_attn.q_proj",
        ] {
            let block = block([name, name, name, "blocks.11.mlp.fc1", "blocks.11.mlp.fc2"]);
            assert_eq!(modules(&block, name), [name]);
        }
    }

    #[test]
    fn adapters_of_swiglu_are_shared_by_gate_and_values() {
        let name = |end: &str| format!("encoder.layer.0.{end}");
        let [query, fc1, fc2] = [
            "attention.attention.query",
            "mlp.weights_in",
            "mlp.weights_out",
        ]
        .map(name);
        let last = LastBlocks {
            blocks: vec![block([&query, &query, &query, &fc1, &fc2])],
            norm: None,
            norm_name: "layernorm".into(),
        };
        let of = |part: &str, shape: [usize; 2]| {
            let tensor = Tensor {
                name: format!("blocks.0.mlp.fc1.{part}"),
                shape: shape.into(),
                values: (0..4).map(|value| value as f32).collect(),
            };
            let named = of_checkpoint(&last, &tensor).into_iter();
            let mut found = Tensors::of(named.clone());
            let back = of_network(&last, &tensor.name, &mut found).unwrap();
            assert_eq!(back, tensor.values);
            named
                .map(|tensor| (tensor.name, tensor.shape, tensor.values))
                .collect::<Vec<_>>()
        };
        let key = |module: &str, part: &str| {
            format!("base_model.model.encoder.layer.0.mlp.{module}.{part}.weight")
        };
        let a = vec![0.0, 1.0, 2.0, 3.0];
        assert_eq!(
            of("lora_A", [2, 2]),
            ["gate_proj", "up_proj"].map(|module| (key(module, "lora_A"), vec![2, 2], a.clone()))
        );
        assert_eq!(
            of("lora_B", [4, 1]),
            [
                (key("gate_proj", "lora_B"), vec![2, 1], vec![0.0, 1.0]),
                (key("up_proj", "lora_B"), vec![2, 1], vec![2.0, 3.0]),
            ]
        );
    }
}
