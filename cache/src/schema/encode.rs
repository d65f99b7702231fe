//! Rows to columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, FixedSizeBinaryArray, Float32Array, Float64Array, Int8Array,
    Int32Array, ListArray, RecordBatch, StringArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::error::ArrowError;
use common::{Mask, Picture, Placement};
use half::f16;
use ndarray::ArrayView2;

use super::table::{Table, affine_item, fixed_size, picture_bytes};
use crate::patch_tokens::to_f16;
use crate::{CacheMeta, Labels, SliceMeta, Split, Task};

/// Numbers of an affine, row by row.
const AFFINE_VALUES: usize = 12;

/// The `slices` table of `rows`, the first of which is row `first`.
pub(crate) fn encode_slices(
    meta: &CacheMeta,
    first: u64,
    rows: &[SliceMeta],
) -> Result<RecordBatch, ArrowError> {
    let spacing = |axis: usize| -> ArrayRef {
        Arc::new(Float32Array::from_iter(
            rows.iter().map(|r| r.spacing_mm.map(|mm| mm[axis])),
        ))
    };
    let u32s = |value: fn(&SliceMeta) -> u32| -> ArrayRef {
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(value)))
    };
    let mut columns: Vec<ArrayRef> = vec![
        row_numbers(first, rows.len()),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|r| &r.sample),
        )),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.image))),
        Arc::new(StringArray::from_iter(
            rows.iter().map(|r| r.patient.as_ref()),
        )),
        u32s(|r| r.slice),
        Arc::new(UInt16Array::from_iter_values(rows.iter().map(|r| r.view))),
        Arc::new(StringArray::from_iter(
            rows.iter().map(|r| r.split.map(Split::name)),
        )),
        u32s(|r| r.height),
        u32s(|r| r.width),
        spacing(0),
        spacing(1),
        spacing(2),
    ];
    if meta.has_placement {
        columns.extend(encode_placements(rows)?);
    }
    columns.extend(encode_labels(meta, rows));
    RecordBatch::try_new(Table::Slices.schema(meta), columns)
}

fn encode_placements(rows: &[SliceMeta]) -> Result<[ArrayRef; 2], ArrowError> {
    let placements = || rows.iter().map(|r| r.placement);
    let affines = placements().flatten().map(|placement| placement.affine);
    let values = Float64Array::from_iter_values(affines.flatten().flatten());
    let length = |placement: Option<Placement>| placement.map_or(0, |_| AFFINE_VALUES);
    let offsets = OffsetBuffer::from_lengths(placements().map(length));
    let known = NullBuffer::from_iter(placements().map(|placement| placement.is_some()));
    let affine = ListArray::try_new(affine_item(), offsets, Arc::new(values), Some(known))?;
    let words = placements().map(|placement| placement.map(|p| p.stored_words()));
    Ok([Arc::new(affine), Arc::new(StringArray::from_iter(words))])
}

fn encode_labels(meta: &CacheMeta, rows: &[SliceMeta]) -> Vec<ArrayRef> {
    match meta.task {
        Task::Unlabelled => Vec::new(),
        Task::SingleLabel => vec![Arc::new(Int32Array::from_iter(rows.iter().map(
            |r| match r.labels {
                Labels::Single(class) => class.and_then(|c| i32::try_from(c).ok()),
                _ => None,
            },
        )))],
        Task::MultiLabel => (0..meta.classes.len())
            .map(|class| {
                let states = rows.iter().map(|r| match &r.labels {
                    Labels::Multi(states) => states.get(class).copied().flatten(),
                    _ => None,
                });
                Arc::new(Int8Array::from_iter(states)) as ArrayRef
            })
            .collect(),
    }
}

fn row_numbers(first: u64, count: usize) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(first..first + count as u64))
}

/// A table of tensors: `layers`, oldest first, each `[B, …]` with contiguous rows.
pub(crate) fn encode_tensors(
    table: Table,
    meta: &CacheMeta,
    first: u64,
    layers: &[ArrayView2<'_, f32>],
) -> Result<RecordBatch, ArrowError> {
    let rows = layers.first().map_or(0, ArrayView2::nrows);
    let mut columns = vec![row_numbers(first, rows)];
    for layer in layers {
        let bytes = layer.ncols() * size_of::<f16>();
        let bytes = i32::try_from(bytes).map_err(|e| ArrowError::ExternalError(e.into()))?;
        let layer = layer.as_standard_layout();
        let buffer = Buffer::from_vec(to_f16(layer.as_slice().unwrap_or_default()));
        columns.push(Arc::new(FixedSizeBinaryArray::try_new(
            bytes, buffer, None,
        )?));
    }
    RecordBatch::try_new(table.schema(meta), columns)
}

/// The `mask` table: u16 little-endian, row by row, at each slice's own height and width.
pub(crate) fn encode_masks(
    meta: &CacheMeta,
    first: u64,
    masks: &[Option<Mask>],
) -> Result<RecordBatch, ArrowError> {
    let mut column = BinaryBuilder::new();
    for mask in masks {
        let bytes = mask
            .as_ref()
            .map(|mask| -> Vec<u8> { mask.iter().flat_map(|value| value.to_le_bytes()).collect() });
        column.append_option(bytes);
    }
    let columns: Vec<ArrayRef> = vec![row_numbers(first, masks.len()), Arc::new(column.finish())];
    RecordBatch::try_new(Table::Mask.schema(meta), columns)
}

/// The `picture` table: a byte for a pixel, row by row.
pub(crate) fn encode_pictures(
    meta: &CacheMeta,
    first: u64,
    pictures: &[Picture],
) -> Result<RecordBatch, ArrowError> {
    let bytes: Vec<u8> = pictures.iter().flatten().copied().collect();
    let size = fixed_size(picture_bytes(meta));
    let column = FixedSizeBinaryArray::try_new(size, Buffer::from_vec(bytes), None)?;
    let columns: Vec<ArrayRef> = vec![row_numbers(first, pictures.len()), Arc::new(column)];
    RecordBatch::try_new(Table::Picture.schema(meta), columns)
}
