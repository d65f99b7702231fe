//! Steps of gradient descent, in PyTorch's form.

use super::tensor::Tensor;
use crate::matrix::vectorised;
use rayon::prelude::*;

/// Numbers of a task.
const TASK: usize = 1 << 14;

/// A rule by which gradients change parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimiser {
    /// Gradient descent with momentum.
    Sgd {
        /// The momentum.
        momentum: f32,
    },
    /// AdamW (Loshchilov and Hutter 2019) with `β₁` 0.9, `β₂` 0.999 and `ε` 1e-8.
    AdamW {
        /// The weight decay.
        decay: f32,
    },
}

impl Optimiser {
    /// Momenta of each trained number.
    pub fn momenta(self) -> usize {
        match self {
            Optimiser::Sgd { .. } => 1,
            Optimiser::AdamW { .. } => 2,
        }
    }
}

/// Learning rates of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of the blocks and the last LayerNorm.
    pub encoder: f32,
    /// Of the head.
    pub head: f32,
}

/// Momenta of all trained tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Steps that were taken.
    pub(super) steps: u64,
    /// Of gradients, and of their squares; the latter are empty for gradient descent.
    pub(super) momenta: [Vec<f32>; 2],
}

/// What a step of AdamW multiplies.
#[derive(Clone, Copy)]
struct Adam {
    keep: f32,
    rate: f32,
    root: f32,
}

impl State {
    pub(super) fn new(optimiser: Optimiser, trained: usize) -> State {
        let squares = match optimiser {
            Optimiser::Sgd { .. } => 0,
            Optimiser::AdamW { .. } => trained,
        };
        State {
            steps: 0,
            momenta: [vec![0.0; trained], vec![0.0; squares]],
        }
    }

    /// Changes a tensor by its gradient, after `steps` has been raised for the step.
    pub(super) fn change(
        &mut self,
        optimiser: Optimiser,
        tensor: &mut Tensor,
        rate: f32,
        gradients: &[f32],
    ) {
        let Some(place) = tensor.place else { return };
        let own = place..place + tensor.data.len();
        let gradient = gradients[own.clone()].par_chunks(TASK);
        let [first, second] = &mut self.momenta;
        let data = tensor.data.par_chunks_mut(TASK);
        let terms = data
            .zip(first[own.clone()].par_chunks_mut(TASK))
            .zip(gradient);
        match optimiser {
            Optimiser::Sgd { momentum } => terms.for_each(|((data, momenta), gradient)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for ((x, m), g) in data.iter_mut().zip(momenta).zip(gradient) {
                            *m = *m * momentum + g;
                            *x -= rate * *m;
                        }
                    },
                );
            }),
            Optimiser::AdamW { decay } => {
                let steps = self.steps.min(1 << 30) as i32;
                let adam = Adam {
                    keep: 1.0 - rate * decay,
                    rate: (f64::from(rate) / (1.0 - 0.9f64.powi(steps))) as f32,
                    root: (1.0 - 0.999f64.powi(steps)).sqrt().recip() as f32,
                };
                let terms = terms.zip(second[own].par_chunks_mut(TASK));
                terms.for_each(|(((data, first), gradient), second)| {
                    adam.change(data, first, second, gradient);
                });
            }
        }
    }
}

impl Adam {
    fn change(self, data: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
        vectorised(
            #[inline(always)]
            || {
                let terms = data.iter_mut().zip(first).zip(second).zip(gradient);
                for (((x, m), v), g) in terms {
                    *m = 0.9 * *m + 0.1 * g;
                    *v = 0.999 * *v + 0.001 * (g * g);
                    *x = *x * self.keep - self.rate * *m / (v.sqrt() * self.root + 1e-8);
                }
            },
        );
    }
}
