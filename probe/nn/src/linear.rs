//! The linear decoder: a 1×1 convolution of one layer's tokens.
//!
//! With weights `W` `[C, D]`, biases `b` `[C]` and an image's tokens `X` `[h · w, D]`, its logits are
//! `Y = W Xᵀ + b`, `[C, h, w]`, and the gradient of the weights is `∂W = ∂Y X`. Several heads on the same
//! tokens are computed as one, whose weights are those of all heads below each other.

use crate::head::{LogitHead, LogitPlanes};
use crate::loss::Loss;
use crate::matrix::{Matrix, multiply};
use crate::parameter::Parameter;
use crate::resize::Plane;
use crate::scratch::Pool;
use crate::shape::{Kind, Shape};
use rayon::prelude::*;

/// Buffers of [`crate::Workspace`].
pub(crate) struct Linear {
    shape: Shape,
    head: LogitHead,
    pool: Pool,
    /// `[heads · C, D]`
    weights: Vec<f32>,
    /// `[B, heads, C, h, w]`
    maps: Vec<f32>,
    /// `[B, heads · C, D]`
    gradients: Vec<f32>,
}

/// Weights drawn from N(0, 0.01) and biases of zero; `normal` gives numbers of N(0, 1).
pub(crate) fn tensors(shape: Shape, normal: &mut dyn FnMut() -> f64) -> Vec<Parameter> {
    let (classes, width) = (shape.classes, shape.width);
    let weight = (0..classes * width)
        .map(|_| (normal() * 0.01) as f32)
        .collect();
    vec![
        Parameter::trained("weight", &[classes, width, 1, 1], weight),
        Parameter::trained("bias", &[classes], vec![0.0; classes]),
    ]
}

impl Linear {
    pub(crate) fn new(shape: Shape) -> Self {
        let (height, width) = shape.grid;
        let planes = LogitPlanes {
            plane: height * width,
            inside: Plane::whole(width),
            height,
            width,
        };
        Self {
            shape,
            head: LogitHead::new(Kind::Linear, shape, planes),
            pool: Pool::default(),
            weights: Vec::new(),
            maps: Vec::new(),
            gradients: Vec::new(),
        }
    }

    /// Fills `maps`.
    pub(crate) fn forward(&mut self, heads: &[&[Parameter]], tokens: &[f32], batch: usize) {
        let Shape { width, classes, .. } = self.shape;
        let (rows, pixels) = (heads.len() * classes, self.head.planes.plane);
        self.weights.clear();
        for head in heads {
            self.weights.extend_from_slice(&head[0].data);
        }
        self.maps.resize(batch * rows * pixels, 0.0);
        let weights = &self.weights;
        self.maps
            .par_chunks_mut(rows * pixels)
            .zip(tokens.par_chunks(pixels * width))
            .for_each(|(maps, tokens)| {
                multiply(
                    maps,
                    pixels,
                    false,
                    Matrix::new(weights, rows, width, width),
                    Matrix::new(tokens, pixels, width, width).transposed(),
                );
                let biases = heads.iter().flat_map(|head| &head[1].data);
                for (map, bias) in maps.chunks_exact_mut(pixels).zip(biases) {
                    for logit in map {
                        *logit += bias;
                    }
                }
            });
    }

    /// Takes one step of every head with its rate; returns their losses. `images` and `counted` are the
    /// divisors of the loss.
    pub(crate) fn step(
        &mut self,
        heads: &mut [&mut [Parameter]],
        tokens: &[f32],
        masks: &[u16],
        loss: Loss,
        rates: &[f32],
        divisors: (usize, usize),
    ) -> Vec<f64> {
        let Shape { width, classes, .. } = self.shape;
        let shared: Vec<&[Parameter]> = heads.iter().map(|head| &**head).collect();
        self.forward(&shared, tokens, divisors.0);
        let losses = self.backward(tokens, masks, loss, divisors);
        let rows = heads.len() * classes;
        let (weights, biases) = self.gradients.split_at(rows * width);
        for (index, head) in heads.iter_mut().enumerate() {
            if losses[index].is_finite() {
                let weights = &weights[index * classes * width..][..classes * width];
                head[0].descend(weights, rates[index]);
                head[1].descend(&biases[index * classes..][..classes], rates[index]);
            }
        }
        losses
    }

    /// Fills the start of `gradients` with the gradients of all weights, then of all biases, from
    /// `maps`; returns the losses of the heads. The gradients of images are added in order.
    fn backward(
        &mut self,
        tokens: &[f32],
        masks: &[u16],
        loss: Loss,
        (images, counted): (usize, usize),
    ) -> Vec<f64> {
        let Shape {
            width,
            classes,
            size,
            ..
        } = self.shape;
        let pixels = self.head.planes.plane;
        let rows = self.maps.len() / (images * pixels);
        let (head, pool) = (&self.head, &self.pool);
        self.gradients.resize(images * rows * (width + 1), 0.0);
        let parts: Vec<Vec<f64>> = self
            .maps
            .par_chunks_mut(rows * pixels)
            .zip(self.gradients.par_chunks_mut(rows * (width + 1)))
            .zip(tokens.par_chunks(pixels * width))
            .zip(masks.par_chunks(size * size))
            .map(|(((maps, gradients), tokens), labels)| {
                let losses = maps
                    .par_chunks_mut(classes * pixels)
                    .map(|map| head.descend(map, labels, loss, (images, counted), pool))
                    .collect();
                let (weights, biases) = gradients.split_at_mut(rows * width);
                multiply(
                    weights,
                    width,
                    false,
                    Matrix::new(maps, rows, pixels, pixels),
                    Matrix::new(tokens, pixels, width, width),
                );
                for (bias, map) in biases.iter_mut().zip(maps.chunks_exact(pixels)) {
                    *bias = map.iter().map(|g| f64::from(*g)).sum::<f64>() as f32;
                }
                losses
            })
            .collect();
        let (total, others) = self.gradients.split_at_mut(rows * (width + 1));
        for other in others.chunks_exact(total.len()) {
            for (total, other) in total.iter_mut().zip(other) {
                *total += other;
            }
        }
        (0..rows / classes)
            .map(|head| parts.iter().map(|part| part[head]).sum())
            .collect()
    }

    pub(crate) fn head(&self) -> (&LogitHead, &Pool) {
        (&self.head, &self.pool)
    }

    /// An image's map after [`Linear::forward`] of one head.
    pub(crate) fn map(&self, image: usize) -> &[f32] {
        let length = self.shape.classes * self.head.planes.plane;
        &self.maps[image * length..][..length]
    }
}
