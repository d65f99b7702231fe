//! Linear layers with low-rank adapters (Hu et al. 2021): `Y = X Wᵀ + b + (α / r) drop(X) Aᵀ Bᵀ`.
//!
//! An adapter may belong to a part of the outputs: queries, keys and values have one each where a checkpoint
//! has three matrices for them. Outputs may be computed for a part of the rows: of the last block, only the
//! query of the token that is used.

use std::ops::Range;

use super::dropout::Dropout;
use super::normalise::add_rows;
use super::tensor::Tensor;
use crate::matrix::{Matrix, multiply};

/// A linear layer.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    /// `[O, I]`
    pub(super) weight: Tensor,
    /// `[O]`
    pub(super) bias: Option<Tensor>,
    pub(super) adapters: Vec<Adapter>,
}

/// A low-rank adapter.
#[derive(Clone, Debug)]
pub(super) struct Adapter {
    /// `[r, I]`
    pub(super) down: Tensor,
    /// `[outputs, r]`
    pub(super) up: Tensor,
    /// The layer's outputs that it adds to.
    pub(super) outputs: Range<usize>,
    /// `α / r`
    pub(super) scale: f32,
}

/// Some outputs for every row, or for every `every`th.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) outputs: Range<usize>,
    pub(super) every: usize,
}

/// What the adapters of a layer keep for the backward pass: of each, `(α / r) drop(X) Aᵀ` `[rows, r]`.
pub(super) type Inner = Vec<Vec<f32>>;

/// The dropout of a chunk of images, and the numbers of an image in the layer's input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drop {
    pub(super) dropout: Option<Dropout>,
    /// The first image of the chunk within the batch.
    pub(super) first: usize,
    /// Numbers of an image.
    pub(super) image: usize,
}

impl Layer {
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let own = std::iter::once(&self.weight).chain(&self.bias);
        own.chain(self.adapters.iter().flat_map(|a| [&a.down, &a.up]))
    }

    pub(super) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let own = std::iter::once(&mut self.weight).chain(&mut self.bias);
        own.chain(
            self.adapters
                .iter_mut()
                .flat_map(|a| [&mut a.down, &mut a.up]),
        )
    }

    pub(super) fn inputs(&self) -> usize {
        self.weight.shape[1]
    }

    pub(super) fn outputs(&self) -> usize {
        self.weight.shape[0]
    }

    /// All outputs for all rows.
    pub(super) fn whole(&self) -> Part {
        Part {
            outputs: 0..self.outputs(),
            every: 1,
        }
    }

    /// Fills `inner` from the rows `x`. `spare` is a buffer.
    pub(super) fn adapt(&self, x: &[f32], drop: Drop, inner: &mut Inner, spare: &mut Vec<f32>) {
        let inputs = self.inputs();
        let rows = x.len() / inputs;
        inner.resize_with(self.adapters.len(), Vec::new);
        for (number, (adapter, inner)) in self.adapters.iter().zip(inner).enumerate() {
            let rank = adapter.down.shape[0];
            inner.resize(rows * rank, 0.0);
            let x = drop.apply(number, x, spare);
            let down = Matrix::new(&adapter.down.data, rank, inputs, inputs);
            let x = Matrix::new(x, rows, inputs, inputs);
            multiply(inner, rank, false, x, down.transposed());
            inner.iter_mut().for_each(|h| *h *= adapter.scale);
        }
    }

    /// Fills `out` with a part of the results for the rows `x`.
    pub(super) fn forward(&self, part: &Part, x: &[f32], inner: &Inner, out: &mut Vec<f32>) {
        let (inputs, outputs) = (self.inputs(), part.outputs.len());
        let rows = x.len() / inputs / part.every;
        out.resize(rows * outputs, 0.0);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(outputs) {
                row.copy_from_slice(&bias.data[part.outputs.clone()]);
            }
        }
        let weight = &self.weight.data[part.outputs.start * inputs..part.outputs.end * inputs];
        multiply(
            out,
            outputs,
            self.bias.is_some(),
            Matrix::new(x, rows, inputs, part.every * inputs),
            Matrix::new(weight, outputs, inputs, inputs).transposed(),
        );
        for (adapter, inner) in self.adapters.iter().zip(inner) {
            let Some((columns, ups)) = adapter.within(part) else {
                continue;
            };
            let rank = adapter.down.shape[0];
            multiply(
                &mut out[columns..],
                outputs,
                true,
                Matrix::new(inner, rows, rank, part.every * rank),
                adapter.ups(ups).transposed(),
            );
        }
    }

    /// Adds the gradients of what is trained to `gradients`: from the rows `x`, what [`Layer::adapt`] kept, and the
    /// gradients of parts of the results. Replaces `inner` by the gradients of `drop(X) Aᵀ`.
    pub(super) fn learn(
        &self,
        parts: &[(Part, &[f32])],
        x: &[f32],
        drop: Drop,
        inner: &mut Inner,
        gradients: &mut [f32],
        spare: &mut Vec<f32>,
    ) {
        let inputs = self.inputs();
        for (part, dy) in parts {
            let outputs = part.outputs.len();
            let rows = dy.len() / outputs;
            let dy_turned = Matrix::new(dy, rows, outputs, outputs).transposed();
            if let Some(bias) = self.bias.as_ref().and_then(|b| b.gradient(gradients)) {
                add_rows(&mut bias[part.outputs.clone()], dy);
            }
            if let Some(weight) = self.weight.gradient(gradients) {
                let weight = &mut weight[part.outputs.start * inputs..];
                let x = Matrix::new(x, rows, inputs, part.every * inputs);
                multiply(weight, inputs, true, dy_turned, x);
            }
            for (adapter, inner) in self.adapters.iter().zip(&*inner) {
                adapter.learn_up(part, dy, inner, gradients);
            }
        }
        let rows = x.len() / inputs;
        for (number, (adapter, inner)) in self.adapters.iter().zip(inner).enumerate() {
            let rank = adapter.down.shape[0];
            inner.fill(0.0);
            for (part, dy) in parts {
                adapter.backward(part, dy, inner);
            }
            inner.iter_mut().for_each(|h| *h *= adapter.scale);
            if let Some(down) = adapter.down.gradient(gradients) {
                let x = drop.apply(number, x, spare);
                let x = Matrix::new(x, rows, inputs, inputs);
                let inner = Matrix::new(inner, rows, rank, rank).transposed();
                multiply(down, inputs, true, inner, x);
            }
        }
    }

    /// Fills `dx` with the gradient of all `rows`, after [`Layer::learn`]. The first of `parts` has all rows.
    pub(super) fn backward(
        &self,
        parts: &[(Part, &[f32])],
        drop: Drop,
        inner: &Inner,
        dx: &mut Vec<f32>,
        spare: &mut Vec<f32>,
    ) {
        let inputs = self.inputs();
        for (index, (part, dy)) in parts.iter().enumerate() {
            let outputs = part.outputs.len();
            let rows = dy.len() / outputs;
            dx.resize(dx.len().max(rows * part.every * inputs), 0.0);
            let weight = &self.weight.data[part.outputs.start * inputs..];
            multiply(
                dx,
                part.every * inputs,
                index > 0,
                Matrix::new(dy, rows, outputs, outputs),
                Matrix::new(weight, outputs, inputs, inputs),
            );
        }
        for (number, (adapter, inner)) in self.adapters.iter().zip(inner).enumerate() {
            let rank = adapter.down.shape[0];
            let rows = inner.len() / rank;
            let inner = Matrix::new(inner, rows, rank, rank);
            let down = Matrix::new(&adapter.down.data, rank, inputs, inputs);
            if drop.dropout.is_some() {
                spare.resize(rows * inputs, 0.0);
                multiply(spare, inputs, false, inner, down);
                drop.add(number, spare, dx);
            } else {
                multiply(dx, inputs, true, inner, down);
            }
        }
    }
}

impl Adapter {
    /// The first column of a part that it adds to, and its own outputs there.
    fn within(&self, part: &Part) -> Option<(usize, Range<usize>)> {
        let start = self.outputs.start.max(part.outputs.start);
        let end = self.outputs.end.min(part.outputs.end);
        let own = start.checked_sub(self.outputs.start)?..end.saturating_sub(self.outputs.start);
        (start < end).then_some((start - part.outputs.start, own))
    }

    /// Rows of `B`.
    fn ups(&self, rows: Range<usize>) -> Matrix<'_> {
        let rank = self.down.shape[0];
        Matrix::new(&self.up.data[rows.start * rank..], rows.len(), rank, rank)
    }

    /// Adds the gradient of `B` from a part.
    fn learn_up(&self, part: &Part, dy: &[f32], inner: &[f32], gradients: &mut [f32]) {
        let (Some((column, ups)), Some(up)) = (self.within(part), self.up.gradient(gradients))
        else {
            return;
        };
        let (rank, outputs) = (self.down.shape[0], part.outputs.len());
        let rows = dy.len() / outputs;
        multiply(
            &mut up[ups.start * rank..],
            rank,
            true,
            Matrix::new(&dy[column..], rows, ups.len(), outputs).transposed(),
            Matrix::new(inner, rows, rank, part.every * rank),
        );
    }

    /// Adds `dY B` of a part to `inner`.
    fn backward(&self, part: &Part, dy: &[f32], inner: &mut [f32]) {
        let Some((column, ups)) = self.within(part) else {
            return;
        };
        let (rank, outputs) = (self.down.shape[0], part.outputs.len());
        let rows = dy.len() / outputs;
        multiply(
            inner,
            part.every * rank,
            true,
            Matrix::new(&dy[column..], rows, ups.len(), outputs),
            self.ups(ups),
        );
    }
}

impl Drop {
    /// The same for an input with another number of numbers for each image, and other draws.
    pub(super) fn of(self, layer: usize, image: usize) -> Drop {
        Drop {
            dropout: self.dropout.map(|dropout| dropout.of(layer)),
            image,
            ..self
        }
    }

    /// The rows after the dropout of adapter `number`; `spare` is a buffer for them.
    fn apply<'a>(self, number: usize, x: &'a [f32], spare: &'a mut Vec<f32>) -> &'a [f32] {
        let Some(dropout) = self.dropout else {
            return x;
        };
        spare.resize(x.len(), 0.0);
        let images = x.chunks(self.image).zip(spare.chunks_mut(self.image));
        for (image, (x, out)) in (self.first..).zip(images) {
            dropout.of(number).of(image).apply(x, out);
        }
        spare
    }

    /// Adds `x` to `out` where the dropout of adapter `number` keeps it.
    fn add(self, number: usize, x: &[f32], out: &mut [f32]) {
        let Some(dropout) = self.dropout else { return };
        let images = x.chunks(self.image).zip(out.chunks_mut(self.image));
        for (image, (x, out)) in (self.first..).zip(images) {
            dropout.of(number).of(image).add(x, out);
        }
    }
}
