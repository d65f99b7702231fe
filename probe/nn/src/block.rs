//! A block of the U-Net, forwards and backwards.
//!
//! ```text
//!  input [B, h, w, D] ─ UpConv ─────────────────────────────┐
//!                                                           joined ─ ConvNorm ─ out
//!  tokens of an earlier layer ─ ConvNorm ─ Resize ──────────┘
//! ```
//!
//! The skip is convolved at the resolution of the grid of tokens and resized bilinearly, with
//! `align_corners`.

use crate::conv::{self, ConvNorm, Convolve, Input};
use crate::extent::{Extent, Layout};
use crate::norm::Normalise;
use crate::parameter::Parameter;
use crate::resize::Resize;
use crate::scratch::Scratch;
use crate::skip::Insert;
use crate::taps::Taps;
use crate::upconv::{UpConv, Upsample};

/// The place of the skip's tensors among a block's; those of the upsampling precede them.
const SKIP: usize = 2;
/// The place of the joined map's tensors.
const MERGE: usize = SKIP + conv::TENSORS;
/// Tensors of a block.
pub(crate) const TENSORS: usize = MERGE + conv::TENSORS;

/// The layers and buffers of a block whose maps are laid out as `L`. In training, gradients take the
/// place of what they belong to.
pub(crate) struct Block<L> {
    up: UpConv<L>,
    /// On the tokens, `[B, h, w, D]`.
    skip: ConvNorm<Extent>,
    /// The skip before it is resized.
    small: Extent,
    resize: Resize,
    /// The upsampled input, then the skip, in the largest batch.
    layout: L,
    joined: Vec<f32>,
    merge: ConvNorm<L>,
}

impl<L: Convolve + Normalise + Upsample + Insert> Block<L> {
    /// A block from `below` and a skip of `grid` to maps of the extent `out`, in the largest batch.
    pub(crate) fn new(grid: Extent, below: Extent, out: Extent) -> Self {
        let joined = out.with_channels(2 * out.channels);
        let layout = L::new(joined);
        Self {
            up: UpConv::new(below, layout),
            skip: ConvNorm::new(grid, out.channels),
            small: grid.with_channels(out.channels),
            resize: Resize::new(
                Taps::aligned(grid.height, out.height),
                Taps::aligned(grid.width, out.width),
            ),
            layout,
            joined: vec![0.0; layout.len()],
            merge: ConvNorm::new(joined, out.channels),
        }
    }

    /// The block's output.
    pub(crate) fn out(&self) -> &[f32] {
        &self.merge.out
    }

    /// The block's output, to be replaced by its gradient before [`Block::backward`].
    pub(crate) fn out_mut(&mut self) -> &mut [f32] {
        &mut self.merge.out
    }

    /// Fills the block's output from its input and the tokens of its skip. Normalises with the
    /// statistics of the batch if `train` is set, else with running ones.
    pub(crate) fn forward(
        &mut self,
        input: &[f32],
        tokens: &[f32],
        tensors: &[Parameter],
        batch: usize,
        train: bool,
        scratch: &mut Scratch,
    ) -> &[f32] {
        let (layout, small) = (self.layout.with_batch(batch), self.small.with_batch(batch));
        let joined = &mut self.joined[..layout.len()];
        self.up.forward(input, tensors, batch, joined, scratch);
        self.skip
            .forward(tokens, &tensors[SKIP..], batch, train, scratch);
        let skip = &self.skip.out[..small.len()];
        layout.insert(&self.resize, skip, small, joined, &scratch.pool);
        self.merge
            .forward(joined, &tensors[MERGE..], batch, train, scratch);
        &self.merge.out
    }

    /// From the gradient in the block's output to that of `input`, where it is replaced, with a step
    /// of the block's parameters. Tokens are not trained.
    pub(crate) fn backward(
        &mut self,
        input: Input<'_>,
        tokens: &[f32],
        tensors: &mut [Parameter],
        batch: usize,
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let (layout, small) = (self.layout.with_batch(batch), self.small.with_batch(batch));
        let joined = &mut self.joined[..layout.len()];
        let merge = &mut tensors[MERGE..];
        self.merge
            .backward(Input::Replaced(joined), merge, batch, rate, scratch);
        let of_skip = &mut self.skip.out[..small.len()];
        layout.insert_back(&self.resize, joined, small, of_skip, &scratch.pool);
        let skip = &mut tensors[SKIP..MERGE];
        self.skip
            .backward(Input::Kept(tokens), skip, batch, rate, scratch);
        self.up
            .backward(input, joined, tensors, batch, rate, scratch);
    }
}
