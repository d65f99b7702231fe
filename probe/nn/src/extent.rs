//! Sizes of maps, and the tiles that Winograd's convolutions cut them into.

/// The extent of a map `[B, H, W, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) batch: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Extent {
    pub(crate) fn len(self) -> usize {
        self.pixels() * self.channels
    }

    pub(crate) fn pixels(self) -> usize {
        self.batch * self.height * self.width
    }

    pub(crate) fn with_channels(self, channels: usize) -> Self {
        Self { channels, ..self }
    }

    pub(crate) fn tile_rows(self) -> usize {
        self.batch * self.height.div_ceil(4)
    }

    pub(crate) fn tile_columns(self) -> usize {
        self.width.div_ceil(4)
    }

    /// The image, the first row within it, and the number of rows of a tile row.
    pub(crate) fn tile_row(self, row: usize) -> (usize, usize, usize) {
        let per_image = self.height.div_ceil(4);
        let (image, y) = (row / per_image, row % per_image * 4);
        (image, y, (self.height - y).min(4))
    }
}
