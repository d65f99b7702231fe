//! The label maps of a volume, slice by slice.

use ndarray::{ArrayView3, Zip};
use nn::IGNORE;

use super::volume::Distances;
use crate::metrics::surface::{diagonal, hausdorff_95_by_class};

/// Label maps of a sample's slices at their own size.
#[derive(Debug, Default)]
pub(super) struct Stack {
    /// The slices' rows in the cache.
    pub(super) rows: Vec<usize>,
    size: [usize; 2],
    is_uneven: bool,
    /// Classes of those slices that have masks.
    truth: Vec<u16>,
    predicted: Vec<u16>,
}

impl Stack {
    /// Adds a slice; `truth` is empty if it has no mask.
    pub(super) fn push(&mut self, row: usize, size: [usize; 2], truth: &[u16], predicted: &[u16]) {
        self.is_uneven |= !self.rows.is_empty() && self.size != size;
        self.size = size;
        self.rows.push(row);
        self.truth.extend(truth);
        self.predicted.extend(predicted);
    }

    /// The predicted classes `[S, H, W]`; `None` if slices differ in size.
    pub(super) fn predicted(&self) -> Option<ArrayView3<'_, u16>> {
        self.volume(&self.predicted)
    }

    fn volume<'a>(&self, labels: &'a [u16]) -> Option<ArrayView3<'a, u16>> {
        let shape = (self.rows.len(), self.size[0], self.size[1]);
        let volume = ArrayView3::from_shape(shape, labels).ok();
        volume.filter(|_| !self.is_uneven)
    }

    /// The distances between surfaces; `None` if not all slices have masks, if they differ in size, or if
    /// the spacing is not known. Ignored pixels count as background.
    pub(super) fn distances(
        &self,
        classes: usize,
        spacing_mm: Option<[f32; 3]>,
    ) -> Option<Distances> {
        let mm = spacing_mm.filter(|mm| mm.iter().all(|mm| mm.is_finite() && *mm > 0.0))?;
        let mm = mm.map(f64::from);
        let (truth, predicted) = (self.volume(&self.truth)?, self.predicted()?);
        let counted = Zip::from(truth)
            .and(predicted)
            .map_collect(|&truth, &label| if truth == IGNORE { 0 } else { label });
        Some(Distances {
            hd95_mm: hausdorff_95_by_class(truth, counted.view(), classes, mm),
            diagonal_mm: diagonal(truth.shape(), mm),
        })
    }
}
