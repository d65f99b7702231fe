//! Weights in a safetensors file. Graphs refer to spans of the file, which is not copied.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::Error;
use crate::names::{Names, canonical};
use crate::proto;

/// Largest accepted header, in bytes; a checkpoint of ten thousand tensors has 1 MB.
const MOST_HEADER: u64 = 64 << 20;

/// An opened safetensors file.
#[derive(Debug)]
pub(super) struct Checkpoint {
    path: PathBuf,
    /// Naming scheme of the tensors.
    pub(super) names: &'static Names,
    /// The encoder's tensors, by canonical names without `prefix`.
    tensors: BTreeMap<String, TensorInfo>,
    /// Offset of the tensors' bytes in the file.
    data: u64,
    /// Prefix of the encoder's names, for instance `vit.`.
    prefix: String,
    /// Names of the tensors that the graph uses.
    used: RefCell<BTreeSet<String>>,
}

/// The span of a file that holds a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorSpan {
    /// Lengths of its axes.
    pub(super) shape: Vec<usize>,
    /// Element type, one of those in [`proto`].
    pub(super) dtype: i32,
    /// First byte in the file.
    pub(super) offset: u64,
    /// Number of bytes.
    pub(super) length: u64,
}

impl TensorSpan {
    /// Part `index` of `count` equal parts along the first axis, for one matrix that holds several.
    pub(super) fn part(&self, index: usize, count: usize) -> TensorSpan {
        let length = self.length / count as u64;
        let mut shape = self.shape.clone();
        shape[0] /= count;
        TensorSpan {
            shape,
            dtype: self.dtype,
            offset: self.offset + index as u64 * length,
            length,
        }
    }
}

impl Checkpoint {
    /// Opens a file whose tensors have one of the naming schemes `names`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::Weights`] if it is no safetensors file, is truncated, or has no encoder or
    /// several.
    pub(super) fn open(path: &Path, names: &'static [Names]) -> Result<Checkpoint, Error> {
        let (metadata, data) = read_header(path)?;
        let length = metadata.data_len() as u64;
        let found = std::fs::metadata(path).map_err(Error::io(path))?.len();
        if data.checked_add(length) != Some(found) {
            let what = format!(
                "the file has {found} bytes, expected {data} of the header and {length} of tensors"
            );
            return Err(Error::weights(path, what));
        }
        let all: BTreeMap<String, TensorInfo> = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (canonical(&name), info.clone()))
            .collect();
        let (names, prefix) = encoder(&all, names).map_err(|what| Error::weights(path, what))?;
        let tensors = all.into_iter().filter_map(|(name, info)| {
            let name = name.strip_prefix(&prefix)?.to_string();
            Some((name, info))
        });
        Ok(Checkpoint {
            path: path.to_path_buf(),
            names,
            tensors: tensors.collect(),
            data,
            prefix,
            used: RefCell::default(),
        })
    }

    /// [`Error::Weights`] about the file.
    pub(super) fn wrong(&self, what: impl Into<String>) -> Error {
        Error::weights(&self.path, what)
    }

    /// True if the encoder has a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.info(name).is_some()
    }

    /// The encoder's `name` with its prefix, in the canonical form.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The encoder's tensor `name`, whose shape must be `shape`.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] if there is no such tensor, or one of another shape or type.
    pub(super) fn find(&self, name: &str, shape: &[usize]) -> Result<TensorSpan, Error> {
        let full = format!("{}{name}", self.prefix);
        let Some(info) = self.info(name) else {
            return Err(self.wrong(format!("there is no tensor `{full}`")));
        };
        if info.shape != shape {
            let found = &info.shape;
            return Err(self.wrong(format!("tensor `{full}` is {found:?}, expected {shape:?}")));
        }
        let dtype = onnx_type(info.dtype).ok_or_else(|| {
            let found = info.dtype;
            self.wrong(format!(
                "tensor `{full}` is of type {found:?}, expected F32, F16 or BF16"
            ))
        })?;
        self.used.borrow_mut().insert(name.to_string());
        let (first, end) = info.data_offsets;
        Ok(TensorSpan {
            shape: shape.to_vec(),
            dtype,
            offset: self.data + first as u64,
            length: (end - first) as u64,
        })
    }

    /// Checks that the graph uses all tensors of the encoder, and that they have the number of parameters on the
    /// card.
    ///
    /// # Errors
    ///
    /// [`Error::Weights`] with the unused blocks or tensors, or the numbers of parameters.
    pub(super) fn expect_all_used(&self, depth: u32, parameters: u64) -> Result<(), Error> {
        let blocks = self.blocks();
        if blocks > depth.into() {
            return Err(self.wrong(format!(
                "it has {blocks} blocks, the card's `depth` is {depth}"
            )));
        }
        let used = self.used.borrow();
        let covered = self.tensors.keys().filter(|name| self.names.covers(name));
        let unused: Vec<&String> = covered.filter(|name| !used.contains(*name)).collect();
        if let [first, others @ ..] = &unused[..] {
            let others = match others.len() {
                0 => String::new(),
                count => format!(" and {count} more of its tensors"),
            };
            return Err(self.wrong(format!(
                "`{}{first}`{others} would not be used: the card describes an encoder without them",
                self.prefix
            )));
        }
        let used = used.iter().filter_map(|name| self.info(name));
        let found: u64 = used
            .map(|info| info.shape.iter().map(|&n| n as u64).product::<u64>())
            .sum();
        if found != parameters {
            return Err(self.wrong(format!(
                "its encoder has {found} parameters, the card says {parameters}: tensors are missing, or it is another model"
            )));
        }
        Ok(())
    }

    /// The number of the encoder's blocks: the highest number in a name, plus 1.
    fn blocks(&self) -> u64 {
        let names = self.tensors.keys();
        let numbers = names.filter_map(|name| {
            let rest = name.strip_prefix(self.names.block)?.strip_prefix('.')?;
            rest.split('.').next()?.parse::<u64>().ok()
        });
        numbers.max().map_or(0, |last| last.saturating_add(1))
    }

    /// The lengths of the axes of the encoder's tensor `name`.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.info(name).map(|info| &info.shape[..])
    }

    /// The values of a tensor.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if they cannot be read.
    pub(super) fn read(&self, span: &TensorSpan) -> Result<ArrayD<f32>, Error> {
        let io = |source| Error::io(&self.path)(source);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(span.offset)).map_err(io)?;
        // Checked against the file's size by `open`.
        let mut bytes = vec![0; span.length as usize];
        file.read_exact(&mut bytes).map_err(io)?;
        let values = values(&bytes, span.dtype);
        ArrayD::from_shape_vec(IxDyn(&span.shape), values).map_err(|e| self.wrong(e.to_string()))
    }
}

/// The header of a safetensors file, and the offset of the tensors' bytes.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Weights`] if it is no safetensors file, or tensors overlap.
pub fn read_header(path: &Path) -> Result<(Metadata, u64), Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let mut start = Vec::new();
    let read = (&file).take(8).read_to_end(&mut start);
    read.map_err(Error::io(path))?;
    let length = start.first_chunk().copied().map(u64::from_le_bytes);
    let Some(length) = length.filter(|length| *length <= MOST_HEADER) else {
        return Err(Error::weights(path, "not a safetensors file"));
    };
    let mut header = Vec::new();
    let read = (&file).take(length).read_to_end(&mut header);
    read.map_err(Error::io(path))?;
    // Checks that tensors are contiguous and have the lengths of their shapes.
    let metadata = serde_json::from_slice(&header);
    let metadata = metadata.map_err(|e| Error::weights(path, format!("its header: {e}")))?;
    Ok((metadata, 8 + length))
}

/// The first of `names` that fits an encoder, and the prefix of its tensors: that of the patch embedding.
fn encoder(
    tensors: &BTreeMap<String, TensorInfo>,
    names: &'static [Names],
) -> Result<(&'static Names, String), String> {
    for names in names {
        match &prefixes(tensors, names)[..] {
            [] => {}
            [prefix] => return Ok((names, (*prefix).to_string())),
            several => {
                return Err(format!(
                    "it has several encoders, with the prefixes `{}`",
                    several.join("`, `")
                ));
            }
        }
    }
    let patches: Vec<_> = names.iter().map(|names| names.patch).collect();
    let some: Vec<_> = tensors.keys().take(3).cloned().collect();
    Err(format!(
        "it has no tensor `{}.weight`; its first tensors are `{}`",
        patches.join(".weight`, `"),
        some.join("`, `")
    ))
}

/// The prefixes of the patch embeddings of a naming scheme.
fn prefixes<'a>(tensors: &'a BTreeMap<String, TensorInfo>, names: &Names) -> Vec<&'a str> {
    let landmark = format!("{}.weight", names.patch);
    let prefixes = tensors
        .keys()
        .filter_map(|name| name.strip_suffix(&landmark));
    prefixes
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .collect()
}

fn onnx_type(dtype: Dtype) -> Option<i32> {
    match dtype {
        Dtype::F32 => Some(proto::FLOAT),
        Dtype::F16 => Some(proto::FLOAT16),
        Dtype::BF16 => Some(proto::BFLOAT16),
        _ => None,
    }
}

fn values(bytes: &[u8], dtype: i32) -> Vec<f32> {
    let halves = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    match dtype {
        proto::FLOAT16 => halves
            .map(|b| half::f16::from_le_bytes(b).to_f32())
            .collect(),
        proto::BFLOAT16 => halves
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
        let names = crate::TensorNames::Dinov2.names();
        let error = Checkpoint::open(&path, names).unwrap_err().to_string();
        assert!(error.contains("of the header and"), "{error}");
    }
}
