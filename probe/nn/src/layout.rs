//! The layers of a U-Net's block on maps in either memory layout.

use crate::direct;
use crate::extent::Extent;
use crate::matrix::Pool;
use crate::norm::{self, Affine, Backward, Moments};
use crate::planes::{self, Planes};
use crate::resize::{Plane, Resize};
use crate::upconv::{self, Source};
use crate::winograd;
use rayon::prelude::*;

/// Buffers that all blocks use in turn.
pub(crate) struct Scratch {
    pub(crate) pool: Pool,
    /// Transformed weights or products of a 3×3 convolution, or arranged weights of an upsampling.
    pub(crate) transformed: Vec<f32>,
    /// The gradient of the weights of one layer.
    pub(crate) gradient: Vec<f32>,
    /// The normalised map of a skip `[B, h, w, C]`, or its gradient.
    pub(crate) skip: Vec<f32>,
    /// The same as planes `[B, C, h, w]`.
    pub(crate) skip_planes: Vec<f32>,
}

/// A memory layout of the maps of a block, with their sizes, and the layers on it. A joined map has
/// twice the channels of the block's output: first the upsampled input, then the resized skip.
///
/// - [`Extent`], `[B, H, W, C]`: vectors run along the channels, convolutions are Winograd's. For
///   blocks with many channels.
/// - [`Planes`], `[B, C, H, W]`: vectors run along the rows, convolutions are direct. For the last
///   block, whose channels are the few classes.
pub(crate) trait MapLayout: Copy {
    /// The layout of maps with another number of channels.
    fn with_channels(self, channels: usize) -> Self;

    /// The layout of a batch of another size.
    fn with_batch(self, batch: usize) -> Self;

    /// Numbers of a map, borders included.
    fn len(self) -> usize;

    /// The input `[B, h, w, D]` upsampled by a transposed convolution into the first half of the
    /// channels of `joined`.
    fn upsample(
        self,
        input: (&[f32], Extent),
        arranged: &[f32],
        bias: &[f32],
        joined: &mut [f32],
        pool: &Pool,
    );

    /// The gradient of the upsampled map.
    fn upsampled(self, joined: &[f32]) -> Source<'_>;

    /// The skip in `scratch` resized into the second half of the channels of `joined`.
    fn insert_skip(self, resize: &Resize, small: Extent, joined: &mut [f32], scratch: &mut Scratch);

    /// The gradient of the skip, from that of `joined` into `scratch`.
    fn insert_skip_back(
        self,
        resize: &Resize,
        small: Extent,
        joined: &[f32],
        scratch: &mut Scratch,
    );

    /// The 3×3 convolution of `map` with `weights` `[output, input, 3, 3]` into `out`, without bias.
    fn convolve(self, map: &[f32], weights: &[f32], out: &mut [f32], scratch: &mut Scratch);

    /// The gradients of [`MapLayout::convolve`], from that of its output: of the weights into
    /// `scratch.gradient`, and of `map` in its place.
    fn convolve_back(self, map: &mut [f32], weights: &[f32], of_out: &[f32], scratch: &mut Scratch);

    /// Count, mean and squared deviations of every channel.
    fn moments(self, map: &[f32]) -> Vec<Moments>;

    /// `out = max(0, scale · map + shift)`
    fn normalise(self, map: &[f32], affine: &Affine, out: &mut [f32]);

    /// Turns the gradient of the output of [`MapLayout::normalise`] into that of `map`, in place.
    fn normalise_back(self, map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward;
}

impl MapLayout for Extent {
    fn with_channels(self, channels: usize) -> Self {
        Extent::with_channels(self, channels)
    }

    fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    fn len(self) -> usize {
        Extent::len(self)
    }

    fn upsample(
        self,
        (input, below): (&[f32], Extent),
        arranged: &[f32],
        bias: &[f32],
        joined: &mut [f32],
        pool: &Pool,
    ) {
        upconv::lower(input, below, arranged, bias, joined, pool);
    }

    fn upsampled(self, joined: &[f32]) -> Source<'_> {
        Source::Lower(joined)
    }

    fn insert_skip(
        self,
        resize: &Resize,
        small: Extent,
        joined: &mut [f32],
        scratch: &mut Scratch,
    ) {
        resize.upper(&scratch.skip[..small.len()], small, joined, &scratch.pool);
    }

    fn insert_skip_back(
        self,
        resize: &Resize,
        small: Extent,
        joined: &[f32],
        scratch: &mut Scratch,
    ) {
        let skip = &mut scratch.skip[..small.len()];
        resize.upper_back(joined, skip, small, &scratch.pool);
    }

    fn convolve(self, map: &[f32], weights: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let output = weights.len() / (9 * self.channels);
        let points = winograd::transformed_len(self.channels, output);
        let points = &mut scratch.transformed[..points];
        winograd::transform_weights(weights, self.channels, output, points);
        winograd::convolve(map, self, points, output, out, &scratch.pool);
    }

    fn convolve_back(
        self,
        map: &mut [f32],
        weights: &[f32],
        of_out: &[f32],
        scratch: &mut Scratch,
    ) {
        let Scratch {
            pool,
            transformed,
            gradient,
            ..
        } = scratch;
        let output = weights.len() / (9 * self.channels);
        let points = &mut transformed[..winograd::transformed_len(self.channels, output)];
        let gradient = &mut gradient[..weights.len()];
        winograd::weight_gradient(map, self, of_out, output, points, gradient, pool);
        winograd::transform_weights_back(weights, self.channels, output, points);
        let of = self.with_channels(output);
        winograd::convolve(of_out, of, points, self.channels, map, pool);
    }

    fn moments(self, map: &[f32]) -> Vec<Moments> {
        norm::moments(map, self.channels)
    }

    fn normalise(self, map: &[f32], affine: &Affine, out: &mut [f32]) {
        norm::normalise(map, affine, out);
    }

    fn normalise_back(self, map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward {
        norm::backward(map, affine, gradient)
    }
}

impl MapLayout for Planes {
    fn with_channels(self, channels: usize) -> Self {
        Planes::with_channels(self, channels)
    }

    fn with_batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    fn len(self) -> usize {
        Planes::len(self)
    }

    fn upsample(
        self,
        (input, below): (&[f32], Extent),
        arranged: &[f32],
        bias: &[f32],
        joined: &mut [f32],
        pool: &Pool,
    ) {
        upconv::lower_planes(input, below, arranged, bias, joined, self, pool);
    }

    fn upsampled(self, joined: &[f32]) -> Source<'_> {
        Source::Planes(joined, self)
    }

    fn insert_skip(
        self,
        resize: &Resize,
        small: Extent,
        joined: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let channels = small.channels;
        let from = &mut scratch.skip_planes[..small.len()];
        norm::to_planes(&scratch.skip[..small.len()], small, from);
        let area = small.height * small.width;
        let at = Plane {
            start: 0,
            stride: small.width,
        };
        let to = Plane {
            start: self.at(0, 0, 0),
            stride: self.stride(),
        };
        let pool = &scratch.pool;
        joined
            .par_chunks_mut(self.image())
            .zip(from.par_chunks(channels * area))
            .for_each(|(joined, from)| {
                joined[channels * self.plane()..]
                    .par_chunks_mut(self.plane())
                    .zip(from.par_chunks(area))
                    .for_each(|(out, from)| resize.plane(from, at, out, to, pool));
            });
    }

    fn insert_skip_back(
        self,
        resize: &Resize,
        small: Extent,
        joined: &[f32],
        scratch: &mut Scratch,
    ) {
        let channels = small.channels;
        let Scratch {
            pool,
            skip,
            skip_planes,
            ..
        } = scratch;
        let planes = &mut skip_planes[..small.len()];
        let to = Plane {
            start: 0,
            stride: small.width,
        };
        planes
            .par_chunks_mut(small.height * small.width)
            .enumerate()
            .for_each(|(index, out)| {
                let (image, channel) = (index / channels, index % channels);
                let at = Plane {
                    start: self.at(image, channels + channel, 0),
                    stride: self.stride(),
                };
                resize.plane_back(joined, at, out, to, pool);
            });
        norm::from_planes(planes, small, &mut skip[..small.len()]);
    }

    fn convolve(self, map: &[f32], weights: &[f32], out: &mut [f32], _: &mut Scratch) {
        let output = weights.len() / (9 * self.channels);
        direct::convolve(map, self, weights, output, out);
    }

    fn convolve_back(
        self,
        map: &mut [f32],
        weights: &[f32],
        of_out: &[f32],
        scratch: &mut Scratch,
    ) {
        let output = weights.len() / (9 * self.channels);
        let gradient = &mut scratch.gradient[..weights.len()];
        direct::weight_gradient(map, self, of_out, output, gradient);
        let turned = direct::turned(weights, self.channels, output);
        let of = self.with_channels(output);
        direct::convolve(of_out, of, &turned, self.channels, map);
    }

    fn moments(self, map: &[f32]) -> Vec<Moments> {
        planes::moments(map, self)
    }

    fn normalise(self, map: &[f32], affine: &Affine, out: &mut [f32]) {
        planes::normalise(map, self, affine, out);
    }

    fn normalise_back(self, map: &[f32], affine: &Affine, gradient: &mut [f32]) -> Backward {
        planes::backward(map, self, affine, gradient)
    }
}
