//! Columns to rows.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, Float32Array, RecordBatch,
    StringArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int8Type, Int32Type, UInt16Type, UInt32Type};
use common::text::printable;
use common::{Mask, Picture, Placement, counted};
use ndarray::Array2;

use crate::encoding::Encoding;
use crate::rows::{self, Invalid};
use crate::{CacheMeta, Labels, SliceMeta, Split, Task};

/// Rows of a batch of the `slices` table, whose schema has been checked.
///
/// # Errors
///
/// Index and fault of the first invalid row.
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
pub(crate) fn decode_tensors(column: &ArrayRef, encoding: Encoding, out: &mut [f32]) {
    let column: &FixedSizeBinaryArray = column.as_fixed_size_binary();
    let values = out.len() / column.len().max(1);
    for (bytes, out) in column.iter().zip(out.chunks_exact_mut(values.max(1))) {
        encoding.decode(bytes.unwrap_or_default(), out);
    }
}

/// Masks of a batch of the `mask` table.
///
/// # Errors
///
/// Index of the first row with another size than in `sizes`.
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
