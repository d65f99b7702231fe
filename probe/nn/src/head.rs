//! Resizing of a decoder's own map of logits to the size of the masks, the loss there, and the gradient
//! back.

use crate::loss::{Loss, loss};
use crate::resize::{Plane, Resize};
use crate::scratch::Pool;
use crate::shape::{Kind, Shape};
use crate::taps::Taps;
use rayon::prelude::*;

/// The planes `[C, h, w]` of an image within a slice.
#[derive(Clone, Copy)]
pub(crate) struct LogitPlanes {
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
    pub(crate) planes: LogitPlanes,
    classes: usize,
    size: usize,
    resize: Resize,
}

impl LogitHead {
    pub(crate) fn new(kind: Kind, shape: Shape, planes: LogitPlanes) -> Self {
        let taps = match kind {
            Kind::Linear => Taps::bilinear,
            Kind::UNet => Taps::bicubic,
        };
        Self {
            kind,
            planes,
            classes: shape.classes,
            size: shape.size,
            resize: Resize::new(
                taps(planes.height, shape.size),
                taps(planes.width, shape.size),
            ),
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
        let full = Plane::whole(self.size);
        pool.with(self.classes * area, |logits| {
            logits
                .par_chunks_mut(area)
                .zip(map.par_chunks(self.planes.plane))
                .for_each(|(logits, map)| {
                    self.resize
                        .plane(map, self.planes.inside, logits, full, pool);
                });
            let loss = loss(logits, labels, kind, images, pixels);
            logits
                .par_chunks(area)
                .zip(map.par_chunks_mut(self.planes.plane))
                .for_each(|(logits, map)| {
                    self.resize
                        .plane_back(logits, full, map, self.planes.inside, pool);
                });
            loss
        })
    }

    /// An image's logits at any size, `[C, height, width]`, into `out`.
    pub(crate) fn logits(
        &self,
        map: &[f32],
        (height, width): (usize, usize),
        out: &mut [f32],
        pool: &Pool,
    ) {
        let LogitPlanes {
            plane,
            inside,
            height: from_height,
            width: from_width,
        } = self.planes;
        let size = self.size;
        let map = map.par_chunks(plane);
        let out = out.par_chunks_mut(height * width);
        if (height, width) == (size, size) {
            map.zip(out).for_each(|(map, out)| {
                self.resize
                    .plane(map, inside, out, Plane::whole(size), pool);
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
                    direct.plane(map, inside, out, Plane::whole(width), pool);
                });
            }
            Kind::UNet => {
                let second = Resize::new(Taps::bilinear(size, height), Taps::bilinear(size, width));
                map.zip(out).for_each(|(map, out)| {
                    pool.with(size * size, |square| {
                        self.resize
                            .plane(map, inside, square, Plane::whole(size), pool);
                        second.plane(square, Plane::whole(size), out, Plane::whole(width), pool);
                    });
                });
            }
        }
    }
}
