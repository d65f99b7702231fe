//! From a decoder's own map of logits to the size of the masks, the loss there, and back.

use crate::loss::{Loss, loss};
use crate::matrix::Pool;
use crate::resize::{Plane, Resize, Taps};
use crate::shape::{Kind, Shape};
use rayon::prelude::*;

/// The planes `[C, h, w]` of an image within a slice.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// Numbers of a plane, border included.
    pub(crate) plane: usize,
    /// The pixels of a plane.
    pub(crate) inside: Plane,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// The resizing to the size of the masks.
pub(crate) struct LogitHead {
    kind: Kind,
    pub(crate) layout: Layout,
    classes: usize,
    size: usize,
    resize: Resize,
}

impl LogitHead {
    pub(crate) fn new(kind: Kind, shape: Shape, layout: Layout) -> Self {
        let taps = |from| match kind {
            Kind::Linear => Taps::bilinear(from, shape.size),
            Kind::UNet => Taps::bicubic(from, shape.size),
        };
        Self {
            kind,
            layout,
            classes: shape.classes,
            size: shape.size,
            resize: Resize::new(taps(layout.height), taps(layout.width)),
        }
    }

    /// Turns an image's logits into their gradient, in place, and returns its share of the loss.
    pub(crate) fn descend(
        &self,
        map: &mut [f32],
        labels: &[u16],
        kind: Loss,
        (images, pixels): (usize, usize),
        pool: &Pool,
    ) -> f64 {
        let area = self.size * self.size;
        let full = Plane {
            start: 0,
            stride: self.size,
        };
        pool.with(self.classes * area, |logits| {
            logits
                .par_chunks_mut(area)
                .zip(map.par_chunks(self.layout.plane))
                .for_each(|(logits, map)| {
                    self.resize
                        .plane(map, self.layout.inside, logits, full, pool);
                });
            let loss = loss(logits, labels, kind, images, pixels);
            logits
                .par_chunks(area)
                .zip(map.par_chunks_mut(self.layout.plane))
                .for_each(|(logits, map)| {
                    self.resize
                        .plane_back(logits, full, map, self.layout.inside, pool);
                });
            loss
        })
    }

    /// An image's logits at another size, `[C, height, width]`.
    pub(crate) fn logits(
        &self,
        map: &[f32],
        (height, width): (usize, usize),
        out: &mut [f32],
        pool: &Pool,
    ) {
        let Layout {
            plane,
            inside,
            height: from_height,
            width: from_width,
        } = self.layout;
        let full = |stride| Plane { start: 0, stride };
        let size = self.size;
        let map = map.par_chunks(plane);
        let out = out.par_chunks_mut(height * width);
        if (height, width) == (size, size) {
            map.zip(out).for_each(|(map, out)| {
                self.resize.plane(map, inside, out, full(size), pool);
            });
            return;
        }
        match self.kind {
            Kind::Linear => {
                let direct = Resize::new(
                    Taps::bilinear(from_height, height),
                    Taps::bilinear(from_width, width),
                );
                map.zip(out).for_each(|(map, out)| {
                    direct.plane(map, inside, out, full(width), pool);
                });
            }
            Kind::UNet => {
                let second = Resize::new(Taps::bilinear(size, height), Taps::bilinear(size, width));
                map.zip(out).for_each(|(map, out)| {
                    pool.with(size * size, |square| {
                        self.resize.plane(map, inside, square, full(size), pool);
                        second.plane(square, full(size), out, full(width), pool);
                    });
                });
            }
        }
    }
}
