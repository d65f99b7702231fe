//! Planes of a volume other than the stored ones.

use ndarray::{Array4, Axis};

use super::{Block, Volume};
use crate::Error;
use crate::orient::{Cut, Geometry};
use crate::preprocess::Slicing;
use crate::read::voxels::{Voxel, Voxels};

impl Volume {
    /// Greatest distance in mm between the same corner of this label map and of its `image`, by their
    /// headers. `None` below half of the image's shortest step, or if either position is unknown.
    pub fn shift_mm(&self, image: &Volume) -> Option<f64> {
        let [_, height, width] = image.shape(0);
        let shape = [height, width, image.slices()];
        let (shift, step) = image.geometry.shift_mm(&self.geometry, shape)?;
        (shift > step / 2.0).then_some(shift)
    }

    /// This label map at the position of `image`.
    ///
    /// # Errors
    ///
    /// [`Error::MaskOrientation`] if both orientations are known and differ.
    pub fn placed_as(mut self, image: &Volume) -> Result<Volume, Error> {
        if !self.geometry.agrees_with(&image.geometry) {
            return Err(Error::MaskOrientation {
                path: self.path().to_path_buf(),
                image: image.path().to_path_buf(),
            });
        }
        self.geometry = image.geometry.clone();
        Ok(self)
    }

    /// Bytes that [`cut`](Self::cut) allocates beside the volume.
    pub fn cut_bytes(&self, slicing: Slicing) -> u64 {
        match Cut::of(slicing, &self.geometry, self.slices()) {
            Some(cut) if self.is_across_blocks(&cut) => {
                let slices = (0..self.slices()).map(|k| self.shape(k).iter().product::<usize>());
                (slices.sum::<usize>() * size_of::<f32>()) as u64
            }
            _ => 0,
        }
    }

    fn is_across_blocks(&self, cut: &Cut) -> bool {
        self.blocks.len() > 1 && cut.axes[0] != 0
    }

    /// The same volume cut in another way; nothing is interpolated.
    ///
    /// # Errors
    ///
    /// For a plane of the patient, [`Error::NoOrientation`] if the file does not give the orientation,
    /// [`Error::UnevenGaps`] if slices lie at uneven distances and would have to be cut across, and
    /// [`Error::Scattered`] if they are not parallel; [`Error::UnevenStack`] if slices differ in size.
    pub fn cut(mut self, slicing: Slicing) -> Result<Volume, Error> {
        let Some(cut) = Cut::of(slicing, &self.geometry, self.slices()) else {
            return Err(self.cannot_cut(slicing));
        };
        if cut == Cut::NONE {
            return Ok(self);
        }
        if self.is_across_blocks(&cut) {
            self = self.merged()?;
        }
        let [_, height, width] = self.shape(0);
        self.geometry = cut.geometry(&self.geometry, [self.slices(), height, width]);
        self.stored = cut.stored(self.stored);
        let [slice, row, column] = cut.axes;
        let [slice_flipped, row_flipped, column_flipped] = cut.flipped;
        self.spacing_mm = self.spacing_mm.map(|mm| cut.axes.map(|axis| mm[axis]));
        if slice == 0 && slice_flipped {
            self.blocks.reverse();
        }
        // Voxels have a second axis, the channels, which stays.
        let stored = |axis: usize| if axis == 0 { 0 } else { axis + 1 };
        let axes = [stored(slice), 1, stored(row), stored(column)];
        let flipped = [slice_flipped, false, row_flipped, column_flipped];
        for block in &mut self.blocks {
            let voxels = std::mem::replace(&mut block.voxels, Voxels::empty());
            block.voxels = voxels.rearranged(axes, flipped);
        }
        Ok(self)
    }

    fn cannot_cut(&self, slicing: Slicing) -> Error {
        let path = self.path().to_path_buf();
        match self.geometry {
            Geometry::Uneven(_, gaps) => Error::UnevenGaps {
                path,
                slicing,
                gaps,
            },
            Geometry::Scattered => Error::Scattered { path, slicing },
            _ => Error::NoOrientation { path, slicing },
        }
    }

    /// All slices in one block, as `f32` in the file's units.
    fn merged(self) -> Result<Volume, Error> {
        let (_, channels, height, width) = self.blocks[0].voxels.dim();
        let mut joined = Array4::zeros((self.slices(), channels, height, width));
        let mut rest = joined.view_mut();
        for block in &self.blocks {
            let (mut slices, after) = rest.split_at(Axis(0), block.slices());
            if block.voxels.dim() != slices.dim() {
                return Err(Error::UnevenStack {
                    path: block.path.clone(),
                });
            }
            for (k, mut slice) in slices.outer_iter_mut().enumerate() {
                slice.assign(&block.voxels.plane(k, block.scale));
            }
            rest = after;
        }
        let first = &self.blocks[0];
        let block = Block {
            path: first.path.clone(),
            voxels: <f32 as Voxel>::wrap(joined),
            scale: None,
            shown: first.shown.clone(),
        };
        Ok(Volume {
            blocks: vec![block],
            ..self
        })
    }
}
