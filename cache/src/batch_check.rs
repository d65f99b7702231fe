//! Checks of batches before they are appended.

use std::fmt::Debug;
use std::path::Path;

use common::Picture;
use ndarray::Array2;

use crate::patch_tokens::not_finite;
use crate::rows;
use crate::schema::Table;
use crate::{CacheMeta, Error, LayerShape, SliceMeta, TokenBatch};

/// Refuses a batch that does not fit the cache `dir`; `first` is the number of its first row.
pub(crate) fn check(
    dir: &Path,
    meta: &CacheMeta,
    first: u64,
    batch: &TokenBatch,
) -> Result<(), Error> {
    check_shapes(dir, meta, batch)?;
    check_rows(dir, meta, first, &batch.slices)?;
    check_values(meta, batch)
}

fn check_shapes(dir: &Path, meta: &CacheMeta, batch: &TokenBatch) -> Result<(), Error> {
    let rows = batch.slices.len();
    let layers: Vec<LayerShape> = (1..=meta.layers).rev().map(|k| meta.shape(k)).collect();
    let shapes = |of: fn(&LayerShape) -> Vec<usize>| -> Vec<Vec<usize>> {
        let shape = |layer| [vec![rows], of(layer)].concat();
        layers.iter().map(shape).collect()
    };
    let positions = |layer| match meta.tokens.table()? {
        Table::Residual => Some(meta.positions(layer)),
        _ => Some(meta.shape(layer).patches()),
    };
    let patch = (1..=meta.layers).rev().filter_map(|layer| {
        Some(vec![
            rows,
            positions(layer)?,
            meta.shape(layer).patch as usize,
        ])
    });
    let patch: Vec<Vec<usize>> = patch.collect();
    let masks = if meta.has_masks { rows } else { 0 };
    let pictures = if meta.has_pictures {
        vec![[meta.image_size as usize; 2]; rows]
    } else {
        Vec::new()
    };
    let (cls, mean) = (
        shapes(|layer| vec![layer.cls as usize]),
        shapes(|layer| vec![layer.patch as usize]),
    );
    same(dir, "cls shape", flat_shapes(&batch.cls), cls)?;
    same(dir, "mean shape", flat_shapes(&batch.mean), mean)?;
    let found = batch.patch.iter().map(|layer| layer.shape().to_vec());
    same(dir, "patch shape", found.collect(), patch)?;
    same(dir, "number of masks", batch.masks.len(), masks)?;
    let pairs = batch.masks.iter().zip(&batch.slices);
    for (mask, slice) in pairs.filter_map(|(mask, slice)| Some((mask.as_ref()?, slice))) {
        let size = (slice.height as usize, slice.width as usize);
        same(dir, "size of a mask", mask.dim(), size)?;
    }
    let found = batch.pictures.iter().map(Picture::dim);
    let found: Vec<_> = found.map(<[usize; 2]>::from).collect();
    same(dir, "picture shapes", found, pictures)
}

fn flat_shapes(layers: &[Array2<f32>]) -> Vec<Vec<usize>> {
    layers.iter().map(|layer| layer.shape().to_vec()).collect()
}

fn same<T: PartialEq + Debug>(
    dir: &Path,
    what: &'static str,
    found: T,
    expected: T,
) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Shape {
        path: dir.into(),
        what,
        found: format!("{found:?}"),
        expected: format!("{expected:?}"),
    })
}

fn check_rows(dir: &Path, meta: &CacheMeta, first: u64, slices: &[SliceMeta]) -> Result<(), Error> {
    for (row, slice) in (first..).zip(slices) {
        rows::check(meta, slice).map_err(|invalid| Error::Row {
            path: dir.into(),
            row,
            what: invalid.what,
            found: invalid.found,
            expected: invalid.expected,
        })?;
    }
    Ok(())
}

/// Refuses tokens that are not finite in f16.
fn check_values(meta: &CacheMeta, batch: &TokenBatch) -> Result<(), Error> {
    let tables = [(Table::Cls, &batch.cls), (Table::Mean, &batch.mean)];
    for (table, layers) in tables {
        for (layer, tokens) in (1..=meta.layers).rev().zip(layers) {
            for (slice, row) in batch.slices.iter().zip(tokens.rows()) {
                let row = row.as_standard_layout();
                if let Some(value) = row.as_slice().and_then(not_finite) {
                    return Err(bad_value(table, layer, slice, value));
                }
            }
        }
    }
    for (layer, tokens) in (1..=meta.layers).rev().zip(&batch.patch) {
        for (row, slice) in batch.slices.iter().enumerate() {
            if let Some(value) = tokens.not_finite(row) {
                let table = meta.tokens.table().unwrap_or(Table::Patch);
                return Err(bad_value(table, layer, slice, value));
            }
        }
    }
    Ok(())
}

fn bad_value(table: Table, layer: u32, slice: &SliceMeta, value: f32) -> Error {
    Error::NotFinite {
        sample: slice.sample.clone(),
        slice: slice.slice,
        column: table.column(layer),
        value,
    }
}
