//! What was trained, as files that Hugging Face PEFT and PyTorch load.

use std::fs;
use std::path::Path;

use common::files::write_whole;
use nn::transformer::Network;
use onnx_models::LastBlocks;
use serde_json::{Value, json};

use super::backbone::Backbone;
use super::checkpoint::borrowed;
use super::names::{modules, of_checkpoint, of_network};
use super::options::{Method, Options, shortest};
use crate::error::{Cause, Error, FileError};
use crate::evaluate::Task;
use crate::head::SavedHead;
use crate::tensors::{self, Tensor};

/// The key of the metadata of the files.
const KEY: &str = "slicebank";
/// The file of adapters.
const ADAPTERS: &str = "adapter_model.safetensors";
/// The file of other tensors.
const MODEL: &str = "model.safetensors";

/// Writes into `folder`: `head.safetensors`, and adapters as `adapter_model.safetensors` and `adapter_config.json` in the
/// form of PEFT, or other tensors under their names in the checkpoint as `model.safetensors`.
///
/// # Errors
///
/// [`FileError::Output`]
pub(super) fn write(
    folder: &Path,
    backbone: &Backbone,
    options: &Options,
    task: &Task<'_>,
    network: &Network,
) -> Result<(), Error> {
    let failed = |source: std::io::Error| {
        Error::File(FileError::Output {
            path: folder.into(),
            source: source.into(),
        })
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
        return tensors::write(&folder.join(MODEL), KEY, &about, &named);
    }
    tensors::write(&folder.join(ADAPTERS), KEY, &about, &named)?;
    let config = config(options, backbone);
    let text = format!("{config:#}\n");
    let path = folder.join("adapter_config.json");
    write_whole(&path, text.as_bytes()).map_err(|source| {
        Error::File(FileError::Output {
            path,
            source: source.into(),
        })
    })
}

/// Puts the tensors in `folder`, which [`write`] wrote, and those of `head` into a new network.
///
/// # Errors
///
/// [`FileError::Input`]
pub(super) fn read(
    folder: &Path,
    last: &LastBlocks,
    method: Method,
    head: &SavedHead,
    network: &mut Network,
) -> Result<(), Error> {
    let path = folder.join(match method {
        Method::Lora => ADAPTERS,
        Method::Bitfit | Method::Full => MODEL,
    });
    let failed = |source: Cause| {
        Error::File(FileError::Input {
            path: path.clone(),
            source,
        })
    };
    let found = tensors::read::<Value, f32>(&path, KEY)?;
    let (_, mut found) = found.ok_or_else(|| failed("`probe adapt` did not write it".into()))?;
    let numbers = |values: &mut dyn Iterator<Item = &f64>| values.map(|&x| x as f32).collect();
    let mut all = Vec::new();
    for tensor in network.parameters() {
        let values = match tensor.name {
            "head.weight" => numbers(&mut head.weight.iter()),
            "head.bias" => numbers(&mut head.bias.iter()),
            name => of_network(last, name, &mut found).map_err(failed)?,
        };
        if values.len() != tensor.data.len() {
            let (name, found, expected) = (tensor.name, values.len(), tensor.data.len());
            let text = format!("found {found} numbers of `{name}`, expected {expected}");
            return Err(failed(text.into()));
        }
        all.push(Tensor {
            name: tensor.name.into(),
            shape: tensor.shape.into(),
            values,
        });
    }
    let loaded = network.load(all.iter().map(borrowed));
    loaded.map_err(|error| failed(error.into()))
}

/// The description of adapters for PEFT.
fn config(options: &Options, backbone: &Backbone) -> Value {
    let modules = backbone.last.blocks.iter().flat_map(|block| {
        let layers = block.attend.iter().chain(&block.mlp);
        layers.flat_map(|layer| modules(block, &layer.name))
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
