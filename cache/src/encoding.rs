//! Encodings of the tokens of a row.

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

/// Element type of patch tokens in a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PatchDtype {
    /// Half precision.
    #[default]
    F16,
    /// 8-bit integers, with a scale in single precision for each token.
    Int8,
}

impl PatchDtype {
    pub(crate) fn is_f16(&self) -> bool {
        *self == PatchDtype::F16
    }
}

/// Exponent of infinity and NaN in half precision.
const INFINITY: u16 = f16::INFINITY.to_bits();

/// Greatest magnitude of an 8-bit integer in a token.
const GREATEST: f32 = 127.0;

/// Encoding of the tokens of a row in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Numbers in half precision, little-endian.
    F16,
    /// The scales of all tokens in single precision, little-endian, and then the numbers of all tokens, `width`
    /// each.
    Int8 { width: usize },
}

impl Encoding {
    /// Bytes of a row with `values` numbers.
    pub(crate) fn bytes(self, values: usize) -> usize {
        match self {
            Encoding::F16 => values * size_of::<f16>(),
            Encoding::Int8 { width } => values + values / width.max(1) * size_of::<f32>(),
        }
    }

    /// Writes the numbers of a row into `out`, which has as many; false if one is NaN or infinite.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut [f32]) -> bool {
        match self {
            Encoding::F16 => decode_f16(bytes, out),
            Encoding::Int8 { width } => decode_int8(bytes, width, out),
        }
    }
}

fn decode_f16(bytes: &[u8], out: &mut [f32]) -> bool {
    // A page's bytes may lie at an odd address.
    let mut aligned = [f16::ZERO; 512];
    let bytes = bytes.chunks(size_of_val(&aligned));
    let mut is_finite = true;
    for (bytes, out) in bytes.zip(out.chunks_mut(aligned.len())) {
        let halves = &mut aligned[..out.len()];
        for (half, pair) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = f16::from_le_bytes(*pair);
        }
        let is_finite_bits = |half: &f16| half.to_bits() & INFINITY != INFINITY;
        is_finite &= halves
            .iter()
            .fold(true, |all, half| all & is_finite_bits(half));
        halves.convert_to_f32_slice(out);
    }
    is_finite
}

fn decode_int8(bytes: &[u8], width: usize, out: &mut [f32]) -> bool {
    let tokens = out.len() / width.max(1);
    let (scales, numbers) = bytes.split_at((tokens * size_of::<f32>()).min(bytes.len()));
    let scales = scales
        .as_chunks::<4>()
        .0
        .iter()
        .map(|scale| f32::from_le_bytes(*scale));
    let tokens = numbers
        .chunks(width.max(1))
        .zip(out.chunks_mut(width.max(1)));
    let mut is_finite = true;
    for (scale, (numbers, out)) in scales.zip(tokens) {
        // No number may overflow, -128 neither.
        is_finite &= (scale * 128.0).is_finite();
        for (number, value) in numbers.iter().zip(out) {
            *value = f32::from(number.cast_signed()) * scale;
        }
    }
    is_finite
}

/// Tokens of `width` numbers each as in [`Encoding::Int8`]. The scale of a token is its greatest magnitude divided
/// by 127; numbers are rounded to the nearest integer, halves to even.
pub(crate) fn encode_int8(values: &[f32], width: usize) -> Vec<u8> {
    let tokens = || values.chunks(width.max(1));
    let mut scales = Vec::with_capacity(Encoding::Int8 { width }.bytes(values.len()));
    let mut numbers = Vec::with_capacity(values.len());
    for token in tokens() {
        let greatest = token
            .iter()
            .fold(0.0_f32, |most, value| most.max(value.abs()));
        let scale = greatest / GREATEST;
        scales.extend(scale.to_le_bytes());
        let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let rounded = token.iter().map(|value| (value * factor).round_ties_even());
        numbers.extend(
            rounded.map(|number| (number.clamp(-GREATEST, GREATEST) as i8).cast_unsigned()),
        );
    }
    scales.append(&mut numbers);
    scales
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_keep_each_token_to_half_a_step_of_its_own_scale() {
        let width = 5;
        let values: Vec<f32> = (0..20)
            .map(|n| (n as f32 - 9.5) * 10_f32.powi(n / 5 - 2))
            .collect();
        let bytes = encode_int8(&values, width);
        assert_eq!(bytes.len(), Encoding::Int8 { width }.bytes(20));
        let mut found = vec![f32::NAN; 20];
        Encoding::Int8 { width }.decode(&bytes, &mut found);
        for (token, found) in values.chunks(width).zip(found.chunks(width)) {
            let greatest = token
                .iter()
                .fold(0.0_f32, |most, value| most.max(value.abs()));
            for (value, found) in token.iter().zip(found) {
                assert!(
                    (value - found).abs() <= greatest / 127.0 * 0.501,
                    "{value} {found}"
                );
            }
        }
    }

    #[test]
    fn a_token_of_zeros_stays_zero() {
        let mut found = vec![1.0; 4];
        Encoding::Int8 { width: 2 }.decode(&encode_int8(&[0.0, 0.0, 3.0, -3.0], 2), &mut found);
        assert_eq!(found, [0.0, 0.0, 3.0, -3.0]);
    }
}
