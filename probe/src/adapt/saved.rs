//! What was trained, as files that Hugging Face PEFT and PyTorch load.

use std::fs;
use std::path::Path;

use common::files::write_whole;
use nn::transformer::Network;
use onnx_models::{Block, LastBlocks};
use serde_json::{Value, json};

use super::backbone::Backbone;
use super::options::{Method, Options, shortest};
use crate::Error;
use crate::evaluate::Task;
use crate::tensors::{self, Tensor};

/// The key of the metadata of the files.
const KEY: &str = "slicebank";

/// Writes into `folder`: `head.safetensors`, and adapters as `adapter_model.safetensors` and `adapter_config.json` in the
/// form of PEFT, or other tensors under their names in the checkpoint as `model.safetensors`.
///
/// # Errors
///
/// [`Error::Output`]
pub(super) fn write(
    folder: &Path,
    backbone: &Backbone,
    options: &Options,
    task: &Task<'_>,
    network: &Network,
) -> Result<(), Error> {
    let failed = |source: std::io::Error| Error::Output {
        path: folder.into(),
        source: source.into(),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let meta = task.reader.meta();
    let about = json!({
        "model": meta.model.name,
        "weights_sha256": backbone.weights_sha256,
        "cache_sha256": task.reader.sha256(),
        "image_size": meta.image_size,
        "preprocess": meta.preprocess,
        "classes": task.examples.classes,
        "options": options,
    });
    let all = network.parameters().map(|tensor| Tensor {
        name: tensor.name.into(),
        shape: tensor.shape.into(),
        values: tensor.data.into(),
    });
    let (head, others): (Vec<Tensor>, Vec<Tensor>) =
        all.partition(|tensor| tensor.name.starts_with("head."));
    let head: Vec<Tensor> = head
        .into_iter()
        .map(|tensor| Tensor {
            name: tensor.name.trim_start_matches("head.").into(),
            ..tensor
        })
        .collect();
    tensors::write(&folder.join("head.safetensors"), KEY, &about, &head)?;
    let last = &backbone.last;
    let named: Vec<Tensor> = others
        .iter()
        .flat_map(|tensor| of_checkpoint(last, tensor))
        .collect();
    if options.method != Method::Lora {
        return tensors::write(&folder.join("model.safetensors"), KEY, &about, &named);
    }
    tensors::write(
        &folder.join("adapter_model.safetensors"),
        KEY,
        &about,
        &named,
    )?;
    let config = config(options, backbone);
    let text = format!("{config:#}\n");
    let path = folder.join("adapter_config.json");
    write_whole(&path, text.as_bytes()).map_err(|source| Error::Output {
        path,
        source: source.into(),
    })
}

/// The description of adapters for PEFT.
fn config(options: &Options, backbone: &Backbone) -> Value {
    let modules = backbone.last.blocks.iter().flat_map(|block| {
        let layers = block.attend.iter().chain(&block.mlp);
        layers.map(|layer| module(block, &layer.name))
    });
    let lora = options.lora;
    json!({
        "peft_type": "LORA",
        "task_type": null,
        "base_model_name_or_path": null,
        "inference_mode": true,
        "r": lora.map(|lora| lora.rank),
        "lora_alpha": lora.map(|lora| shortest(lora.alpha)),
        "lora_dropout": lora.map(|lora| shortest(lora.dropout)),
        "bias": "none",
        "fan_in_fan_out": false,
        "use_rslora": false,
        "use_dora": false,
        "init_lora_weights": true,
        "modules_to_save": null,
        "target_modules": modules.collect::<Vec<String>>(),
    })
}

/// A tensor of the network under its name in the checkpoint: several equal parts if that has a layer each for queries, keys
/// and values.
fn of_checkpoint(last: &LastBlocks, tensor: &Tensor) -> Vec<Tensor> {
    let names = names(last, &tensor.name).unwrap_or_default();
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

/// Names in the checkpoint of a tensor of the network, those of adapters in the form of PEFT.
fn names(last: &LastBlocks, name: &str) -> Option<Vec<String>> {
    if let Some(part) = name.strip_prefix("norm.") {
        return Some(vec![format!("{}.{part}", last.norm_name)]);
    }
    let (number, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let block = last.blocks.get(number.parse::<usize>().ok()?)?;
    let (module, part) = rest.rsplit_once('.')?;
    let one = |name: &str| Some(vec![of_module(block, name, part)]);
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
                    .map(|layer| of_module(block, &layer.name, part))
                    .collect(),
            )
        }
        _ => {
            let group = module.strip_prefix("attn.qkv.")?.parse::<usize>().ok()?;
            one(&block.attend.get(group)?.name)
        }
    }
}

/// The name of a tensor of the module `name` in the checkpoint.
fn of_module(block: &Block, name: &str, part: &str) -> String {
    if part.starts_with("lora_") {
        format!("base_model.model.{}.{part}.weight", module(block, name))
    } else {
        format!("{name}.{part}")
    }
}

/// The name of the module in its library. Version 5 of transformers calls the layers of DINOv2's attention otherwise than
/// the checkpoints do.
fn module(block: &Block, name: &str) -> String {
    let names = [("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")];
    let renamed = names.iter().find_map(|(old, new)| {
        let rest = name.strip_suffix(&format!(".attention.attention.{old}"))?;
        Some(format!("{rest}.attention.{new}"))
    });
    let is_dinov2 = block.mlp[0].name.contains(".mlp.");
    renamed
        .filter(|_| is_dinov2)
        .unwrap_or_else(|| name.to_owned())
}
