//! Named f32 tensors in safetensors files, with what they are for in the metadata.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use common::files::write_whole;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Cause, Error};

/// A tensor in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its extent along each axis.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub values: Vec<f32>,
}

/// The tensors of a file, by name.
pub(crate) struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    /// Takes a tensor out.
    pub(crate) fn take(&mut self, name: &str) -> Result<Tensor, Cause> {
        let tensor = self.0.remove(name);
        tensor.ok_or_else(|| format!("it has no tensor `{name}`").into())
    }

    /// Takes out all whose names begin so, and cuts that off their names.
    pub(crate) fn take_all(&mut self, prefix: &str) -> Vec<Tensor> {
        let names: Vec<String> = self
            .0
            .keys()
            .filter(|n| n.starts_with(prefix))
            .cloned()
            .collect();
        let tensors = names.iter().filter_map(|name| self.0.remove(name));
        let cut = |tensor: Tensor| Tensor {
            name: tensor.name[prefix.len()..].into(),
            ..tensor
        };
        tensors.map(cut).collect()
    }
}

/// Writes tensors, and `about` as JSON under `key` into the metadata.
///
/// # Errors
///
/// [`Error::Output`] if the file cannot be written; one that was there before stays.
pub(crate) fn write(
    path: &Path,
    key: &str,
    about: &impl Serialize,
    tensors: &[Tensor],
) -> Result<(), Error> {
    let failed = |source: Cause| Error::Output {
        path: path.into(),
        source,
    };
    let bytes = to_bytes(key, about, tensors).map_err(failed)?;
    write_whole(path, &bytes).map_err(|error| failed(error.into()))
}

fn to_bytes(key: &str, about: &impl Serialize, tensors: &[Tensor]) -> Result<Vec<u8>, Cause> {
    let bytes = |tensor: &Tensor| -> Vec<u8> {
        tensor
            .values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let all: Vec<(&Tensor, Vec<u8>)> = tensors.iter().map(|t| (t, bytes(t))).collect();
    let views = all.iter().map(|(tensor, bytes)| {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, Cause>>()?;
    let metadata = HashMap::from([(key.to_owned(), serde_json::to_string(about)?)]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Reads what [`write`] wrote under `key`; `None` if the file has no such key.
pub(crate) fn read<A: DeserializeOwned>(
    path: &Path,
    key: &str,
) -> Result<Option<(A, Tensors)>, Error> {
    let found = fs::read(path)
        .map_err(Cause::from)
        .and_then(|bytes| of_bytes(&bytes, key));
    found.map_err(|source| Error::Input {
        path: path.into(),
        source,
    })
}

fn of_bytes<A: DeserializeOwned>(bytes: &[u8], key: &str) -> Result<Option<(A, Tensors)>, Cause> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let Some(about) = header.metadata().as_ref().and_then(|map| map.get(key)) else {
        return Ok(None);
    };
    let about = serde_json::from_str(about).map_err(|error| {
        format!("another version of `probe` wrote it, or it is damaged ({error}); train it again")
    })?;
    let mut tensors = HashMap::new();
    for (name, tensor) in SafeTensors::deserialize(bytes)?.tensors() {
        if tensor.dtype() != Dtype::F32 {
            return Err(format!("`{name}` is {:?}, expected F32", tensor.dtype()).into());
        }
        let values = tensor.data().chunks_exact(4);
        let values = values.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let tensor = Tensor {
            name: name.clone(),
            shape: tensor.shape().to_vec(),
            values: values.collect(),
        };
        tensors.insert(name, tensor);
    }
    Ok(Some((about, Tensors(tensors))))
}
