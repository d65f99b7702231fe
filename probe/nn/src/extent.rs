//! Extents of maps, and the memory layouts that they have.

/// The extent of a map. As a [`Layout`], `[B, H, W, C]`: vectors run along the channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extent {
    pub(crate) batch: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Extent {
    pub(crate) fn pixels(self) -> usize {
        self.batch * self.height * self.width
    }
}

/// A memory layout of maps of an extent.
///
/// - [`Extent`], `[B, H, W, C]`: for maps with many channels.
/// - [`Planes`](crate::planes::Planes), `[B, C, H, W]` with a border of zeros: for maps with few
///   channels, those of the classes.
pub(crate) trait Layout: Copy + Sync {
    /// The layout of maps of this extent.
    fn new(extent: Extent) -> Self;

    /// The extent of the map.
    fn extent(self) -> Extent;

    /// Numbers of a map, borders included.
    fn len(self) -> usize;

    /// The layout of maps with another number of channels.
    fn with_channels(self, channels: usize) -> Self {
        Self::new(Extent {
            channels,
            ..self.extent()
        })
    }

    /// The layout of a batch of another size.
    fn with_batch(self, batch: usize) -> Self {
        Self::new(Extent {
            batch,
            ..self.extent()
        })
    }
}

impl Layout for Extent {
    fn new(extent: Extent) -> Self {
        extent
    }

    fn extent(self) -> Extent {
        self
    }

    fn len(self) -> usize {
        self.pixels() * self.channels
    }
}
