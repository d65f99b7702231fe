//! Patch tokens of slices in memory that belongs to the backbone.

use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::ArrowNativeType;
use bytes::Bytes;
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::Array3;
use parquet::data_type::{ByteArray, FixedLenByteArray};

use crate::encoding::{PatchDtype, encode_int8};

/// Bits of the exponent of an f16; all are set if it is infinite or NaN.
const EXPONENT: u16 = f16::INFINITY.to_bits();

/// Output of a backbone.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// Single precision; a cache stores half precision.
    F32(ScalarBuffer<f32>),
    /// Half precision, as in a cache.
    F16(ScalarBuffer<f16>),
}

impl Numbers {
    /// The f32 in the bytes of `owner`, without a copy.
    pub fn f32(owner: impl AsRef<[u8]> + Send + 'static) -> Numbers {
        Numbers::F32(shared(owner))
    }

    /// The f16 in the bytes of `owner`, without a copy.
    pub fn f16(owner: impl AsRef<[u8]> + Send + 'static) -> Numbers {
        Numbers::F16(shared(owner))
    }

    fn len(&self) -> usize {
        match self {
            Numbers::F32(values) => values.len(),
            Numbers::F16(values) => values.len(),
        }
    }

    fn slice(&self, start: usize, len: usize) -> Numbers {
        match self {
            Numbers::F32(values) => Numbers::F32(values.slice(start, len)),
            Numbers::F16(values) => Numbers::F16(values.slice(start, len)),
        }
    }
}

fn shared<T: ArrowNativeType>(owner: impl AsRef<[u8]> + Send + 'static) -> ScalarBuffer<T> {
    Buffer::from(Bytes::from_owner(owner)).into()
}

/// Patch tokens `[B, P, D]` of `B` slices from one block, patches row by row of the grid. Slices may be in
/// memory of several owners; a clone shares it.
#[derive(Clone, Debug)]
pub struct PatchTokens {
    /// `P` and `D`.
    shape: [usize; 2],
    /// `P · D` numbers of each slice.
    slices: Vec<Numbers>,
}

impl PatchTokens {
    /// Tokens of `shape` `[P, D]`; the length of `numbers` is a multiple of `P · D` and gives the number of
    /// slices.
    pub fn new(numbers: &Numbers, shape: [usize; 2]) -> PatchTokens {
        let len = shape[0] * shape[1];
        let starts = (0..numbers.len() / len.max(1)).map(|slice| slice * len);
        PatchTokens {
            shape,
            slices: starts.map(|start| numbers.slice(start, len)).collect(),
        }
    }

    /// `B`, `P` and `D`.
    pub fn shape(&self) -> [usize; 3] {
        [self.slices.len(), self.shape[0], self.shape[1]]
    }

    /// Keeps the first `slices` slices.
    pub fn truncate(&mut self, slices: usize) {
        self.slices.truncate(slices);
    }

    /// Appends tokens of other slices with the same `[P, D]`.
    pub fn append(&mut self, mut others: PatchTokens) {
        self.slices.append(&mut others.slices);
    }

    /// All tokens in single precision.
    pub fn to_f32(&self) -> Array3<f32> {
        let len = self.shape[0] * self.shape[1];
        let mut all = vec![0.0; self.slices.len() * len];
        for (slice, tokens) in self.slices.iter().zip(all.chunks_mut(len.max(1))) {
            match slice {
                Numbers::F32(values) => tokens.copy_from_slice(values),
                Numbers::F16(values) => values.convert_to_f32_slice(tokens),
            }
        }
        Array3::from_shape_vec(self.shape(), all).unwrap_or_default()
    }

    /// First number of a slice that is not finite in f16, if there is one.
    pub(crate) fn not_finite(&self, slice: usize) -> Option<f32> {
        match &self.slices[slice] {
            Numbers::F32(values) => not_finite(values),
            Numbers::F16(values) => {
                let is_finite = |value: &f16| value.to_bits() & EXPONENT != EXPONENT;
                // All at once first, since a search that may end at each number is many times slower.
                let all = values
                    .iter()
                    .fold(true, |all, value| all & is_finite(value));
                let value = values.iter().find(|value| !all && !is_finite(value));
                value.map(|value| value.to_f32())
            }
        }
    }

    /// A slice as in a cache.
    pub(crate) fn encoded_as(&self, slice: usize, dtype: PatchDtype) -> FixedLenByteArray {
        match (dtype, &self.slices[slice]) {
            (PatchDtype::F16, _) => self.encoded(slice),
            (PatchDtype::Int8, Numbers::F32(values)) => {
                bytes_of(Buffer::from_vec(encode_int8(values, self.shape[1])))
            }
            (PatchDtype::Int8, Numbers::F16(halves)) => {
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                bytes_of(Buffer::from_vec(encode_int8(&values, self.shape[1])))
            }
        }
    }

    /// A slice in little-endian f16.
    fn encoded(&self, slice: usize) -> FixedLenByteArray {
        let buffer = match &self.slices[slice] {
            Numbers::F16(values) if cfg!(target_endian = "little") => values.inner().clone(),
            Numbers::F16(values) => Buffer::from_vec(little_endian(values.to_vec())),
            Numbers::F32(values) => Buffer::from_vec(to_f16(values)),
        };
        bytes_of(buffer)
    }
}

fn bytes_of(buffer: Buffer) -> FixedLenByteArray {
    ByteArray::from(Bytes::from(buffer)).into()
}

impl From<Array3<f32>> for PatchTokens {
    fn from(tokens: Array3<f32>) -> PatchTokens {
        let (_, patches, width) = tokens.dim();
        let values: Vec<f32> = if tokens.is_standard_layout() {
            tokens.into_raw_vec_and_offset().0
        } else {
            tokens.iter().copied().collect()
        };
        PatchTokens::new(&Numbers::F32(values.into()), [patches, width])
    }
}

/// First number that is not finite in f16, if there is one.
pub(crate) fn not_finite(values: &[f32]) -> Option<f32> {
    let is_finite = |value: f32| value.abs() <= f16::MAX.to_f32();
    // All at once first, since a search that may end at each number is many times slower.
    let all = values
        .iter()
        .fold(true, |all, &value| all & is_finite(value));
    let found = values.iter().find(|&&value| !all && !is_finite(value));
    found.copied()
}

/// Numbers as in a cache: little-endian f16.
pub(crate) fn to_f16(values: &[f32]) -> Vec<f16> {
    let mut out = vec![f16::ZERO; values.len()];
    out.convert_from_f32_slice(values);
    little_endian(out)
}

fn little_endian(mut values: Vec<f16>) -> Vec<f16> {
    for value in &mut values {
        *value = f16::from_bits(value.to_bits().to_le());
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_half_precision_are_kept_as_they_are() {
        let values: Vec<f16> = (0..12).map(|n| f16::from_f32(n as f32 / 3.0)).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut tokens = PatchTokens::new(&Numbers::F16(values.clone().into()), [2, 3]);
        assert_eq!(tokens.shape(), [2, 2, 3]);
        assert_eq!(tokens.encoded(1).data(), &bytes[12..]);
        assert_eq!(tokens.to_f32()[[1, 0, 2]], values[8].to_f32());
        tokens.append(tokens.clone());
        tokens.truncate(3);
        assert_eq!(tokens.shape(), [3, 2, 3]);
        assert_eq!(tokens.encoded(2).data(), &bytes[..12]);
    }

    #[test]
    fn numbers_without_an_f16_are_found_in_both_precisions() {
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 7e4] {
            let single = Array3::from_shape_vec((2, 1, 2), vec![1.0, 65504.0, -3.0, wrong]);
            let single = PatchTokens::from(single.unwrap());
            let half: Vec<f16> = [1.0, 65504.0, -3.0, wrong].map(f16::from_f32).into();
            let half = PatchTokens::new(&Numbers::F16(half.into()), [1, 2]);
            for tokens in [single, half] {
                assert_eq!(tokens.not_finite(0), None);
                let found = tokens.not_finite(1).unwrap();
                assert!(found.is_nan() || found.abs() > 65504.0, "{found}");
            }
        }
    }
}
