//! Weights in a safetensors file, which stay where they are.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::onnx;
use crate::model::ModelError;

/// Largest header that is read, in bytes; a checkpoint of ten thousand tensors has 1 MB.
const MOST_HEADER: u64 = 64 << 20;

/// An opened safetensors file.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    data: u64,
    /// What precedes the encoder's names, for instance `vit.`.
    prefix: String,
}

/// Where a tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Lengths of its axes.
    pub(super) shape: Vec<usize>,
    /// Element type, as ONNX numbers them.
    pub(super) dtype: i32,
    /// First byte in the file.
    pub(super) offset: u64,
    /// Number of bytes.
    pub(super) length: u64,
}

impl Stretch {
    /// Part `index` of `count` equal ones along the first axis: of a matrix that holds several.
    pub(super) fn part(&self, index: usize, count: usize) -> Stretch {
        let length = self.length / count as u64;
        let mut shape = self.shape.clone();
        shape[0] /= count;
        Stretch {
            shape,
            dtype: self.dtype,
            offset: self.offset + index as u64 * length,
            length,
        }
    }
}

impl Checkpoint {
    /// Opens a file, in which `landmark` is a tensor's name without what precedes all names of the
    /// encoder.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`], [`ModelError::Weights`] if it is no safetensors file, was cut short, or holds
    /// `landmark` never or more than once.
    pub(super) fn open(path: &Path, landmark: &str) -> Result<Checkpoint, ModelError> {
        let (metadata, data) = read_header(path)?;
        let end = data.checked_add(metadata.data_len() as u64);
        let found = std::fs::metadata(path).map_err(ModelError::io(path))?.len();
        if end != Some(found) {
            let (before, after) = (data, metadata.data_len());
            let what =
                format!("the file has {found} bytes, its header speaks of {before} and {after}");
            return Err(ModelError::weights(path, what));
        }
        let prefix = prefix(&metadata, landmark).map_err(|what| ModelError::weights(path, what))?;
        Ok(Checkpoint {
            path: path.to_path_buf(),
            metadata,
            data,
            prefix,
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the encoder has a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.info(name).is_some()
    }

    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(&format!("{}{name}", self.prefix))
    }

    /// The encoder's tensor `name`, whose shape must be `shape`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Weights`] if there is no such tensor, or one of another shape or type.
    pub(super) fn find(&self, name: &str, shape: &[usize]) -> Result<Stretch, ModelError> {
        let wrong = |what: String| ModelError::weights(&self.path, what);
        let full = format!("{}{name}", self.prefix);
        let info = self
            .info(name)
            .ok_or_else(|| wrong(format!("there is no tensor `{full}`")))?;
        if info.shape != shape {
            let found = &info.shape;
            return Err(wrong(format!(
                "tensor `{full}` is {found:?}, expected {shape:?}"
            )));
        }
        let dtype = onnx_type(info.dtype).ok_or_else(|| {
            let found = info.dtype;
            wrong(format!(
                "tensor `{full}` is of type {found:?}, expected F32, F16 or BF16"
            ))
        })?;
        let (first, end) = info.data_offsets;
        Ok(Stretch {
            shape: shape.to_vec(),
            dtype,
            offset: self.data + first as u64,
            length: (end - first) as u64,
        })
    }

    /// The lengths of the axes of the encoder's tensor `name`.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|info| &info.shape[..])
    }

    /// The values of a tensor.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`] if they cannot be read.
    pub(super) fn read(&self, stretch: &Stretch) -> Result<ArrayD<f32>, ModelError> {
        let io = |source| ModelError::io(&self.path)(source);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(stretch.offset)).map_err(io)?;
        // Checked against the file's size when it was opened.
        let mut bytes = vec![0; stretch.length as usize];
        file.read_exact(&mut bytes).map_err(io)?;
        let values = values(&bytes, stretch.dtype);
        ArrayD::from_shape_vec(IxDyn(&stretch.shape), values)
            .map_err(|e| ModelError::weights(&self.path, e.to_string()))
    }
}

fn read_header(path: &Path) -> Result<(Metadata, u64), ModelError> {
    let wrong = |what: String| ModelError::weights(path, what);
    let mut file = File::open(path).map_err(ModelError::io(path))?;
    let mut bytes = Vec::new();
    let mut read = |bytes: &mut Vec<u8>, count: u64| {
        let found = (&mut file).take(count).read_to_end(bytes);
        found.map_err(ModelError::io(path))
    };
    read(&mut bytes, 8)?;
    let Some(length) = bytes.first_chunk().copied().map(u64::from_le_bytes) else {
        return Err(wrong("it is no safetensors file".to_string()));
    };
    if length > MOST_HEADER {
        return Err(wrong("it is no safetensors file".to_string()));
    }
    read(&mut bytes, length)?;
    // Checks that tensors follow one another, as long as their shapes say.
    let metadata =
        serde_json::from_slice(&bytes[8..]).map_err(|e| wrong(format!("its header: {e}")))?;
    Ok((metadata, 8 + length))
}

/// What precedes `landmark` in the one tensor whose name ends with it.
fn prefix(metadata: &Metadata, landmark: &str) -> Result<String, String> {
    let names = metadata.offset_keys();
    let starts = names.iter().filter_map(|name| name.strip_suffix(landmark));
    let mut starts = starts.filter(|start| start.is_empty() || start.ends_with('.'));
    match (starts.next(), starts.next()) {
        (Some(prefix), None) => Ok(prefix.to_string()),
        (None, _) => Err(format!("it has no tensor `{landmark}`")),
        (Some(_), Some(_)) => Err(format!("it has several tensors `{landmark}`")),
    }
}

fn onnx_type(dtype: Dtype) -> Option<i32> {
    match dtype {
        Dtype::F32 => Some(onnx::FLOAT),
        Dtype::F16 => Some(onnx::FLOAT16),
        Dtype::BF16 => Some(onnx::BFLOAT16),
        _ => None,
    }
}

fn values(bytes: &[u8], dtype: i32) -> Vec<f32> {
    let halves = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        onnx::FLOAT16 => halves
            .map(|b| half::f16::from_le_bytes(b).to_f32())
            .collect(),
        onnx::BFLOAT16 => halves
            .map(|b| half::bf16::from_le_bytes(b).to_f32())
            .collect(),
        _ => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tensors up to the last byte that can be counted, by a header that is a byte longer than the
    /// file has: where the data ends, counted modulo 2^64, is where the file does.
    #[test]
    fn tensors_that_end_beyond_what_can_be_counted_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let length = u64::MAX / 8;
        let tensor = |index: u64| {
            let first = index * length;
            let length = if index < 8 { length } else { 7 };
            let end = first + length;
            format!(
                r#""a{index}.w":{{"dtype":"U8","shape":[{length}],"data_offsets":[{first},{end}]}}"#
            )
        };
        let header = (0..9).map(tensor).collect::<Vec<_>>().join(",");
        let header = format!("{{{header}}}");
        let mut file = (header.len() as u64 + 1).to_le_bytes().to_vec();
        file.extend(header.as_bytes());
        std::fs::write(&path, &file).unwrap();
        let error = Checkpoint::open(&path, "w").unwrap_err().to_string();
        assert!(error.contains("its header speaks of"), "{error}");
    }
}
