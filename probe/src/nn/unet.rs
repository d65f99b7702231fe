//! The U-Net decoder. A block upsamples its input, joins it with an earlier layer's tokens (a
//! convolution at the resolution of the grid, then resized) and convolves both. The first three
//! blocks work on maps `[B, H, W, C]`, the last one, whose channels are the few classes, on planes.

use super::decoder::{Kind, Shape, Stored};
use super::direct;
use super::head::{Head, Layout};
use super::loss::Loss;
use super::matrix::Pool;
use super::norm::{self, Affine, Backward, Moments};
use super::planes::{self, Planes};
use super::resize::{Plane, Resize, Taps};
use super::upconv::{self, Gradients, Input, Source};
use super::winograd::{self, Extent};
use rayon::prelude::*;

const BLOCKS: usize = 4;
/// The block that works on planes.
const LAST: usize = BLOCKS - 1;
/// Tensors of a block.
const TENSORS: usize = 14;
/// Tensors of the upsampling within those of a block: weight and bias.
const UP: usize = 0;
/// Of a convolution with its normalisation, from here: weight, bias, and the normalisation's weight,
/// bias, running mean and running variance.
const SKIP: usize = 2;
const MERGE: usize = 8;

/// The channels that go into a block and come out of it.
fn channels(shape: Shape, block: usize) -> (usize, usize) {
    let input = shape.width >> block;
    match block {
        LAST => (input, shape.classes),
        _ => (input, input / 2),
    }
}

/// Initialised like PyTorch's layers: uniform within 1 / √fan-in.
pub(super) fn tensors(shape: Shape, uniform: &mut dyn FnMut() -> f64) -> Vec<Stored> {
    let mut tensors = Vec::new();
    for block in 0..BLOCKS {
        let (input, output) = channels(shape, block);
        let name = |rest: &str| format!("up{}.{rest}", block + 1);
        let mut draw = |tensors: &mut Vec<Stored>, layer: &str, shape: [usize; 4], fan: usize| {
            let bound = 1.0 / (fan as f64).sqrt();
            let mut some = |count| -> Vec<f32> {
                (0..count)
                    .map(|_| ((uniform() * 2.0 - 1.0) * bound) as f32)
                    .collect()
            };
            let weight = some(shape.iter().product());
            let bias = some(output);
            let weight = Stored::trained(&name(&format!("{layer}.weight")), &shape, weight);
            let bias = Stored::trained(&name(&format!("{layer}.bias")), &[output], bias);
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
                Stored::trained(&of("weight"), &[output], one()),
                Stored::trained(&of("bias"), &[output], zero()),
                Stored::running(&of("running_mean"), &[output], zero()),
                Stored::running(&of("running_var"), &[output], one()),
            ]);
        }
    }
    tensors
}

/// Buffers of [`super::Workspace`].
pub(super) struct UNet {
    shape: Shape,
    head: Head,
    pool: Pool,
    blocks: Vec<Block>,
    /// Transformed weights or products of a 3×3 convolution, or arranged weights of an upsampling.
    transformed: Vec<f32>,
    /// Of the weights of one layer.
    gradient: Vec<f32>,
    /// A skip's normalised map, or its gradient.
    skip: Vec<f32>,
    /// The last block's skip as planes.
    skip_planes: Vec<f32>,
}

/// What a block keeps for the way back. Gradients take the place of what they belong to.
struct Block {
    input: usize,
    output: usize,
    resize: Resize,
    /// Upsampled input and skip, `[B, H, W, 2 output]`.
    joined: Vec<f32>,
    /// The joined map's convolution, `[B, H, W, output]`.
    merged: Vec<f32>,
    /// That, normalised.
    out: Vec<f32>,
    /// The skip's convolution, `[B, h, w, output]`.
    skip: Vec<f32>,
    skip_norm: Affine,
    merge_norm: Affine,
}

impl UNet {
    pub(super) fn new(shape: Shape, batch: usize) -> Self {
        let mut largest = (0, 0);
        let blocks = (0..BLOCKS)
            .map(|index| {
                let (input, output) = channels(shape, index);
                let (above, grid) = (extents(shape, batch, index + 1), extents(shape, batch, 0));
                let pixels = match index {
                    LAST => planes_of(shape, batch).with_channels(1).len(),
                    _ => above.pixels(),
                };
                let points = winograd::transformed_len(shape.width.max(2 * output), output);
                largest.0 = largest.0.max(points).max(4 * input * output);
                let weights = 9 * shape.width.max(2 * output) * output;
                largest.1 = largest.1.max(weights).max(4 * input * output);
                Block {
                    input,
                    output,
                    resize: Resize::new(
                        Taps::aligned(grid.height, above.height),
                        Taps::aligned(grid.width, above.width),
                    ),
                    joined: vec![0.0; 2 * pixels * output],
                    merged: vec![0.0; pixels * output],
                    out: vec![0.0; pixels * output],
                    skip: vec![0.0; grid.pixels() * output],
                    skip_norm: Affine::default(),
                    merge_norm: Affine::default(),
                }
            })
            .collect();
        let planes = planes_of(shape, batch);
        let layout = Layout {
            plane: planes.plane(),
            inside: Plane {
                start: planes.at(0, 0, 0),
                stride: planes.stride(),
            },
            height: planes.height,
            width: planes.width,
        };
        let skip_pixels = extents(shape, batch, 0).pixels();
        let widest = shape.classes.max(shape.width / 2);
        Self {
            shape,
            head: Head::new(Kind::UNet, shape, layout),
            pool: Pool::default(),
            blocks,
            transformed: vec![0.0; largest.0],
            gradient: vec![0.0; largest.1],
            skip: vec![0.0; skip_pixels * widest],
            skip_planes: vec![0.0; skip_pixels * shape.classes],
        }
    }

    pub(super) fn head(&self) -> (&Head, &Pool) {
        (&self.head, &self.pool)
    }

    /// An image's map after [`UNet::evaluate`].
    pub(super) fn map(&self, image: usize) -> &[f32] {
        let length = planes_of(self.shape, 1).image();
        &self.blocks[LAST].out[image * length..][..length]
    }

    /// Fills the last block's `out`, with running statistics.
    pub(super) fn evaluate(&mut self, tensors: &[Stored], tokens: &[&[f32]], batch: usize) {
        self.forward(tensors, tokens, batch, false);
    }

    /// One step; returns the loss.
    pub(super) fn step(
        &mut self,
        tensors: &mut [Stored],
        tokens: &[&[f32]],
        masks: &[u16],
        loss: Loss,
        rate: f32,
        (images, counted): (usize, usize),
    ) -> f64 {
        self.forward(tensors, tokens, images, true);
        let (head, pool) = (&self.head, &self.pool);
        let area = self.shape.size * self.shape.size;
        let image = planes_of(self.shape, images).image();
        let losses: Vec<f64> = self.blocks[LAST].out[..images * image]
            .par_chunks_mut(image)
            .zip(masks.par_chunks(area))
            .map(|(map, labels)| head.descend(map, labels, loss, (images, counted), pool))
            .collect();
        let loss: f64 = losses.iter().sum();
        if loss.is_finite() {
            for index in (0..BLOCKS).rev() {
                let tensors = &mut tensors[index * TENSORS..][..TENSORS];
                self.backward(index, tensors, tokens, images, rate);
            }
        }
        loss
    }

    fn forward(&mut self, tensors: &[Stored], tokens: &[&[f32]], batch: usize, train: bool) {
        for index in 0..BLOCKS {
            let tensors = &tensors[index * TENSORS..][..TENSORS];
            let (before, rest) = self.blocks.split_at_mut(index);
            let block = &mut rest[0];
            let output = block.output;
            let below = extents(self.shape, batch, index).with_channels(block.input);
            let above = extents(self.shape, batch, index + 1).with_channels(2 * output);
            let grid = extents(self.shape, batch, 0).with_channels(self.shape.width);
            let planes = planes_of(self.shape, batch);
            let joined = match index {
                LAST => planes.with_channels(2 * output),
                _ => planes,
            };
            let input = match before.last() {
                Some(before) => &before.out[..below.len()],
                None => tokens[4],
            };
            let affine = |first: usize, moments: Option<Vec<Moments>>| {
                let [bias, weight, shift, mean, variance] =
                    [1, 2, 3, 4, 5].map(|place| &tensors[first + place].data[..]);
                match moments {
                    Some(moments) => Affine::of_batch(&moments, weight, shift),
                    None => Affine::of_running(mean, variance, weight, shift, bias),
                }
            };
            let pool = &self.pool;

            let arranged = &mut self.transformed[..4 * block.input * output];
            upconv::arrange(&tensors[UP].data, output, arranged);
            let bias = &tensors[UP + 1].data;
            match index {
                LAST => {
                    let out = &mut block.joined[..joined.len()];
                    upconv::lower_planes(input, below, arranged, bias, out, joined, pool);
                }
                _ => {
                    let out = &mut block.joined[..above.len()];
                    upconv::lower(input, below, arranged, bias, out, pool);
                }
            }

            let weights = &tensors[SKIP].data;
            let points = winograd::transformed_len(self.shape.width, output);
            let points = &mut self.transformed[..points];
            winograd::transform_weights(weights, self.shape.width, output, points);
            let small = grid.with_channels(output);
            let made = &mut block.skip[..small.len()];
            winograd::convolve(tokens[LAST - index], grid, points, output, made, pool);
            block.skip_norm = affine(SKIP, train.then(|| norm::moments(made, output)));
            let skip = &mut self.skip[..small.len()];
            norm::normalise(made, &block.skip_norm, skip);
            match index {
                LAST => {
                    let of_planes = &mut self.skip_planes[..small.len()];
                    norm::to_planes(skip, small, of_planes);
                    upper_planes(
                        &block.resize,
                        of_planes,
                        &mut block.joined[..joined.len()],
                        joined,
                        pool,
                    );
                }
                _ => {
                    let out = &mut block.joined[..above.len()];
                    block.resize.upper(skip, small, out, pool);
                }
            }

            let weights = &tensors[MERGE].data;
            match index {
                LAST => {
                    let out = planes.with_channels(output);
                    let merged = &mut block.merged[..out.len()];
                    let from = &block.joined[..joined.len()];
                    direct::convolve(from, joined, weights, output, merged);
                    let moments = train.then(|| planes::moments(merged, out));
                    block.merge_norm = affine(MERGE, moments);
                    let to = &mut block.out[..out.len()];
                    planes::normalise(merged, out, &block.merge_norm, to);
                }
                _ => {
                    let points = winograd::transformed_len(2 * output, output);
                    let points = &mut self.transformed[..points];
                    winograd::transform_weights(weights, 2 * output, output, points);
                    let merged = &mut block.merged[..above.len() / 2];
                    let from = &block.joined[..above.len()];
                    winograd::convolve(from, above, points, output, merged, pool);
                    let moments = train.then(|| norm::moments(merged, output));
                    block.merge_norm = affine(MERGE, moments);
                    let to = &mut block.out[..above.len() / 2];
                    norm::normalise(merged, &block.merge_norm, to);
                }
            }
        }
    }

    /// From the gradient in a block's `out` to the one in the `out` of the block before, with a step
    /// of the block's parameters.
    fn backward(
        &mut self,
        index: usize,
        tensors: &mut [Stored],
        tokens: &[&[f32]],
        batch: usize,
        rate: f32,
    ) {
        let (before, rest) = self.blocks.split_at_mut(index);
        let block = &mut rest[0];
        let (input, output) = (block.input, block.output);
        let below = extents(self.shape, batch, index).with_channels(input);
        let above = extents(self.shape, batch, index + 1).with_channels(2 * output);
        let grid = extents(self.shape, batch, 0).with_channels(self.shape.width);
        let small = grid.with_channels(output);
        let planes = planes_of(self.shape, batch).with_channels(output);
        let joined = planes.with_channels(2 * output);
        let pool = &self.pool;

        let weights = 18 * output * output;
        let points = winograd::transformed_len(2 * output, output);
        let norm_step = match index {
            LAST => {
                let out = &mut block.out[..planes.len()];
                let merged = &block.merged[..planes.len()];
                let norm_step = planes::backward(merged, planes, &block.merge_norm, out);
                let gradient = &mut self.gradient[..weights];
                let from = &mut block.joined[..joined.len()];
                direct::weight_gradient(from, joined, out, output, gradient);
                let turned = direct::turned(&tensors[MERGE].data, 2 * output, output);
                direct::convolve(out, planes, &turned, 2 * output, from);
                norm_step
            }
            _ => {
                let out = &mut block.out[..above.len() / 2];
                let merged = &block.merged[..above.len() / 2];
                let norm_step = norm::backward(merged, &block.merge_norm, out);
                let gradient = &mut self.gradient[..weights];
                let from = &mut block.joined[..above.len()];
                let points = &mut self.transformed[..points];
                winograd::weight_gradient(from, above, out, output, points, gradient, pool);
                let weights = &tensors[MERGE].data;
                winograd::transform_weights_back(weights, 2 * output, output, points);
                let of = above.with_channels(output);
                winograd::convolve(out, of, points, 2 * output, from, pool);
                norm_step
            }
        };
        let gradient = &self.gradient[..weights];
        update(
            &mut tensors[MERGE..],
            gradient,
            &block.merge_norm,
            &norm_step,
            rate,
        );

        let of_skip = &mut self.skip[..small.len()];
        match index {
            LAST => {
                let of_planes = &mut self.skip_planes[..small.len()];
                let from = &block.joined[..joined.len()];
                upper_planes_back(&block.resize, from, joined, of_planes, pool);
                norm::from_planes(of_planes, small, of_skip);
            }
            _ => {
                let from = &block.joined[..above.len()];
                block.resize.upper_back(from, of_skip, small, pool);
            }
        }
        let norm_step = norm::backward(&block.skip[..small.len()], &block.skip_norm, of_skip);
        let weights = 9 * self.shape.width * output;
        let gradient = &mut self.gradient[..weights];
        let points = winograd::transformed_len(self.shape.width, output);
        let points = &mut self.transformed[..points];
        let of_tokens = tokens[LAST - index];
        winograd::weight_gradient(of_tokens, grid, of_skip, output, points, gradient, pool);
        update(
            &mut tensors[SKIP..],
            gradient,
            &block.skip_norm,
            &norm_step,
            rate,
        );

        let arranged = &mut self.transformed[..4 * input * output];
        upconv::arrange(&tensors[UP].data, output, arranged);
        let mut of_bias = vec![0.0; output];
        let of_weight = &mut self.gradient[..4 * input * output];
        let gradients = Gradients {
            weight: of_weight,
            bias: &mut of_bias,
        };
        let source = match index {
            LAST => Source::Planes(&block.joined, joined),
            _ => Source::Lower(&block.joined),
        };
        let from = match before.last_mut() {
            Some(before) => Input::Replaced(&mut before.out[..below.len()]),
            None => Input::Kept(tokens[4]),
        };
        upconv::backward(from, below, arranged, source, gradients, pool);
        tensors[UP].descend(&self.gradient[..4 * input * output], rate);
        tensors[UP + 1].descend(&of_bias, rate);
    }
}

/// A step of a convolution and its normalisation. The bias of the convolution is left alone: what
/// it adds, the normalisation takes away.
fn update(
    tensors: &mut [Stored],
    gradient: &[f32],
    affine: &Affine,
    norm_step: &Backward,
    rate: f32,
) {
    if let [weight, offset, scale, shift, mean, variance, ..] = tensors {
        weight.descend(gradient, rate);
        scale.descend(&norm_step.weight, rate);
        shift.descend(&norm_step.bias, rate);
        affine.update(&mut mean.data, &mut variance.data, &offset.data);
    }
}

/// The maps before block `level`, without their channels.
fn extents(shape: Shape, batch: usize, level: usize) -> Extent {
    Extent {
        batch,
        height: shape.grid.0 << level,
        width: shape.grid.1 << level,
        channels: 1,
    }
}

/// The last block's planes.
fn planes_of(shape: Shape, batch: usize) -> Planes {
    let Extent { height, width, .. } = extents(shape, batch, BLOCKS);
    Planes {
        batch,
        channels: shape.classes,
        height,
        width,
    }
}

/// Planes `[B, C, h, w]` resized into the upper half of the channels of `joined`.
fn upper_planes(resize: &Resize, from: &[f32], joined: &mut [f32], planes: Planes, pool: &Pool) {
    let channels = planes.channels / 2;
    let small = from.len() / (planes.batch * channels);
    let inside = planes.at(0, 0, 0);
    let narrow = resize.width();
    joined
        .par_chunks_mut(planes.image())
        .zip(from.par_chunks(channels * small))
        .for_each(|(joined, from)| {
            joined[channels * planes.plane()..]
                .par_chunks_mut(planes.plane())
                .zip(from.par_chunks(small))
                .for_each(|(out, from)| {
                    let at = Plane {
                        start: 0,
                        stride: narrow,
                    };
                    let to = Plane {
                        start: inside,
                        stride: planes.stride(),
                    };
                    resize.plane(from, at, out, to, pool);
                });
        });
}

/// The gradient `[B, C, h, w]` of [`upper_planes`].
fn upper_planes_back(
    resize: &Resize,
    joined: &[f32],
    planes: Planes,
    out: &mut [f32],
    pool: &Pool,
) {
    let channels = planes.channels / 2;
    let small = out.len() / (planes.batch * channels);
    let narrow = resize.width();
    out.par_chunks_mut(small)
        .enumerate()
        .for_each(|(index, out)| {
            let (image, channel) = (index / channels, index % channels);
            let at = Plane {
                start: planes.at(image, channels + channel, 0),
                stride: planes.stride(),
            };
            let to = Plane {
                start: 0,
                stride: narrow,
            };
            resize.plane_back(joined, at, out, to, pool);
        });
}
