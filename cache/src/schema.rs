//! Column names and encodings.
//!
//! Tensors are little-endian f16 in `FixedSizeBinary` columns, one per layer: Parquet reads those over
//! twenty times faster than lists. Every other column but `affine` is plain.

mod decode;
mod encode;
mod table;

pub(crate) use decode::{decode_masks, decode_pictures, decode_slices, decode_tensors};
pub(crate) use encode::{encode_masks, encode_pictures, encode_slices, encode_tensors};
pub(crate) use table::{Table, picture_bytes};
