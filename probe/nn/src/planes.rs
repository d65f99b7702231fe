//! The planar layout `[B, C, H, W]`, for maps with few channels.
//!
//! Vectors run along the rows, since the channels would not fill one. Every plane has a border of
//! zeros, so that a 3×3 convolution needs no special case at the edges:
//!
//! ```text
//!          ◀────────────── stride ──────────────▶
//!  row -1  0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
//!  row  0  0 x x x x x x x x x x x x 0 0 0 0 0 0 0
//!   …
//!  row H-1 0 x x x x x x x x x x x x 0 0 0 0 0 0 0
//!  row  H  0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
//! ```
//!
//! Tasks take bands of 32 rows, border rows included, of all channels of an image.

use crate::extent::{Extent, Layout};
use crate::matrix::across;
use rayon::prelude::*;

/// Rows that one task takes.
const ROWS: usize = 32;
/// Pixels that a convolution makes at once, a multiple of two vectors of any processor.
const STEP: usize = 32;

/// The planar layout of maps of an extent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Planes {
    pub(crate) extent: Extent,
}

impl Layout for Planes {
    fn new(extent: Extent) -> Self {
        Self { extent }
    }

    fn extent(self) -> Extent {
        self.extent
    }

    fn len(self) -> usize {
        self.extent.batch * self.image()
    }
}

impl Planes {
    /// Numbers from a row to the next: a border of one on the left and more on the right, so that a
    /// vector may run over the end.
    pub(crate) fn stride(self) -> usize {
        self.extent.width.next_multiple_of(STEP) + 16
    }

    /// Numbers of a plane.
    pub(crate) fn plane(self) -> usize {
        (self.extent.height + 2) * self.stride()
    }

    /// Numbers of the planes of an image.
    pub(crate) fn image(self) -> usize {
        self.extent.channels * self.plane()
    }

    /// The first number of a row.
    pub(crate) fn at(self, image: usize, channel: usize, row: usize) -> usize {
        (image * self.extent.channels + channel) * self.plane() + (row + 1) * self.stride() + 1
    }

    /// Numbers of a band of a plane.
    pub(crate) fn band(self) -> usize {
        ROWS * self.stride()
    }

    fn bands(self) -> usize {
        (self.extent.height + 2).div_ceil(ROWS)
    }

    /// The rows of the image in a band, border rows excluded.
    pub(crate) fn rows(self, band: usize) -> std::ops::Range<usize> {
        let first = (band * ROWS).max(1) - 1;
        let last = ((band + 1) * ROWS - 1).min(self.extent.height);
        first..last.max(first)
    }

    /// The first number of a row within its band.
    pub(crate) fn inside(self, band: usize, row: usize) -> usize {
        (row + 1 - band * ROWS) * self.stride() + 1
    }

    /// Calls `task(image, band, parts)` for every band of every image, with that band of each
    /// channel of `data`.
    pub(crate) fn for_each_band(
        self,
        data: &mut [f32],
        task: impl Fn(usize, usize, &mut [&mut [f32]]) + Sync,
    ) {
        data.par_chunks_mut(self.image())
            .enumerate()
            .for_each(|(image, data)| {
                across(data, self.plane(), self.band())
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(band, mut parts)| task(image, band, &mut parts));
            });
    }

    /// The results of `task(image, band)` for every band of every image, in their order.
    pub(crate) fn map_bands<R: Send>(self, task: impl Fn(usize, usize) -> R + Sync) -> Vec<R> {
        (0..self.extent.batch * self.bands())
            .into_par_iter()
            .map(|index| task(index / self.bands(), index % self.bands()))
            .collect()
    }
}
