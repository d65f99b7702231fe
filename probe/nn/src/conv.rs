//! The layer of a 3×3 convolution, batch normalisation and ReLU.

use crate::extent::{Extent, Layout};
use crate::norm::{Affine, Backward, Normalise};
use crate::parameter::Parameter;
use crate::scratch::Scratch;

/// Tensors of a layer: the convolution's weight and bias, and the normalisation's weight, bias,
/// running mean and running variance.
pub(crate) const TENSORS: usize = 6;

/// The kernels of 3×3 convolutions with a padding of one, without bias, on maps in a memory layout.
/// With weights `w` `[output, input, 3, 3]`, an input `x` (`self` is its layout) and its output `y`:
///
/// ```text
///  y[o, r, c] = Σ w[o, i, u, v] · x[i, r + u − 1, c + v − 1]      over i, u, v
/// ```
pub(crate) trait Convolve: Layout {
    /// The convolution of `map` into `out`.
    fn convolve(self, map: &[f32], weights: &[f32], out: &mut [f32], scratch: &mut Scratch);

    /// The gradient of the weights, from that of the output, into the start of `scratch.gradient`:
    /// `∂w[o, i, u, v] = Σ ∂y[o, r, c] · x[i, r + u − 1, c + v − 1]` over pixels.
    fn weight_gradient(self, map: &[f32], of_out: &[f32], output: usize, scratch: &mut Scratch);

    /// The gradient of the input, from that of the output, into `of_map`: the convolution of `∂y` with
    /// the weights turned by half a turn, inputs and outputs exchanged.
    fn input_gradient(
        self,
        of_out: &[f32],
        weights: &[f32],
        of_map: &mut [f32],
        scratch: &mut Scratch,
    );
}

/// The input of a layer on the way back: kept, or replaced by its gradient.
pub(crate) enum Input<'a> {
    Kept(&'a [f32]),
    Replaced(&'a mut [f32]),
}

impl Input<'_> {
    pub(crate) fn get(&self) -> &[f32] {
        match self {
            Self::Kept(data) => data,
            Self::Replaced(data) => data,
        }
    }

    /// The first `length` numbers.
    pub(crate) fn first(self, length: usize) -> Self {
        match self {
            Self::Kept(data) => Self::Kept(&data[..length]),
            Self::Replaced(data) => Self::Replaced(&mut data[..length]),
        }
    }

    /// Pieces of `length` numbers.
    pub(crate) fn chunks(self, length: usize) -> Vec<Self> {
        match self {
            Self::Kept(data) => data.chunks(length).map(Self::Kept).collect(),
            Self::Replaced(data) => data.chunks_mut(length).map(Self::Replaced).collect(),
        }
    }
}

/// A layer with its buffers.
pub(crate) struct ConvNorm<L> {
    /// The input, in the largest batch.
    input: L,
    output: usize,
    /// The output of the convolution.
    convolved: Vec<f32>,
    affine: Affine,
    /// The output of the layer; before [`ConvNorm::backward`], its gradient.
    pub(crate) out: Vec<f32>,
}

impl<L: Convolve + Normalise> ConvNorm<L> {
    pub(crate) fn new(input: Extent, output: usize) -> Self {
        let input = L::new(input);
        let length = input.with_channels(output).len();
        Self {
            input,
            output,
            convolved: vec![0.0; length],
            affine: Affine::default(),
            out: vec![0.0; length],
        }
    }

    /// Fills `out` from `map`, the input. Normalises with the statistics of the batch if `train` is
    /// set, else with running ones.
    pub(crate) fn forward(
        &mut self,
        map: &[f32],
        tensors: &[Parameter],
        batch: usize,
        train: bool,
        scratch: &mut Scratch,
    ) {
        let input = self.input.with_batch(batch);
        let output = input.with_channels(self.output);
        let convolved = &mut self.convolved[..output.len()];
        input.convolve(&map[..input.len()], &tensors[0].data, convolved, scratch);
        let [bias, weight, shift, mean, variance] = [1, 2, 3, 4, 5].map(|at| &tensors[at].data[..]);
        self.affine = if train {
            Affine::of_batch(&output.moments(convolved), weight, shift)
        } else {
            Affine::of_running(mean, variance, weight, shift, bias)
        };
        output.normalise(convolved, &self.affine, &mut self.out[..output.len()]);
    }

    /// From the gradient in `out` to that of the input, where it is replaced, with a step of the
    /// parameters.
    pub(crate) fn backward(
        &mut self,
        map: Input<'_>,
        tensors: &mut [Parameter],
        batch: usize,
        rate: f32,
        scratch: &mut Scratch,
    ) {
        let input = self.input.with_batch(batch);
        let output = input.with_channels(self.output);
        let of_out = &mut self.out[..output.len()];
        let convolved = &self.convolved[..output.len()];
        let of_norm = output.normalise_back(convolved, &self.affine, of_out);
        let map = map.first(input.len());
        input.weight_gradient(map.get(), of_out, self.output, scratch);
        let weights = &tensors[0].data;
        if let Input::Replaced(of_map) = map {
            input.input_gradient(of_out, weights, of_map, scratch);
        }
        let gradient = &scratch.gradient[..weights.len()];
        descend(tensors, gradient, &self.affine, &of_norm, rate);
    }
}

/// A step of the parameters. The bias of the convolution stays as it is: the normalisation subtracts
/// whatever it adds.
fn descend(
    tensors: &mut [Parameter],
    gradient: &[f32],
    affine: &Affine,
    of_norm: &Backward,
    rate: f32,
) {
    if let [weight, offset, scale, shift, mean, variance] = tensors {
        weight.descend(gradient, rate);
        scale.descend(&of_norm.weight, rate);
        shift.descend(&of_norm.bias, rate);
        affine.update(&mut mean.data, &mut variance.data, &offset.data);
    }
}
