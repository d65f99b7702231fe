//! A block of the U-Net, forwards and backwards.
//!
//! ```text
//!  input [B, h, w, D] ─ transposed convolution 2×2 ─────────────────┐
//!                                                                   joined ─ convolution ─ norm ─ out
//!  tokens of an earlier layer ─ convolution ─ norm ─ resize ────────┘
//! ```
//!
//! Convolutions are 3×3; a norm is batch normalisation with ReLU. The skip is convolved at the
//! resolution of the grid of tokens and resized bilinearly, with `align_corners`.

use crate::extent::Extent;
use crate::layout::{MapLayout, Scratch};
use crate::norm::{Affine, Backward, Moments};
use crate::parameter::Parameter;
use crate::resize::{Resize, Taps};
use crate::upconv::{self, Gradients, Input};
use crate::winograd;

/// Tensors of a block.
pub(crate) const TENSORS: usize = 14;
/// Place of the upsampling's weight among a block's tensors; its bias follows.
const UP: usize = 0;
/// Place of the skip's convolution and normalisation: weight, bias, and the normalisation's weight,
/// bias, running mean and running variance.
const SKIP: usize = 2;
/// Place of the joined map's convolution and normalisation, in the same order.
const MERGE: usize = 8;

/// The buffers of a block. In training, gradients take the place of what they belong to.
pub(crate) struct Block<M> {
    /// The tokens of the skip, `[B, h, w, D]`.
    grid: Extent,
    /// The block's input.
    below: Extent,
    /// The block's output, in the largest batch.
    layout: M,
    output: usize,
    resize: Resize,
    /// Upsampled input and skip, `2 · output` channels.
    joined: Vec<f32>,
    /// The joined map's convolution.
    merged: Vec<f32>,
    /// The normalised convolution, the block's output.
    pub(crate) out: Vec<f32>,
    /// The skip's convolution, `[B, h, w, output]`.
    skip: Vec<f32>,
    skip_norm: Affine,
    merge_norm: Affine,
}

/// The sizes of a block's maps for a batch.
struct Sizes<M> {
    grid: Extent,
    below: Extent,
    /// The skip before it is resized.
    small: Extent,
    joined: M,
    out: M,
}

impl<M: MapLayout> Block<M> {
    /// A block from `below` to `layout` of `height` and `width`, with `output` channels.
    pub(crate) fn new(
        grid: Extent,
        below: Extent,
        layout: M,
        (height, width): (usize, usize),
        output: usize,
    ) -> Self {
        let out = layout.with_channels(output);
        Self {
            grid,
            below,
            layout: out,
            output,
            resize: Resize::new(
                Taps::aligned(grid.height, height),
                Taps::aligned(grid.width, width),
            ),
            joined: vec![0.0; out.with_channels(2 * output).len()],
            merged: vec![0.0; out.len()],
            out: vec![0.0; out.len()],
            skip: vec![0.0; grid.pixels() * output],
            skip_norm: Affine::default(),
            merge_norm: Affine::default(),
        }
    }

    fn sizes(&self, batch: usize) -> Sizes<M> {
        let (grid, out) = (self.grid.with_batch(batch), self.layout.with_batch(batch));
        Sizes {
            grid,
            below: self.below.with_batch(batch),
            small: grid.with_channels(self.output),
            joined: out.with_channels(2 * self.output),
            out,
        }
    }

    /// The block's output, from its input and the tokens of its skip. Normalises with the statistics
    /// of the batch if `train` is set, else with running ones.
    pub(crate) fn forward(
        &mut self,
        input: &[f32],
        tokens: &[f32],
        tensors: &[Parameter],
        batch: usize,
        train: bool,
        scratch: &mut Scratch,
    ) -> &[f32] {
        let sizes = self.sizes(batch);
        let Sizes { below, small, .. } = sizes;
        let joined = &mut self.joined[..sizes.joined.len()];

        let arranged = &mut scratch.transformed[..4 * below.channels * self.output];
        upconv::arrange(&tensors[UP].data, self.output, arranged);
        let input = (&input[..below.len()], below);
        let bias = &tensors[UP + 1].data;
        sizes
            .joined
            .upsample(input, arranged, bias, joined, &scratch.pool);

        let skip = &mut self.skip[..small.len()];
        sizes
            .grid
            .convolve(tokens, &tensors[SKIP].data, skip, scratch);
        self.skip_norm = affine(&tensors[SKIP..], train.then(|| small.moments(skip)));
        small.normalise(skip, &self.skip_norm, &mut scratch.skip[..small.len()]);
        sizes
            .joined
            .insert_skip(&self.resize, small, joined, scratch);

        let merged = &mut self.merged[..sizes.out.len()];
        sizes
            .joined
            .convolve(joined, &tensors[MERGE].data, merged, scratch);
        self.merge_norm = affine(&tensors[MERGE..], train.then(|| sizes.out.moments(merged)));
        let out = &mut self.out[..sizes.out.len()];
        sizes.out.normalise(merged, &self.merge_norm, out);
        out
    }

    /// From the gradient in `out` to that of `input`, which takes its place where it is not kept,
    /// with a step of the block's parameters.
    pub(crate) fn backward(
        &mut self,
        input: Input<'_>,
        tokens: &[f32],
        tensors: &mut [Parameter],
        batch: usize,
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let sizes = self.sizes(batch);
        self.backward_merge(&sizes, tensors, rate, scratch);
        self.backward_skip(&sizes, tokens, tensors, rate, scratch);
        self.backward_up(&sizes, input, tensors, rate, scratch);
    }

    /// From `out` to `joined`.
    fn backward_merge(
        &mut self,
        sizes: &Sizes<M>,
        tensors: &mut [Parameter],
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let out = &mut self.out[..sizes.out.len()];
        let merged = &self.merged[..sizes.out.len()];
        let of_norm = sizes.out.normalise_back(merged, &self.merge_norm, out);
        let joined = &mut self.joined[..sizes.joined.len()];
        let weights = &tensors[MERGE].data;
        sizes.joined.convolve_back(joined, weights, out, scratch);
        let gradient = &scratch.gradient[..weights.len()];
        descend(
            &mut tensors[MERGE..],
            gradient,
            &self.merge_norm,
            &of_norm,
            rate,
        );
    }

    /// From `joined` to the skip's weights; tokens are not trained.
    fn backward_skip(
        &mut self,
        sizes: &Sizes<M>,
        tokens: &[f32],
        tensors: &mut [Parameter],
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let Sizes { grid, small, .. } = *sizes;
        let joined = &self.joined[..sizes.joined.len()];
        sizes
            .joined
            .insert_skip_back(&self.resize, small, joined, scratch);
        let Scratch {
            pool,
            transformed,
            gradient,
            skip,
            ..
        } = scratch;
        let of_skip = &mut skip[..small.len()];
        let of_norm = small.normalise_back(&self.skip[..small.len()], &self.skip_norm, of_skip);
        let gradient = &mut gradient[..9 * grid.channels * self.output];
        let points = winograd::transformed_len(grid.channels, self.output);
        let points = &mut transformed[..points];
        winograd::weight_gradient(tokens, grid, of_skip, self.output, points, gradient, pool);
        descend(
            &mut tensors[SKIP..],
            gradient,
            &self.skip_norm,
            &of_norm,
            rate,
        );
    }

    /// From `joined` to the input.
    fn backward_up(
        &mut self,
        sizes: &Sizes<M>,
        input: Input<'_>,
        tensors: &mut [Parameter],
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let below = sizes.below;
        let weights = 4 * below.channels * self.output;
        let arranged = &mut scratch.transformed[..weights];
        upconv::arrange(&tensors[UP].data, self.output, arranged);
        let mut of_bias = vec![0.0; self.output];
        let gradients = Gradients {
            weight: &mut scratch.gradient[..weights],
            bias: &mut of_bias,
        };
        let source = sizes.joined.upsampled(&self.joined);
        let input = input.first(below.len());
        upconv::backward(input, below, arranged, source, gradients, &scratch.pool);
        tensors[UP].descend(&scratch.gradient[..weights], rate);
        tensors[UP + 1].descend(&of_bias, rate);
    }
}

/// A normalisation by a batch's own `moments`, or by running statistics; `tensors` begin with those
/// of the convolution before it.
fn affine(tensors: &[Parameter], moments: Option<Vec<Moments>>) -> Affine {
    let [bias, weight, shift, mean, variance] =
        [1, 2, 3, 4, 5].map(|place| &tensors[place].data[..]);
    match moments {
        Some(moments) => Affine::of_batch(&moments, weight, shift),
        None => Affine::of_running(mean, variance, weight, shift, bias),
    }
}

/// A step of a convolution and its normalisation. The bias of the convolution stays as it is: the
/// normalisation subtracts whatever it adds.
fn descend(
    tensors: &mut [Parameter],
    gradient: &[f32],
    affine: &Affine,
    of_norm: &Backward,
    rate: f32,
) {
    if let [weight, offset, scale, shift, mean, variance, ..] = tensors {
        weight.descend(gradient, rate);
        scale.descend(&of_norm.weight, rate);
        shift.descend(&of_norm.bias, rate);
        affine.update(&mut mean.data, &mut variance.data, &offset.data);
    }
}
