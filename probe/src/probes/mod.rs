//! Predictors over frozen features.

pub mod centroid;
pub(crate) mod cholesky;
mod eigen;
#[cfg(feature = "hnsw")]
pub mod hnsw;
mod kernel;
pub mod knn;
pub mod linear;
pub mod logreg;
pub mod ml_knn;
pub(crate) mod pca;
pub(crate) mod ridge;
pub mod search;
pub(crate) mod tsne;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{ArrayView, ArrayViewMut, Dimension};

/// Queries per block of neighbours in memory.
const CHUNK: usize = 4096;

/// Converts f16 to f32.
pub(crate) fn widen<D: Dimension>(
    source: ArrayView<'_, f16, D>,
    mut target: ArrayViewMut<'_, f32, D>,
) {
    match (source.as_slice(), target.as_slice_mut()) {
        // Vectorised, unlike the conversion of single values.
        (Some(source), Some(target)) => source.convert_to_f32_slice(target),
        _ => target.zip_mut_with(&source, |target, source| *target = source.to_f32()),
    }
}
