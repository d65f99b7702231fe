//! Weights in several safetensors files (shards) with an index, Hugging Face's
//! `model.safetensors.index.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use onnx_models::{Error, read_header};
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;

use crate::ModelError;

/// The index.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The span of a file that holds a tensor.
struct Shard {
    path: PathBuf,
    first: u64,
    length: u64,
}

/// Tensors by name, with their spans in the merged file.
type Infos = Vec<(String, TensorInfo)>;

/// Writes the tensors that `index` names as one safetensors file, `target`.
///
/// # Errors
///
/// [`ModelError::Io`], [`Error::NoFile`] if a shard is missing, and [`Error::Weights`] if the
/// index cannot be understood or a shard lacks a tensor.
pub(super) fn merge(index: &Path, target: &Path) -> Result<(), ModelError> {
    let (infos, shards) = tensors(index)?;
    let wrong = |e: &dyn std::fmt::Display| Error::weights(index, e.to_string());
    let metadata = Metadata::new(None, infos).map_err(|e| wrong(&e))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| wrong(&e))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let io = |source| ModelError::io(target)(source);
    let mut file = BufWriter::new(File::create(target).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes())
        .map_err(io)?;
    file.write_all(&header).map_err(io)?;
    for shard in shards {
        let mut source = File::open(&shard.path).map_err(ModelError::io(&shard.path))?;
        source
            .seek(SeekFrom::Start(shard.first))
            .map_err(ModelError::io(&shard.path))?;
        let copied = io::copy(&mut source.take(shard.length), &mut file).map_err(io)?;
        if copied < shard.length {
            return Err(Error::weights(&shard.path, "the file is truncated").into());
        }
    }
    file.flush().map_err(io)
}

/// The tensors by name, with their spans in the merged file, and the source of each.
fn tensors(index: &Path) -> Result<(Infos, Vec<Shard>), Error> {
    let bytes = fs::read(index).map_err(Error::io(index))?;
    let map: Index = serde_json::from_slice(&bytes)
        .map_err(|e| Error::weights(index, format!("it is no index of safetensors files: {e}")))?;
    let files: BTreeSet<&String> = map.weight_map.values().collect();
    let mut headers = BTreeMap::new();
    for file in files {
        if Path::new(file).file_name() != Some(file.as_ref()) {
            return Err(Error::weights(
                index,
                format!("`{file}` is no name of a file beside it"),
            ));
        }
        let path = index.with_file_name(file);
        if !path.is_file() {
            return Err(Error::NoFile { path });
        }
        headers.insert(file, (read_header(&path)?, path));
    }
    let (mut infos, mut shards, mut end) = (Vec::new(), Vec::new(), 0);
    for (name, file) in &map.weight_map {
        let ((header, data), path) = &headers[file];
        let info = header
            .info(name)
            .ok_or_else(|| Error::weights(path, format!("there is no tensor `{name}`")))?;
        let (first, last) = info.data_offsets;
        let moved = TensorInfo {
            dtype: info.dtype,
            shape: info.shape.clone(),
            data_offsets: (end, end + (last - first)),
        };
        end += last - first;
        infos.push((name.clone(), moved));
        shards.push(Shard {
            path: path.clone(),
            first: data + first as u64,
            length: (last - first) as u64,
        });
    }
    Ok((infos, shards))
}
