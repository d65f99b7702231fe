//! Slices as they are stored, decoded one at a time.

mod cut;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use common::{Mask, Placement};
use ndarray::{Array3, Axis};

use super::shown::Shown;
use super::voxels::Voxels;
use crate::Error;
use crate::orient::{self, AS_STORED, Geometry, Stored};
use crate::preprocess::Bounds;

/// Greatest distance of a stored label from a whole number.
const LABEL_TOLERANCE: f64 = 1e-3;

/// An image in memory: `S` slices of `[C, H, W]`.
///
/// Voxels stay in the file's own type, so a volume of 16-bit integers takes two bytes each, and are
/// decoded slice by slice. As read, slices are as stored: a PNG or JPEG is one slice; a NIfTI is
/// cut along its third axis, slice `k` being `get_fdata()[:, :, k]` of nibabel, rows along the
/// first axis and columns along the second; a DICOM series has a slice per file, ordered by
/// position. [`cut`](Volume::cut) cuts in another way.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(super) blocks: Vec<Block>,
    pub(super) geometry: Geometry,
    /// Distance between slices, rows and columns.
    pub(super) spacing_mm: Option<[f32; 3]>,
    /// Axes of the stored array among those of the slices.
    pub(super) stored: Stored,
    /// Warnings about the files, in the plural.
    pub(super) odd: Vec<&'static str>,
}

/// Content of one file: one or more slices of one size.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) path: PathBuf,
    pub(super) voxels: Voxels,
    /// Slope and intercept.
    pub(super) scale: Option<(f64, f64)>,
    /// Window or lookup table of the file.
    pub(super) shown: Option<Shown>,
}

impl Volume {
    /// The image of a single file.
    pub(super) fn of_block(block: Block, geometry: Geometry) -> Volume {
        Volume {
            blocks: vec![block],
            geometry,
            spacing_mm: None,
            stored: AS_STORED,
            odd: Vec::new(),
        }
    }

    /// Stack of slices in this order; they may differ in size.
    ///
    /// # Errors
    ///
    /// [`Error::UnevenStack`] if there is none.
    pub(super) fn stacked(volumes: Vec<Volume>) -> Result<Volume, Error> {
        let geometry = orient::of_stack(volumes.iter().map(|volume| &volume.geometry));
        let spacing_mm = volumes.first().and_then(|volume| volume.spacing_mm);
        let spacing_mm = match &geometry {
            Geometry::Known(affine) | Geometry::Uneven(affine, _) if volumes.len() > 1 => {
                Some(orient::spacing(affine))
            }
            _ => spacing_mm,
        };
        let odd: BTreeSet<_> = volumes.iter().flat_map(|volume| &volume.odd).collect();
        let odd = odd.into_iter().copied().collect();
        let blocks: Vec<Block> = volumes
            .into_iter()
            .flat_map(|volume| volume.blocks)
            .collect();
        if blocks.is_empty() {
            let path = PathBuf::new();
            return Err(Error::UnevenStack { path });
        }
        Ok(Volume {
            blocks,
            geometry,
            spacing_mm,
            stored: AS_STORED,
            odd,
        })
    }

    /// The first file that was read.
    pub fn path(&self) -> &Path {
        &self.blocks[0].path
    }

    /// File of slice `k`; of slices cut across files, the first file.
    pub fn file_of(&self, k: usize) -> &Path {
        &self.block(k).0.path
    }

    /// The number of slices `S`, at least 1.
    pub fn slices(&self) -> usize {
        self.blocks.iter().map(Block::slices).sum()
    }

    /// Channels, rows and columns of slice `k`: `[C, H, W]`, `C` being 1 (grey) or 3 (red, green,
    /// blue).
    ///
    /// # Panics
    ///
    /// As all methods that take a `k`: if it is not below [`slices`](Self::slices).
    pub fn shape(&self, k: usize) -> [usize; 3] {
        let (_, channels, height, width) = self.block(k).0.voxels.dim();
        [channels, height, width]
    }

    /// Distance between slices, rows and columns in mm, if the file gives it.
    pub fn spacing_mm(&self) -> Option<[f32; 3]> {
        self.spacing_mm
    }

    /// Position of the slices, if the file gives it and they are of one size.
    pub fn placement(&self) -> Option<Placement> {
        let size = |block: &Block| {
            let (_, _, height, width) = block.voxels.dim();
            [height, width]
        };
        let Geometry::Known(affine) = &self.geometry else {
            return None;
        };
        let is_even = self
            .blocks
            .iter()
            .map(size)
            .all(|s| s == size(&self.blocks[0]));
        is_even.then(|| Placement {
            affine: affine.map(|[row, column, slice, origin]| [slice, row, column, origin]),
            stored: self.stored,
        })
    }

    /// Whether all pixels of `slices` are equal, colour by colour.
    pub fn is_constant(&self, slices: Range<usize>) -> bool {
        let mut start = 0;
        let mut values = Vec::new();
        for block in &self.blocks {
            let end = start + block.slices();
            let range = slices.start.max(start)..slices.end.min(end);
            if !range.is_empty() {
                let inner = range.start - start..range.end - start;
                values.push(block.voxels.plane(inner.start, block.scale)[[0, 0, 0]]);
                if !block.voxels.is_constant(inner) {
                    return false;
                }
            }
            start = end;
        }
        values.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// Number of voxels of slice `k` that are NaN or not below `largest` in magnitude.
    pub fn count_unusable(&self, k: usize, largest: f32) -> usize {
        let (block, k) = self.block(k);
        block.voxels.count_unusable(k, largest, block.scale)
    }

    /// Window of slice `k` (DICOM), in the units of [`shown`](Self::shown).
    pub fn window(&self, k: usize) -> Option<Bounds> {
        self.block(k).0.shown.as_ref().map(Shown::bounds)
    }

    /// For each block of slices, whether it has a window.
    pub fn have_windows(&self) -> impl Iterator<Item = bool> {
        self.blocks.iter().map(|block| block.shown.is_some())
    }

    /// Warnings about the files, in the plural.
    pub fn odd(&self) -> &[&'static str] {
        &self.odd
    }

    /// Whether slices lie parallel at uneven distances.
    pub fn is_uneven(&self) -> bool {
        matches!(self.geometry, Geometry::Uneven(..))
    }

    /// Warning about planes of the patient that are cut from this volume, in the plural.
    pub fn orientation_doubt(&self) -> Option<&'static str> {
        self.geometry.doubt()
    }

    /// Slice `k` as [`plane`](Self::plane) gives it, mapped to grey levels by the file's VOI LUT or sigmoid
    /// (DICOM), if it has one.
    pub fn shown(&self, k: usize) -> Array3<f32> {
        let mut plane = self.plane(k);
        if let Some(shown) = &self.block(k).0.shown {
            shown.apply(&mut plane);
        }
        plane
    }

    /// Slice `k` as `[C, H, W]`, in the file's own units: slope and intercept are applied.
    pub fn plane(&self, k: usize) -> Array3<f32> {
        let (block, k) = self.block(k);
        block.voxels.plane(k, block.scale)
    }

    /// Slice `k` as a label map.
    ///
    /// Labels may be stored as floats if they are within 0.001 of a whole number. A colour image
    /// whose channels are equal counts as grey.
    ///
    /// # Errors
    ///
    /// [`Error::LabelValue`] for a value that is no whole number in 0..=65535, and
    /// [`Error::LabelColours`] for a coloured image.
    pub fn label_plane(&self, k: usize) -> Result<Mask, Error> {
        let (block, inner) = self.block(k);
        let labels = block.voxels.labels(inner, block.scale, label);
        let labels = labels.map_err(|value| Error::LabelValue {
            path: block.path.clone(),
            slice: k,
            value,
        })?;
        let first = labels.index_axis(Axis(0), 0);
        if labels.outer_iter().skip(1).all(|plane| plane == first) {
            Ok(first.to_owned())
        } else {
            Err(Error::LabelColours {
                path: block.path.clone(),
            })
        }
    }

    /// Stored bytes of slice `k`, for the comparison of images.
    pub fn bytes(&self, k: usize) -> Vec<u8> {
        let (block, k) = self.block(k);
        block.voxels.bytes(k)
    }

    fn block(&self, k: usize) -> (&Block, usize) {
        let mut inner = k;
        for block in &self.blocks {
            match inner.checked_sub(block.slices()) {
                None => return (block, inner),
                Some(after) => inner = after,
            }
        }
        panic!("slice {k} of {}", self.slices())
    }
}

impl Block {
    fn slices(&self) -> usize {
        self.voxels.dim().0
    }
}

fn label(value: f64) -> Option<u16> {
    let whole = value.round();
    let is_label = (value - whole).abs() < LABEL_TOLERANCE && (0.0..=65535.0).contains(&whole);
    is_label.then_some(whole as u16)
}
