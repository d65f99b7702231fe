//! The U-Net decoder: four blocks, each of which doubles height and width.

use crate::block::{Block, TENSORS};
use crate::conv::Input;
use crate::extent::{Extent, Layout};
use crate::head::{LogitHead, LogitPlanes};
use crate::loss::Loss;
use crate::parameter::Parameter;
use crate::planes::Planes;
use crate::resize::Plane;
use crate::scratch::{Pool, Scratch};
use crate::shape::{Kind, Shape};
use crate::winograd;
use rayon::prelude::*;

const BLOCKS: usize = 4;
/// The block whose output has a channel for each class.
const LAST: usize = BLOCKS - 1;
/// The layer whose tokens are the first block's input; block `i` is joined with layer `LAST - i`.
const DEEPEST: usize = 4;

/// The channels of the input and of the output of a block.
fn channels(shape: Shape, block: usize) -> (usize, usize) {
    let input = shape.width >> block;
    if block == LAST {
        (input, shape.classes)
    } else {
        (input, input / 2)
    }
}

/// The parameters of all blocks, initialised like PyTorch's layers: weights and biases uniform within
/// 1 / √fan-in. `uniform` gives numbers in [0, 1).
pub(crate) fn tensors(shape: Shape, uniform: &mut dyn FnMut() -> f64) -> Vec<Parameter> {
    let mut tensors = Vec::new();
    for block in 0..BLOCKS {
        let (input, output) = channels(shape, block);
        let prefix = format!("up{}", block + 1);
        let up = format!("{prefix}.up");
        tensors.extend(layer(
            &up,
            &[input, output, 2, 2],
            output,
            output * 4,
            uniform,
        ));
        for (name, input) in [("skip", shape.width), ("merge", 2 * output)] {
            let convolution = format!("{prefix}.{name}.0");
            let weight = [output, input, 3, 3];
            tensors.extend(layer(&convolution, &weight, output, input * 9, uniform));
            tensors.extend(normalisation(&format!("{prefix}.{name}.1"), output));
        }
    }
    tensors
}

/// Weight and bias of a layer, drawn.
fn layer(
    name: &str,
    weight: &[usize],
    output: usize,
    fan_in: usize,
    uniform: &mut dyn FnMut() -> f64,
) -> [Parameter; 2] {
    let bound = 1.0 / (fan_in as f64).sqrt();
    [("weight", weight), ("bias", &[output][..])].map(|(tensor, shape)| {
        let count = shape.iter().product();
        let data = std::iter::repeat_with(|| ((uniform() * 2.0 - 1.0) * bound) as f32);
        Parameter::trained(
            &format!("{name}.{tensor}"),
            shape,
            data.take(count).collect(),
        )
    })
}

/// The parameters and running statistics of a normalisation.
fn normalisation(name: &str, channels: usize) -> [Parameter; 4] {
    [
        ("weight", 1.0, true),
        ("bias", 0.0, true),
        ("running_mean", 0.0, false),
        ("running_var", 1.0, false),
    ]
    .map(|(tensor, value, is_trained)| {
        let new = if is_trained {
            Parameter::trained
        } else {
            Parameter::running
        };
        new(
            &format!("{name}.{tensor}"),
            &[channels],
            vec![value; channels],
        )
    })
}

/// Buffers of [`crate::Workspace`]. The first three blocks work on maps `[B, H, W, C]`, the last one,
/// whose channels are the few classes, on planes.
pub(crate) struct UNet {
    shape: Shape,
    head: LogitHead,
    blocks: Vec<Block<Extent>>,
    last: Block<Planes>,
    scratch: Scratch,
}

impl UNet {
    pub(crate) fn new(shape: Shape, batch: usize) -> Self {
        let grid = extent(shape, batch, 0, shape.width);
        let blocks = (0..LAST)
            .map(|index| {
                let (below, out) = extents(shape, batch, index);
                Block::new(grid, below, out)
            })
            .collect();
        let (below, out) = extents(shape, batch, LAST);
        let planes = Planes::new(out);
        let logits = LogitPlanes {
            plane: planes.plane(),
            inside: Plane {
                start: planes.at(0, 0, 0),
                stride: planes.stride(),
            },
            height: out.height,
            width: out.width,
        };
        Self {
            shape,
            head: LogitHead::new(Kind::UNet, shape, logits),
            blocks,
            last: Block::new(grid, below, out),
            scratch: scratch(shape),
        }
    }

    pub(crate) fn head(&self) -> (&LogitHead, &Pool) {
        (&self.head, &self.scratch.pool)
    }

    /// An image's map after [`UNet::evaluate`].
    pub(crate) fn map(&self, image: usize) -> &[f32] {
        let length = self.image();
        &self.last.out()[image * length..][..length]
    }

    /// Numbers of an image's map.
    fn image(&self) -> usize {
        self.shape.classes * self.head.planes.plane
    }

    /// Fills the last block's output, with running statistics.
    pub(crate) fn evaluate(&mut self, tensors: &[Parameter], tokens: &[&[f32]], batch: usize) {
        self.forward(tensors, tokens, batch, false);
    }

    /// Takes a step with `rate`; returns the loss. `images` and `counted` are the divisors of the loss.
    pub(crate) fn step(
        &mut self,
        tensors: &mut [Parameter],
        tokens: &[&[f32]],
        masks: &[u16],
        loss: Loss,
        rate: f32,
        (images, counted): (usize, usize),
    ) -> f64 {
        self.forward(tensors, tokens, images, true);
        let image = self.image();
        let (head, pool) = (&self.head, &self.scratch.pool);
        let losses: Vec<f64> = self.last.out_mut()[..images * image]
            .par_chunks_mut(image)
            .zip(masks.par_chunks(self.shape.size * self.shape.size))
            .map(|(map, labels)| head.descend(map, labels, loss, (images, counted), pool))
            .collect();
        let loss: f64 = losses.iter().sum();
        if loss.is_finite() {
            self.backward(tensors, tokens, images, rate);
        }
        loss
    }

    fn forward(&mut self, tensors: &[Parameter], tokens: &[&[f32]], batch: usize, train: bool) {
        let scratch = &mut self.scratch;
        let (blocks, last) = tensors.split_at(LAST * TENSORS);
        let mut input = tokens[DEEPEST];
        for (index, (block, tensors)) in self
            .blocks
            .iter_mut()
            .zip(blocks.chunks_exact(TENSORS))
            .enumerate()
        {
            input = block.forward(input, tokens[LAST - index], tensors, batch, train, scratch);
        }
        self.last
            .forward(input, tokens[0], last, batch, train, scratch);
    }

    /// A step of every block's parameters, from the gradient in the last block's output.
    fn backward(&mut self, tensors: &mut [Parameter], tokens: &[&[f32]], batch: usize, rate: f32) {
        let scratch = &mut self.scratch;
        let (blocks, last) = tensors.split_at_mut(LAST * TENSORS);
        let input = Input::Replaced(self.blocks[LAST - 1].out_mut());
        self.last
            .backward(input, tokens[0], last, batch, rate, scratch);
        for index in (0..LAST).rev() {
            let (before, rest) = self.blocks.split_at_mut(index);
            let input = match before.last_mut() {
                Some(before) => Input::Replaced(before.out_mut()),
                None => Input::Kept(tokens[DEEPEST]),
            };
            let tensors = &mut blocks[index * TENSORS..][..TENSORS];
            rest[0].backward(input, tokens[LAST - index], tensors, batch, rate, scratch);
        }
    }
}

/// Scratch that is large enough for each block.
fn scratch(shape: Shape) -> Scratch {
    let (mut transformed, mut gradient) = (0, 0);
    for index in 0..BLOCKS {
        let (input, output) = channels(shape, index);
        let widest = shape.width.max(2 * output);
        transformed = transformed
            .max(winograd::transformed_len(widest, output))
            .max(4 * input * output);
        gradient = gradient.max(9 * widest * output).max(4 * input * output);
    }
    Scratch {
        pool: Pool::default(),
        transformed: vec![0.0; transformed],
        gradient: vec![0.0; gradient],
    }
}

/// The extents of the input and the output of a block.
fn extents(shape: Shape, batch: usize, block: usize) -> (Extent, Extent) {
    let (input, output) = channels(shape, block);
    (
        extent(shape, batch, block, input),
        extent(shape, batch, block + 1, output),
    )
}

/// The extent of the maps before block `level`.
fn extent(shape: Shape, batch: usize, level: usize, channels: usize) -> Extent {
    Extent {
        batch,
        height: shape.grid.0 << level,
        width: shape.grid.1 << level,
        channels,
    }
}
