//! Activations of an MLP, and their derivatives.

use super::math::{normal, sigmoid};
use crate::matrix::vectorised;

/// The activation between the two layers of an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)` (Hendrycks and Gimpel 2016).
    Gelu,
    /// GELU approximated by tanh.
    GeluTanh,
    /// GELU approximated by `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `silu(a) b` of the two halves of the first layer's outputs (Shazeer 2020).
    Swiglu,
}

impl Activation {
    /// Outputs of the first layer for each input of the second.
    pub(super) fn gates(self) -> usize {
        match self {
            Activation::Swiglu => 2,
            Activation::Gelu | Activation::GeluTanh | Activation::QuickGelu => 1,
        }
    }

    /// Rows `[.., hidden]` of the activation of rows `[.., gates · hidden]`.
    pub(super) fn forward(self, wide: &[f32], out: &mut [f32], hidden: usize) {
        match self {
            Activation::Gelu => map(wide, out, gelu),
            Activation::GeluTanh => map(wide, out, gelu_tanh),
            Activation::QuickGelu => map(wide, out, quick_gelu),
            Activation::Swiglu => {
                let rows = wide
                    .chunks_exact(2 * hidden)
                    .zip(out.chunks_exact_mut(hidden));
                for (wide, out) in rows {
                    let (gate, value) = wide.split_at(hidden);
                    vectorised(
                        #[inline(always)]
                        || {
                            for ((out, gate), value) in out.iter_mut().zip(gate).zip(value) {
                                *out = gate * sigmoid(*gate) * value;
                            }
                        },
                    );
                }
            }
        }
    }

    /// Replaces `wide` by the gradient of the rows `wide`, from that of the activation, `gradient`.
    pub(super) fn backward(self, wide: &mut [f32], gradient: &[f32], hidden: usize) {
        match self {
            Activation::Gelu => chain(wide, gradient, gelu),
            Activation::GeluTanh => chain(wide, gradient, gelu_tanh),
            Activation::QuickGelu => chain(wide, gradient, quick_gelu),
            Activation::Swiglu => {
                let rows = wide.chunks_exact_mut(2 * hidden);
                for (wide, gradient) in rows.zip(gradient.chunks_exact(hidden)) {
                    let (gates, values) = wide.split_at_mut(hidden);
                    vectorised(
                        #[inline(always)]
                        || {
                            for ((gate, value), g) in gates.iter_mut().zip(values).zip(gradient) {
                                let open = sigmoid(*gate);
                                let silu = *gate * open;
                                *gate = g * *value * (open + silu * (1.0 - open));
                                *value = g * silu;
                            }
                        },
                    );
                }
            }
        }
    }
}

/// `out = f(wide)`, `f` giving the value first.
#[inline(always)]
fn map(wide: &[f32], out: &mut [f32], f: impl Fn(f32) -> (f32, f32)) {
    vectorised(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(wide) {
                *out = f(*x).0;
            }
        },
    );
}

/// `wide = gradient · f'(wide)`, `f` giving the derivative second.
#[inline(always)]
fn chain(wide: &mut [f32], gradient: &[f32], f: impl Fn(f32) -> (f32, f32)) {
    vectorised(
        #[inline(always)]
        || {
            for (x, g) in wide.iter_mut().zip(gradient) {
                *x = g * f(*x).1;
            }
        },
    );
}

#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    let (below, density) = normal(x);
    (x * below, below + x * density)
}

/// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`, with `(1 + tanh(u)) / 2 = sigmoid(2u)`.
#[inline(always)]
fn gelu_tanh(x: f32) -> (f32, f32) {
    /// `2 sqrt(2 / pi)`
    const FACTOR: f32 = 1.595_769;
    let s = sigmoid(FACTOR * (x + 0.044_715 * x * x * x));
    let inner = FACTOR * (1.0 + 3.0 * 0.044_715 * x * x);
    (x * s, s + x * s * (1.0 - s) * inner)
}

#[inline(always)]
fn quick_gelu(x: f32) -> (f32, f32) {
    let s = sigmoid(1.702 * x);
    (x * s, s + 1.702 * x * s * (1.0 - s))
}
