//! The one place that knows column names and encodings.
//!
//! Tensors are little-endian f16 in `FixedSizeBinary` columns, a column per layer: Parquet reads
//! those over twenty times faster than lists. Every other column but `affine` is plain.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int8Array, Int32Array, ListArray, RecordBatch, StringArray, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    DataType, Field, FieldRef, Float32Type, Float64Type, Int8Type, Int32Type, Schema, SchemaRef,
    UInt16Type, UInt32Type,
};
use arrow::error::ArrowError;
use common::text::printable;
use common::{Mask, Picture, Placement, counted};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, ArrayView2};

use crate::patch_tokens::to_f16;
use crate::rows::{self, Invalid};
use crate::{CacheMeta, Labels, LayerShape, SliceMeta, Split, Task, Tokens};

/// Numbers of an affine, row by row.
const AFFINE_VALUES: usize = 12;

/// The tables of a cache, a folder each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Slices,
    Cls,
    Mean,
    Patch,
    Mask,
    Picture,
}

impl Table {
    pub(crate) const ALL: [Table; 6] = [
        Table::Slices,
        Table::Cls,
        Table::Mean,
        Table::Patch,
        Table::Mask,
        Table::Picture,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Table::Slices => "slices",
            Table::Cls => "cls",
            Table::Mean => "mean",
            Table::Patch => "patch",
            Table::Mask => "mask",
            Table::Picture => "picture",
        }
    }

    /// The tables that a cache with this description has.
    pub(crate) fn of(meta: &CacheMeta) -> Vec<Table> {
        let mut tables = vec![Table::Slices, Table::Cls, Table::Mean];
        if meta.tokens == Tokens::All {
            tables.push(Table::Patch);
        }
        if meta.has_masks {
            tables.push(Table::Mask);
        }
        if meta.has_pictures {
            tables.push(Table::Picture);
        }
        tables
    }

    /// Values that a row holds in the tensor column of a layer of this shape; `None` for the other
    /// tables.
    pub(crate) fn tensor_values(self, shape: LayerShape) -> Option<usize> {
        match self {
            Table::Cls => Some(shape.cls as usize),
            Table::Mean => Some(shape.patch as usize),
            Table::Patch => Some(shape.patch as usize * shape.patches()),
            Table::Slices | Table::Mask | Table::Picture => None,
        }
    }

    /// The same in bytes.
    pub(crate) fn tensor_bytes(self, shape: LayerShape) -> Option<usize> {
        self.tensor_values(shape)
            .map(|values| values * size_of::<f16>())
    }

    pub(crate) fn schema(self, meta: &CacheMeta) -> SchemaRef {
        let mut fields = vec![Field::new("row", DataType::UInt64, false)];
        match self {
            Table::Slices => fields.extend(slice_fields(meta)),
            Table::Mask => fields.push(Field::new("mask", DataType::Binary, true)),
            Table::Picture => {
                let kind = DataType::FixedSizeBinary(fixed_size(picture_bytes(meta)));
                fields.push(Field::new("picture", kind, false));
            }
            Table::Cls | Table::Mean | Table::Patch => {
                let layers = (1..=meta.layers).rev();
                fields.extend(layers.map(|layer| self.tensor_field(layer, meta.shape(layer))));
            }
        }
        Arc::new(Schema::new(fields))
    }

    fn tensor_field(self, layer: u32, shape: LayerShape) -> Field {
        let bytes = self.tensor_bytes(shape).unwrap_or_default();
        let kind = DataType::FixedSizeBinary(fixed_size(bytes));
        Field::new(self.column(layer), kind, false)
    }

    /// The name of a tensor's column; layer 1 is the last block.
    pub(crate) fn column(self, layer: u32) -> String {
        format!("{}_{layer}", self.name())
    }
}

/// Bytes of a picture.
pub(crate) fn picture_bytes(meta: &CacheMeta) -> usize {
    (meta.image_size as usize).saturating_pow(2)
}

fn fixed_size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn affine_item() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float64, false))
}

fn slice_fields(meta: &CacheMeta) -> Vec<Field> {
    let mut fields = vec![
        Field::new("sample", DataType::Utf8, false),
        Field::new("image", DataType::Utf8, false),
        Field::new("patient", DataType::Utf8, true),
        Field::new("slice", DataType::UInt32, false),
        Field::new("view", DataType::UInt16, false),
        Field::new("split", DataType::Utf8, true),
        Field::new("height", DataType::UInt32, false),
        Field::new("width", DataType::UInt32, false),
        Field::new("spacing_slice_mm", DataType::Float32, true),
        Field::new("spacing_row_mm", DataType::Float32, true),
        Field::new("spacing_column_mm", DataType::Float32, true),
    ];
    if meta.has_placement {
        let affine = DataType::List(affine_item());
        fields.push(Field::new("affine", affine, true));
        fields.push(Field::new("stored_axes", DataType::Utf8, true));
    }
    match meta.task {
        Task::Unlabelled => {}
        Task::SingleLabel => fields.push(Field::new("label", DataType::Int32, true)),
        Task::MultiLabel => fields.extend(
            meta.classes
                .iter()
                .map(|class| Field::new(label_column(class), DataType::Int8, true)),
        ),
    }
    fields
}

fn label_column(class: &str) -> String {
    format!("label_{class}")
}

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

/// A table of tensors: `layers`, oldest first, each `[B, …]` with a row's values side by side.
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

/// The rows of a batch of the `slices` table, whose schema has been checked; `Err` has the first row
/// that is none, and what is wrong with it.
pub(crate) fn decode_slices(
    meta: &CacheMeta,
    batch: &RecordBatch,
) -> Result<Vec<SliceMeta>, (usize, Invalid)> {
    let column = |name: &str| batch.column_by_name(name).expect("schema was checked");
    let text = |name: &str| column(name).as_string::<i32>();
    let u32s = |name: &str| column(name).as_primitive::<UInt32Type>();
    let mm = |name: &str| column(name).as_primitive::<Float32Type>();
    let (sample, image) = (text("sample"), text("image"));
    let (patient, split) = (text("patient"), text("split"));
    let (slice, height, width) = (u32s("slice"), u32s("height"), u32s("width"));
    let view = column("view").as_primitive::<UInt16Type>();
    let spacing = [
        mm("spacing_slice_mm"),
        mm("spacing_row_mm"),
        mm("spacing_column_mm"),
    ];
    let mut rows = Vec::with_capacity(batch.num_rows());
    for i in 0..batch.num_rows() {
        let wrong = |invalid| (i, invalid);
        let names = [
            Some(sample.value(i)),
            Some(image.value(i)),
            optional(patient, i),
        ];
        rows::check_names(names).map_err(wrong)?;
        let row = SliceMeta {
            sample: sample.value(i).to_string(),
            image: image.value(i).to_string(),
            patient: optional(patient, i).map(str::to_string),
            slice: slice.value(i),
            view: view.value(i),
            split: optional(split, i)
                .map(split_of)
                .transpose()
                .map_err(wrong)?,
            labels: decode_labels(meta, batch, i).map_err(wrong)?,
            height: height.value(i),
            width: width.value(i),
            spacing_mm: decode_spacing(spacing, i).map_err(wrong)?,
            placement: decode_placement(meta, batch, i).map_err(wrong)?,
        };
        rows::check(meta, &row).map_err(wrong)?;
        rows.push(row);
    }
    Ok(rows)
}

fn optional(array: &StringArray, i: usize) -> Option<&str> {
    (!array.is_null(i)).then(|| array.value(i))
}

fn split_of(word: &str) -> Result<Split, Invalid> {
    let split = Split::ALL.into_iter().find(|split| split.name() == word);
    let some: String = word.chars().take(40).collect();
    split.ok_or_else(|| Invalid::new("split", printable(&some), "`train`, `val`, `test` or null"))
}

fn decode_spacing(axes: [&Float32Array; 3], i: usize) -> Result<Option<[f32; 3]>, Invalid> {
    match axes.map(|axis| axis.is_null(i)) {
        [false, false, false] => Ok(Some(axes.map(|axis| axis.value(i)))),
        [true, true, true] => Ok(None),
        _ => Err(Invalid::new(
            "spacing in mm",
            "null of some axes",
            "null of all or none",
        )),
    }
}

fn decode_placement(
    meta: &CacheMeta,
    batch: &RecordBatch,
    i: usize,
) -> Result<Option<Placement>, Invalid> {
    if !meta.has_placement {
        return Ok(None);
    }
    let column = |name: &str| batch.column_by_name(name).expect("schema was checked");
    let affine = column("affine").as_list::<i32>();
    let words = column("stored_axes").as_string::<i32>();
    let placement = match (affine.is_null(i), words.is_null(i)) {
        (true, true) => return Ok(None),
        (false, false) => {
            let values = affine.value(i);
            let values = values.as_primitive::<Float64Type>().values();
            Placement::parse(values, words.value(i))
        }
        _ => None,
    };
    let expected = "an affine and three axes, or neither";
    let wrong = || Invalid::new("placement of a slice", "wrong", expected);
    placement.map(Some).ok_or_else(wrong)
}

fn decode_labels(meta: &CacheMeta, batch: &RecordBatch, i: usize) -> Result<Labels, Invalid> {
    let column = |name: &str| batch.column_by_name(name).expect("schema was checked");
    match meta.task {
        Task::Unlabelled => Ok(Labels::Unlabelled),
        Task::SingleLabel => {
            let labels = column("label").as_primitive::<Int32Type>();
            let label = (!labels.is_null(i)).then(|| labels.value(i));
            let index = label.map(|label| u32::try_from(label).map_err(|_| label));
            let wrong = |label: i32| {
                let expected = format!("one of {}", counted(meta.classes.len(), "class"));
                Invalid::new("label", label.to_string(), expected)
            };
            Ok(Labels::Single(index.transpose().map_err(wrong)?))
        }
        Task::MultiLabel => {
            let labels = &batch.columns()[batch.num_columns() - meta.classes.len()..];
            let states = labels.iter().map(|states| {
                let states = states.as_primitive::<Int8Type>();
                (!states.is_null(i)).then(|| states.value(i))
            });
            Ok(Labels::Multi(states.collect()))
        }
    }
}

/// Writes a tensor column into `out`, `[B, …]`, as f32.
pub(crate) fn decode_tensors(column: &ArrayRef, out: &mut [f32]) {
    let column: &FixedSizeBinaryArray = column.as_fixed_size_binary();
    let row = column.value_length() as usize / size_of::<f16>();
    let mut halves = vec![f16::ZERO; row];
    for (bytes, out) in column.iter().zip(out.chunks_exact_mut(row)) {
        let pairs = bytes.unwrap_or_default().as_chunks::<2>().0;
        for (half, pair) in halves.iter_mut().zip(pairs) {
            *half = f16::from_le_bytes(*pair);
        }
        halves.convert_to_f32_slice(out);
    }
}

/// The masks of a batch of the `mask` table; `Err` has the row whose size is not `sizes`'s.
pub(crate) fn decode_masks(
    column: &BinaryArray,
    sizes: &[(u32, u32)],
) -> Result<Vec<Option<Mask>>, usize> {
    column
        .iter()
        .zip(sizes)
        .enumerate()
        .map(|(i, (bytes, &(height, width)))| {
            let Some(bytes) = bytes else { return Ok(None) };
            let (pairs, []) = bytes.as_chunks::<2>() else {
                return Err(i);
            };
            let values = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
            Array2::from_shape_vec((height as usize, width as usize), values)
                .map(Some)
                .map_err(|_| i)
        })
        .collect()
}

/// The pictures of a batch of the `picture` table, `side` pixels high and wide.
pub(crate) fn decode_pictures(column: &FixedSizeBinaryArray, side: u32) -> Vec<Picture> {
    let shape = (side as usize, side as usize);
    let picture = |bytes: Option<&[u8]>| {
        let bytes = bytes.unwrap_or_default().to_vec();
        Array2::from_shape_vec(shape, bytes).expect("schema was checked")
    };
    column.iter().map(picture).collect()
}
