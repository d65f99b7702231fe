//! Named tensors in safetensors files, described by JSON in the metadata.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use common::files::write_whole;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::FileError;
use crate::error::{Cause, Error};

/// A tensor in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T = f32> {
    /// Its name.
    pub name: String,
    /// Its extent along each axis.
    pub shape: Vec<usize>,
    /// Its values, as many as the product of the shape.
    pub values: Vec<T>,
}

/// A type of values.
pub(crate) trait Element: Copy {
    /// Its name in safetensors files.
    const DTYPE: Dtype;

    /// Little-endian bytes of values.
    fn to_bytes(values: &[Self]) -> Vec<u8>;

    /// Values of little-endian bytes; `None` for a type that this one does not hold exactly.
    fn of_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Vec<Self>>;
}

impl Element for f32 {
    const DTYPE: Dtype = Dtype::F32;

    fn to_bytes(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn of_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
        let (values, _) = bytes.as_chunks::<4>();
        (dtype == Dtype::F32).then(|| values.iter().copied().map(f32::from_le_bytes).collect())
    }
}

impl Element for f64 {
    const DTYPE: Dtype = Dtype::F64;

    fn to_bytes(values: &[f64]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    fn of_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
        if dtype == Dtype::F64 {
            let (values, _) = bytes.as_chunks::<8>();
            return Some(values.iter().copied().map(f64::from_le_bytes).collect());
        }
        let values = f32::of_bytes(dtype, bytes)?;
        Some(values.into_iter().map(f64::from).collect())
    }
}

/// The tensors of a file, by name.
pub(crate) struct Tensors<T = f32>(HashMap<String, Tensor<T>>);

impl<T> Tensors<T> {
    #[cfg(test)]
    pub(crate) fn of(tensors: impl Iterator<Item = Tensor<T>>) -> Tensors<T> {
        Tensors(
            tensors
                .map(|tensor| (tensor.name.clone(), tensor))
                .collect(),
        )
    }

    /// Takes a tensor out.
    pub(crate) fn take(&mut self, name: &str) -> Result<Tensor<T>, Cause> {
        let tensor = self.0.remove(name);
        tensor.ok_or_else(|| format!("it has no tensor `{name}`").into())
    }

    /// Takes out all tensors whose names begin with `prefix`, and cuts it off their names.
    pub(crate) fn take_all(&mut self, prefix: &str) -> Vec<Tensor<T>> {
        let names: Vec<String> = self
            .0
            .keys()
            .filter(|n| n.starts_with(prefix))
            .cloned()
            .collect();
        let tensors = names.iter().filter_map(|name| self.0.remove(name));
        let cut = |tensor: Tensor<T>| Tensor {
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
/// [`FileError::Output`] if the file cannot be written; one that was there before stays.
pub(crate) fn write<T: Element>(
    path: &Path,
    key: &str,
    about: &impl Serialize,
    tensors: &[Tensor<T>],
) -> Result<(), Error> {
    let failed = |source: Cause| {
        Error::File(FileError::Output {
            path: path.into(),
            source,
        })
    };
    let bytes = to_bytes(key, about, tensors).map_err(failed)?;
    write_whole(path, &bytes).map_err(|error| failed(error.into()))
}

fn to_bytes<T: Element>(
    key: &str,
    about: &impl Serialize,
    tensors: &[Tensor<T>],
) -> Result<Vec<u8>, Cause> {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| T::to_bytes(&t.values)).collect();
    let views = tensors.iter().zip(&bytes).map(|(tensor, bytes)| {
        let view = TensorView::new(T::DTYPE, tensor.shape.clone(), bytes)?;
        Ok((tensor.name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, Cause>>()?;
    let metadata = HashMap::from([(key.to_owned(), serde_json::to_string(about)?)]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Reads what [`write`] wrote under `key`; `None` if the file has no such key.
pub(crate) fn read<A: DeserializeOwned, T: Element>(
    path: &Path,
    key: &str,
) -> Result<Option<(A, Tensors<T>)>, Error> {
    let found = fs::read(path)
        .map_err(Cause::from)
        .and_then(|bytes| of_bytes(&bytes, key));
    found.map_err(|source| {
        Error::File(FileError::Input {
            path: path.into(),
            source,
        })
    })
}

fn of_bytes<A: DeserializeOwned, T: Element>(
    bytes: &[u8],
    key: &str,
) -> Result<Option<(A, Tensors<T>)>, Cause> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let Some(about) = header.metadata().as_ref().and_then(|map| map.get(key)) else {
        return Ok(None);
    };
    let about = serde_json::from_str(about).map_err(|error| {
        format!("another version of `probe` wrote it, or it is damaged ({error}); train it again")
    })?;
    let mut tensors = HashMap::new();
    for (name, tensor) in SafeTensors::deserialize(bytes)?.tensors() {
        let (dtype, bytes) = (tensor.dtype(), tensor.data());
        let values = T::of_bytes(dtype, bytes)
            .ok_or_else(|| format!("`{name}` is {dtype:?}, expected {:?}", T::DTYPE))?;
        let tensor = Tensor {
            name: name.clone(),
            shape: tensor.shape().to_vec(),
            values,
        };
        tensors.insert(name, tensor);
    }
    Ok(Some((about, Tensors(tensors))))
}
