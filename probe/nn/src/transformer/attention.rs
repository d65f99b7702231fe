//! Multi-head self-attention (Vaswani et al. 2017): `softmax(Q Kᵀ / sqrt(d)) V` for each head of each image.

use super::math::{exp, largest, sum_of};
use crate::matrix::{Matrix, multiply, vectorised};

/// Sizes of attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attention {
    pub(super) heads: usize,
    pub(super) width: usize,
    /// Keys of an image.
    pub(super) tokens: usize,
    /// Queries of an image.
    pub(super) queries: usize,
}

/// Rows of a chunk of images, and their gradients.
pub(super) struct Rows<'a> {
    /// `[images · queries, D]`
    pub(super) queries: &'a [f32],
    /// `[images · tokens, 2D]`, keys and values.
    pub(super) keys_values: &'a [f32],
    /// `[images, heads, queries, tokens]`
    pub(super) weights: &'a [f32],
    /// `[images · queries, D]`, the results.
    pub(super) out: &'a [f32],
}

impl Attention {
    fn head(self) -> usize {
        self.width / self.heads
    }

    fn scale(self) -> f32 {
        (self.head() as f64).powf(-0.5) as f32
    }

    /// The heads of `images` images: starts of the head's queries, keys, values and weights.
    fn each(self, images: usize) -> impl Iterator<Item = [usize; 4]> {
        (0..images * self.heads).map(move |index| {
            let (image, first) = (index / self.heads, index % self.heads * self.head());
            let keys = image * self.tokens * 2 * self.width + first;
            [
                image * self.queries * self.width + first,
                keys,
                keys + self.width,
                index * self.queries * self.tokens,
            ]
        })
    }

    fn images(self, queries: &[f32]) -> usize {
        queries.len() / (self.queries * self.width)
    }

    fn narrow(self, rows: &[f32], start: usize) -> Matrix<'_> {
        Matrix::new(&rows[start..], self.queries, self.head(), self.width)
    }

    fn wide(self, rows: &[f32], start: usize) -> Matrix<'_> {
        Matrix::new(&rows[start..], self.tokens, self.head(), 2 * self.width)
    }

    /// Fills `weights` and `out`.
    pub(super) fn forward(
        self,
        queries: &[f32],
        keys_values: &[f32],
        weights: &mut Vec<f32>,
        out: &mut Vec<f32>,
    ) {
        let images = self.images(queries);
        let area = self.queries * self.tokens;
        weights.resize(images * self.heads * area, 0.0);
        out.resize(queries.len(), 0.0);
        for [query, key, value, weight] in self.each(images) {
            let weights = &mut weights[weight..weight + area];
            let keys = self.wide(keys_values, key).transposed();
            multiply(
                weights,
                self.tokens,
                false,
                self.narrow(queries, query),
                keys,
            );
            softmax(weights, self.tokens, self.scale());
            multiply(
                &mut out[query..],
                self.width,
                false,
                Matrix::new(weights, self.queries, self.tokens, self.tokens),
                self.wide(keys_values, value),
            );
        }
    }

    /// Fills `dqueries` and `dkeys_values` from the gradient of the results, `dy`. `scores` is a buffer.
    pub(super) fn backward(
        self,
        rows: &Rows<'_>,
        dy: &[f32],
        dqueries: &mut Vec<f32>,
        dkeys_values: &mut Vec<f32>,
        scores: &mut Vec<f32>,
    ) {
        let (tokens, width) = (self.tokens, self.width);
        let area = self.queries * tokens;
        dqueries.resize(rows.queries.len(), 0.0);
        dkeys_values.resize(rows.keys_values.len(), 0.0);
        scores.resize(area, 0.0);
        for [query, key, value, weight] in self.each(self.images(rows.queries)) {
            let weights = &rows.weights[weight..weight + area];
            let turned = Matrix::new(weights, self.queries, tokens, tokens).transposed();
            let dy_here = self.narrow(dy, query);
            multiply(
                &mut dkeys_values[value..],
                2 * width,
                false,
                turned,
                dy_here,
            );
            let values = self.wide(rows.keys_values, value).transposed();
            multiply(scores, tokens, false, dy_here, values);
            self.through_softmax(weights, &rows.out[query..], &dy[query..], scores);
            let scores = Matrix::new(scores, self.queries, tokens, tokens);
            let keys = self.wide(rows.keys_values, key);
            multiply(&mut dqueries[query..], width, false, scores, keys);
            let queries = self.narrow(rows.queries, query);
            multiply(
                &mut dkeys_values[key..],
                2 * width,
                false,
                scores.transposed(),
                queries,
            );
        }
    }

    /// Replaces gradients of weights by those of scores: `dS = P (dP - Σ dP P) / sqrt(d)`, where the sum is that of
    /// `dO O` (Dao et al. 2022).
    fn through_softmax(self, weights: &[f32], out: &[f32], dy: &[f32], scores: &mut [f32]) {
        let (scale, head) = (self.scale(), self.head());
        let rows = scores
            .chunks_exact_mut(self.tokens)
            .zip(weights.chunks_exact(self.tokens));
        for (row, (scores, weights)) in rows.enumerate() {
            let own = row * self.width..row * self.width + head;
            vectorised(
                #[inline(always)]
                || {
                    let sum = sum_of(&out[own.clone()], &dy[own], |o, d| o * d);
                    for (score, weight) in scores.iter_mut().zip(weights) {
                        *score = scale * weight * (*score - sum);
                    }
                },
            );
        }
    }
}

/// Replaces each row `x` by `softmax(scale · x)`.
fn softmax(rows: &mut [f32], length: usize, scale: f32) {
    for row in rows.chunks_exact_mut(length) {
        vectorised(
            #[inline(always)]
            || {
                let most = largest(row);
                for x in &mut *row {
                    *x = exp(scale * (*x - most));
                }
                let factor = 1.0 / sum_of(row, row, |x, _| x);
                for x in row {
                    *x *= factor;
                }
            },
        );
    }
}
