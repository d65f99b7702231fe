//! The layer that resizes a skip bilinearly, with `align_corners`, into the second half of the channels
//! of a joined map.

use crate::extent::{Extent, Layout};
use crate::matrix::vectorised;
use crate::planes::Planes;
use crate::resize::{Plane, Resize};
use crate::scratch::Pool;
use crate::taps::weighted_sum;
use rayon::prelude::*;

/// The kernels of the layer on joined maps in a memory layout. `small` is the extent of the skip,
/// `[B, h, w, C]`; `self` is that of the joined map, with 2 C channels.
pub(crate) trait Insert: Layout {
    /// Resizes `skip` into the second half of the channels of `joined`.
    fn insert(self, resize: &Resize, skip: &[f32], small: Extent, joined: &mut [f32], pool: &Pool);

    /// The gradient of the skip, from that of `joined`.
    fn insert_back(
        self,
        resize: &Resize,
        joined: &[f32],
        small: Extent,
        of_skip: &mut [f32],
        pool: &Pool,
    );
}

/// Along the columns first: whole rows of the small map are mixed, then pixels, of which vectors of
/// channels are.
impl Insert for Extent {
    fn insert(self, resize: &Resize, skip: &[f32], small: Extent, joined: &mut [f32], pool: &Pool) {
        let channels = small.channels;
        let (height, narrow) = (self.height, small.width * channels);
        joined
            .par_chunks_mut(self.width * channels * 2)
            .enumerate()
            .for_each(|(row, out)| {
                let image = &skip[row / height * small.height * narrow..];
                pool.with(narrow, |mixed| {
                    vectorised(
                        #[inline(always)]
                        || {
                            weighted_sum(
                                resize.rows.of(row % height),
                                #[inline(always)]
                                |from| &image[from * narrow..][..narrow],
                                mixed,
                            );
                            resize.columns.along(
                                mixed,
                                channels,
                                &mut out[channels..],
                                channels * 2,
                            );
                        },
                    );
                });
            });
    }

    fn insert_back(
        self,
        resize: &Resize,
        joined: &[f32],
        small: Extent,
        of_skip: &mut [f32],
        pool: &Pool,
    ) {
        let channels = small.channels;
        let (height, narrow) = (self.height, small.width * channels);
        pool.with(small.batch * height * narrow, |mixed| {
            mixed
                .par_chunks_mut(narrow)
                .zip(joined.par_chunks(self.width * channels * 2))
                .for_each(|(mixed, from)| {
                    vectorised(
                        #[inline(always)]
                        || {
                            for (place, out) in mixed.chunks_exact_mut(channels).enumerate() {
                                weighted_sum(
                                    resize.columns_back.of(place),
                                    #[inline(always)]
                                    |from_pixel| {
                                        &from[(from_pixel * 2 + 1) * channels..][..channels]
                                    },
                                    out,
                                );
                            }
                        },
                    );
                });
            of_skip
                .par_chunks_mut(narrow)
                .enumerate()
                .for_each(|(row, out)| {
                    let image = &mixed[row / small.height * height * narrow..];
                    vectorised(
                        #[inline(always)]
                        || {
                            weighted_sum(
                                resize.rows_back.of(row % small.height),
                                #[inline(always)]
                                |from| &image[from * narrow..][..narrow],
                                out,
                            );
                        },
                    );
                });
        });
    }
}

/// By way of planes `[B, C, h, w]` of the skip.
impl Insert for Planes {
    fn insert(self, resize: &Resize, skip: &[f32], small: Extent, joined: &mut [f32], pool: &Pool) {
        let (channels, area) = (small.channels, small.height * small.width);
        let to = Plane {
            start: self.at(0, 0, 0),
            stride: self.stride(),
        };
        pool.with(small.len(), |planes| {
            to_planes(skip, small, planes);
            joined
                .par_chunks_mut(self.image())
                .zip(planes.par_chunks(channels * area))
                .for_each(|(joined, planes)| {
                    joined[channels * self.plane()..]
                        .par_chunks_mut(self.plane())
                        .zip(planes.par_chunks(area))
                        .for_each(|(out, from)| {
                            resize.plane(from, Plane::whole(small.width), out, to, pool);
                        });
                });
        });
    }

    fn insert_back(
        self,
        resize: &Resize,
        joined: &[f32],
        small: Extent,
        of_skip: &mut [f32],
        pool: &Pool,
    ) {
        let channels = small.channels;
        pool.with(small.len(), |planes| {
            planes
                .par_chunks_mut(small.height * small.width)
                .enumerate()
                .for_each(|(index, out)| {
                    let (image, channel) = (index / channels, index % channels);
                    let at = Plane {
                        start: self.at(image, channels + channel, 0),
                        stride: self.stride(),
                    };
                    resize.plane_back(joined, at, out, Plane::whole(small.width), pool);
                });
            from_planes(planes, small, of_skip);
        });
    }
}

/// `[B, h, w, C]` to planes `[B, C, h, w]`.
fn to_planes(map: &[f32], extent: Extent, out: &mut [f32]) {
    let (pixels, channels) = (extent.height * extent.width, extent.channels);
    for (out, map) in out
        .chunks_exact_mut(pixels * channels)
        .zip(map.chunks_exact(pixels * channels))
    {
        for (channel, plane) in out.chunks_exact_mut(pixels).enumerate() {
            for (pixel, out) in plane.iter_mut().enumerate() {
                *out = map[pixel * channels + channel];
            }
        }
    }
}

/// Planes `[B, C, h, w]` to `[B, h, w, C]`.
fn from_planes(planes: &[f32], extent: Extent, out: &mut [f32]) {
    let (pixels, channels) = (extent.height * extent.width, extent.channels);
    for (out, planes) in out
        .chunks_exact_mut(pixels * channels)
        .zip(planes.chunks_exact(pixels * channels))
    {
        for (pixel, out) in out.chunks_exact_mut(channels).enumerate() {
            for (channel, out) in out.iter_mut().enumerate() {
                *out = planes[channel * pixels + pixel];
            }
        }
    }
}
