//! The U-Net decoder: four blocks, each of which doubles height and width.

use crate::block::{Block, TENSORS};
use crate::extent::Extent;
use crate::head::{Layout, LogitHead};
use crate::layout::Scratch;
use crate::loss::Loss;
use crate::matrix::Pool;
use crate::parameter::Parameter;
use crate::planes::Planes;
use crate::resize::Plane;
use crate::shape::{Kind, Shape};
use crate::upconv::Input;
use crate::winograd;
use rayon::prelude::*;

const BLOCKS: usize = 4;
/// The block whose output has a channel for each class.
const LAST: usize = BLOCKS - 1;
/// The layer whose tokens are the first block's input; block `i` is joined with layer `LAST - i`.
const DEEPEST: usize = 4;

/// The channels that go into a block and come out of it.
fn channels(shape: Shape, block: usize) -> (usize, usize) {
    let input = shape.width >> block;
    match block {
        LAST => (input, shape.classes),
        _ => (input, input / 2),
    }
}

/// Initialised like PyTorch's layers: uniform within 1 / √fan-in.
pub(crate) fn tensors(shape: Shape, uniform: &mut dyn FnMut() -> f64) -> Vec<Parameter> {
    let mut tensors = Vec::new();
    for block in 0..BLOCKS {
        let (input, output) = channels(shape, block);
        let name = |rest: &str| format!("up{}.{rest}", block + 1);
        let mut draw =
            |tensors: &mut Vec<Parameter>, layer: &str, shape: [usize; 4], fan: usize| {
                let bound = 1.0 / (fan as f64).sqrt();
                let mut some = |count| -> Vec<f32> {
                    (0..count)
                        .map(|_| ((uniform() * 2.0 - 1.0) * bound) as f32)
                        .collect()
                };
                let weight = some(shape.iter().product());
                let bias = some(output);
                let weight = Parameter::trained(&name(&format!("{layer}.weight")), &shape, weight);
                let bias = Parameter::trained(&name(&format!("{layer}.bias")), &[output], bias);
                tensors.extend([weight, bias]);
            };
        draw(&mut tensors, "up", [input, output, 2, 2], output * 4);
        for (layer, input) in [("skip", shape.width), ("merge", 2 * output)] {
            let convolution = format!("{layer}.0");
            draw(&mut tensors, &convolution, [output, input, 3, 3], input * 9);
            let of = |rest: &str| name(&format!("{layer}.1.{rest}"));
            let one = || vec![1.0; output];
            let zero = || vec![0.0; output];
            tensors.extend([
                Parameter::trained(&of("weight"), &[output], one()),
                Parameter::trained(&of("bias"), &[output], zero()),
                Parameter::running(&of("running_mean"), &[output], zero()),
                Parameter::running(&of("running_var"), &[output], one()),
            ]);
        }
    }
    tensors
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
        let grid = extent(shape, batch, 0).with_channels(shape.width);
        let blocks = (0..LAST)
            .map(|index| {
                let (input, output) = channels(shape, index);
                let below = extent(shape, batch, index).with_channels(input);
                let above = extent(shape, batch, index + 1);
                Block::new(grid, below, above, (above.height, above.width), output)
            })
            .collect();
        let planes = planes_of(shape, batch);
        let below = extent(shape, batch, LAST).with_channels(channels(shape, LAST).0);
        let size = (planes.height, planes.width);
        let layout = Layout {
            plane: planes.plane(),
            inside: Plane {
                start: planes.at(0, 0, 0),
                stride: planes.stride(),
            },
            height: planes.height,
            width: planes.width,
        };
        Self {
            shape,
            head: LogitHead::new(Kind::UNet, shape, layout),
            blocks,
            last: Block::new(grid, below, planes, size, shape.classes),
            scratch: scratch(shape, grid.pixels()),
        }
    }

    pub(crate) fn head(&self) -> (&LogitHead, &Pool) {
        (&self.head, &self.scratch.pool)
    }

    /// An image's map after [`UNet::evaluate`].
    pub(crate) fn map(&self, image: usize) -> &[f32] {
        let length = planes_of(self.shape, 1).image();
        &self.last.out[image * length..][..length]
    }

    /// Fills the last block's `out`, with running statistics.
    pub(crate) fn evaluate(&mut self, tensors: &[Parameter], tokens: &[&[f32]], batch: usize) {
        self.forward(tensors, tokens, batch, false);
    }

    /// One step; returns the loss.
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
        let (head, pool) = (&self.head, &self.scratch.pool);
        let area = self.shape.size * self.shape.size;
        let image = planes_of(self.shape, images).image();
        let losses: Vec<f64> = self.last.out[..images * image]
            .par_chunks_mut(image)
            .zip(masks.par_chunks(area))
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
        let mut tensors = tensors.chunks_exact(TENSORS);
        let mut of_block = || tensors.next().unwrap_or_default();
        let mut input = tokens[DEEPEST];
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let skip = tokens[LAST - index];
            input = block.forward(input, skip, of_block(), batch, train, scratch);
        }
        self.last
            .forward(input, tokens[0], of_block(), batch, train, scratch);
    }

    /// A step of every block's parameters, from the gradient in the last block's `out`.
    fn backward(&mut self, tensors: &mut [Parameter], tokens: &[&[f32]], batch: usize, rate: f32) {
        let scratch = &mut self.scratch;
        let (blocks, last) = tensors.split_at_mut(LAST * TENSORS);
        let input = Input::Replaced(&mut self.blocks[LAST - 1].out);
        self.last
            .backward(input, tokens[0], last, batch, rate, scratch);
        for index in (0..LAST).rev() {
            let (before, rest) = self.blocks.split_at_mut(index);
            let input = match before.last_mut() {
                Some(before) => Input::Replaced(&mut before.out),
                None => Input::Kept(tokens[DEEPEST]),
            };
            let tensors = &mut blocks[index * TENSORS..][..TENSORS];
            rest[0].backward(input, tokens[LAST - index], tensors, batch, rate, scratch);
        }
    }
}

/// Scratch that is large enough for each block.
fn scratch(shape: Shape, pixels: usize) -> Scratch {
    let (mut transformed, mut gradient) = (0, 0);
    for index in 0..BLOCKS {
        let (input, output) = channels(shape, index);
        let widest = shape.width.max(2 * output);
        transformed = transformed
            .max(winograd::transformed_len(widest, output))
            .max(4 * input * output);
        gradient = gradient.max(9 * widest * output).max(4 * input * output);
    }
    let widest = shape.classes.max(shape.width / 2);
    Scratch {
        pool: Pool::default(),
        transformed: vec![0.0; transformed],
        gradient: vec![0.0; gradient],
        skip: vec![0.0; pixels * widest],
        skip_planes: vec![0.0; pixels * shape.classes],
    }
}

/// The maps before block `level`, without their channels.
fn extent(shape: Shape, batch: usize, level: usize) -> Extent {
    Extent {
        batch,
        height: shape.grid.0 << level,
        width: shape.grid.1 << level,
        channels: 1,
    }
}

/// The last block's planes.
fn planes_of(shape: Shape, batch: usize) -> Planes {
    let Extent { height, width, .. } = extent(shape, batch, BLOCKS);
    Planes {
        batch,
        channels: shape.classes,
        height,
        width,
    }
}
