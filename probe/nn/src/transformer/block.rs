//! A pre-norm block of a vision transformer (Dosovitskiy et al. 2021), with LayerScale (Touvron et al. 2021).

use super::activation::Activation;
use super::attention::{Attention, Rows};
use super::layer::{Drop, Inner, Layer, Part};
use super::normalise::{Norm, Normed};
use super::tensor::Tensor;
use crate::matrix::vectorised;

/// A block: `x + s₁ attention(norm₁(x))`, and then `x + s₂ mlp(norm₂(x))`.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) norms: [Norm; 2],
    /// Queries, keys and values, in this order.
    pub(super) attend: Layer,
    pub(super) project: Layer,
    /// The two layers of the MLP.
    pub(super) mlp: [Layer; 2],
    /// LayerScale of attention and MLP.
    pub(super) scales: [Option<Tensor>; 2],
    pub(super) activation: Activation,
    pub(super) heads: usize,
}

/// The rows of a chunk of images in a block. What the backward pass no longer needs it replaces by gradients.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// `[rows, D]`, the input.
    pub(super) x: Vec<f32>,
    norms: [Normed; 2],
    keys_values: Vec<f32>,
    queries: Vec<f32>,
    weights: Vec<f32>,
    attended: Vec<f32>,
    projected: Vec<f32>,
    /// After attention.
    middle: Vec<f32>,
    wide: Vec<f32>,
    active: Vec<f32>,
    narrow: Vec<f32>,
    /// Of the layers `attend` and `mlp`.
    inners: [Inner; 3],
}

/// Buffers of any block.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) spare: Vec<f32>,
    branch: Vec<f32>,
    dactive: Vec<f32>,
    dnorm: Vec<f32>,
    dattended: Vec<f32>,
    dqueries: Vec<f32>,
    dkeys_values: Vec<f32>,
    scores: Vec<f32>,
}

/// What of a block is computed, and the dropout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// Tokens of an image.
    pub(super) tokens: usize,
    /// The first tokens of an image whose results are computed: one, or all.
    pub(super) queries: usize,
    pub(super) drop: Drop,
    /// Whether the gradient of the input is wanted.
    pub(super) is_first: bool,
}

impl Block {
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let layers = [&self.attend, &self.project, &self.mlp[0], &self.mlp[1]];
        let norms = self.norms.iter().flat_map(Norm::tensors);
        let layers = layers.into_iter().flat_map(Layer::tensors);
        norms.chain(layers).chain(self.scales.iter().flatten())
    }

    pub(super) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let [first, second] = &mut self.mlp;
        let layers = [&mut self.attend, &mut self.project, first, second];
        let norms = self.norms.iter_mut().flat_map(Norm::tensors_mut);
        let layers = layers.into_iter().flat_map(Layer::tensors_mut);
        norms.chain(layers).chain(self.scales.iter_mut().flatten())
    }

    fn width(&self) -> usize {
        self.project.outputs()
    }

    fn attention(&self, scope: Scope) -> Attention {
        Attention {
            heads: self.heads,
            width: self.width(),
            tokens: scope.tokens,
            queries: scope.queries,
        }
    }

    /// Keys and values of every token, and the queries that are computed.
    fn parts(&self, scope: Scope) -> [Part; 2] {
        let width = self.width();
        let keys_values = Part {
            outputs: width..3 * width,
            every: 1,
        };
        let queries = Part {
            outputs: 0..width,
            every: scope.tokens / scope.queries,
        };
        [keys_values, queries]
    }

    /// The dropout of the inputs of `attend` and of both layers of the MLP.
    fn drops(&self, scope: Scope) -> [Drop; 3] {
        let width = self.width();
        let hidden = self.mlp[1].inputs();
        let sizes = [
            scope.tokens * width,
            scope.queries * width,
            scope.queries * hidden,
        ];
        [0, 1, 2].map(|layer| scope.drop.of(layer, sizes[layer]))
    }

    /// Fills `out` and the trace from its input.
    pub(super) fn forward(
        &self,
        scope: Scope,
        trace: &mut Trace,
        out: &mut Vec<f32>,
        spare: &mut Vec<f32>,
    ) {
        let width = self.width();
        let drops = self.drops(scope);
        let [keys_values, queries] = self.parts(scope);
        let [first, second] = &mut trace.norms;
        let [attend, wide, narrow] = &mut trace.inners;
        self.norms[0].forward(&trace.x, width, first);
        self.attend.adapt(&first.out, drops[0], attend, spare);
        self.attend
            .forward(&keys_values, &first.out, attend, &mut trace.keys_values);
        self.attend
            .forward(&queries, &first.out, attend, &mut trace.queries);
        self.attention(scope).forward(
            &trace.queries,
            &trace.keys_values,
            &mut trace.weights,
            &mut trace.attended,
        );
        let whole = self.project.whole();
        self.project
            .forward(&whole, &trace.attended, &Vec::new(), &mut trace.projected);
        let stride = queries.every * width;
        let scale = self.scales[0].as_ref();
        add_branch(
            &trace.x,
            stride,
            &trace.projected,
            scale,
            width,
            &mut trace.middle,
        );
        self.norms[1].forward(&trace.middle, width, second);
        let [fc1, fc2] = &self.mlp;
        fc1.adapt(&second.out, drops[1], wide, spare);
        fc1.forward(&fc1.whole(), &second.out, wide, &mut trace.wide);
        let rows = trace.middle.len() / width;
        trace.active.resize(rows * fc2.inputs(), 0.0);
        self.activation
            .forward(&trace.wide, &mut trace.active, fc2.inputs());
        fc2.adapt(&trace.active, drops[2], narrow, spare);
        fc2.forward(&fc2.whole(), &trace.active, narrow, &mut trace.narrow);
        let scale = self.scales[1].as_ref();
        add_branch(&trace.middle, width, &trace.narrow, scale, width, out);
    }

    /// Adds gradients of what is trained to `gradients`, and replaces `d`, the gradient of the results, by that
    /// of the input, unless the block is the first.
    pub(super) fn backward(
        &self,
        scope: Scope,
        trace: &mut Trace,
        d: &mut Vec<f32>,
        gradients: &mut [f32],
        buffers: &mut Buffers,
    ) {
        self.backward_mlp(scope, trace, d, gradients, buffers);
        let width = self.width();
        let drop = self.drops(scope)[0];
        let Buffers {
            spare,
            branch,
            dattended,
            dqueries,
            dkeys_values,
            scores,
            dnorm,
            ..
        } = buffers;
        through_scale(
            self.scales[0].as_ref(),
            d,
            &trace.projected,
            branch,
            gradients,
        );
        let whole = [(self.project.whole(), &branch[..])];
        let none = &mut Vec::new();
        dattended.clear();
        self.project
            .learn(&whole, &trace.attended, drop, none, gradients, spare);
        self.project.backward(&whole, drop, none, dattended, spare);
        let rows = Rows {
            queries: &trace.queries,
            keys_values: &trace.keys_values,
            weights: &trace.weights,
            out: &trace.attended,
        };
        self.attention(scope)
            .backward(&rows, dattended, dqueries, dkeys_values, scores);
        let [keys_values, queries] = self.parts(scope);
        let every = queries.every;
        let parts = [(keys_values, &dkeys_values[..]), (queries, &dqueries[..])];
        let inner = &mut trace.inners[0];
        self.attend
            .learn(&parts, &trace.norms[0].out, drop, inner, gradients, spare);
        let [norm, _] = &self.norms;
        if scope.is_first && !norm.is_trained() {
            return;
        }
        dnorm.clear();
        self.attend.backward(&parts, drop, inner, dnorm, spare);
        norm.learn(&trace.norms[0], dnorm, gradients);
        if scope.is_first {
            return;
        }
        spread(d, width, every, spare);
        norm.backward(&trace.norms[0], dnorm, d, width);
    }

    /// The backward pass from the results to the rows after attention.
    fn backward_mlp(
        &self,
        scope: Scope,
        trace: &mut Trace,
        d: &mut [f32],
        gradients: &mut [f32],
        buffers: &mut Buffers,
    ) {
        let width = self.width();
        let [_, drop1, drop2] = self.drops(scope);
        let [fc1, fc2] = &self.mlp;
        let Buffers {
            spare,
            branch,
            dactive,
            dnorm,
            ..
        } = buffers;
        let [_, wide, narrow] = &mut trace.inners;
        through_scale(self.scales[1].as_ref(), d, &trace.narrow, branch, gradients);
        let whole = [(fc2.whole(), &branch[..])];
        fc2.learn(&whole, &trace.active, drop2, narrow, gradients, spare);
        dactive.clear();
        fc2.backward(&whole, drop2, narrow, dactive, spare);
        self.activation
            .backward(&mut trace.wide, dactive, fc2.inputs());
        let whole = [(fc1.whole(), &trace.wide[..])];
        let normed = &trace.norms[1];
        fc1.learn(&whole, &normed.out, drop1, wide, gradients, spare);
        dnorm.clear();
        fc1.backward(&whole, drop1, wide, dnorm, spare);
        self.norms[1].learn(normed, dnorm, gradients);
        self.norms[1].backward(normed, dnorm, d, width);
    }
}

/// Puts `every - 1` rows of zeros after each row of `rows`; `spare` is a buffer.
fn spread(rows: &mut Vec<f32>, width: usize, every: usize, spare: &mut Vec<f32>) {
    if every == 1 {
        return;
    }
    spare.clear();
    spare.resize(rows.len() * every, 0.0);
    let places = spare.chunks_mut(every * width);
    for (place, row) in places.zip(rows.chunks_exact(width)) {
        place[..width].copy_from_slice(row);
    }
    std::mem::swap(spare, rows);
}

/// `out = x + scale · branch`, for rows `x` that are `stride` numbers apart.
fn add_branch(
    x: &[f32],
    stride: usize,
    branch: &[f32],
    scale: Option<&Tensor>,
    width: usize,
    out: &mut Vec<f32>,
) {
    out.resize(branch.len(), 0.0);
    let rows = x
        .chunks(stride)
        .zip(branch.chunks_exact(width))
        .zip(out.chunks_exact_mut(width));
    for ((x, branch), out) in rows {
        vectorised(
            #[inline(always)]
            || match scale {
                Some(scale) => {
                    let terms = out.iter_mut().zip(x).zip(branch).zip(&scale.data);
                    terms.for_each(|(((out, x), b), s)| *out = x + s * b);
                }
                None => {
                    let terms = out.iter_mut().zip(x).zip(branch);
                    terms.for_each(|((out, x), b)| *out = x + b);
                }
            },
        );
    }
}

/// Fills `branch` with the gradient of a branch before its LayerScale, and adds the gradient of the LayerScale.
fn through_scale(
    scale: Option<&Tensor>,
    d: &[f32],
    forward: &[f32],
    branch: &mut Vec<f32>,
    gradients: &mut [f32],
) {
    branch.clear();
    branch.extend_from_slice(d);
    let Some(scale) = scale else { return };
    let width = scale.data.len();
    for row in branch.chunks_exact_mut(width) {
        vectorised(
            #[inline(always)]
            || row.iter_mut().zip(&scale.data).for_each(|(d, s)| *d *= s),
        );
    }
    if let Some(gradient) = scale.gradient(gradients) {
        for (d, forward) in d.chunks_exact(width).zip(forward.chunks_exact(width)) {
            let terms = gradient.iter_mut().zip(d).zip(forward);
            terms.for_each(|((gradient, d), f)| *gradient += d * f);
        }
    }
}
