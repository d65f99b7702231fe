//! The forms in which the graph of one model is written.

use super::onnx;

/// A form of a model's graph, for a way of running it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// ONNX's own operators in f32: the reference, and what TensorRT takes for f32.
    Plain,
    /// ONNX Runtime's fused attention, f32: for CPU and CUDA.
    Fused,
    /// As `Plain`, with products in f16 and sums, norms and outputs' origin in f32: for TensorRT.
    PlainMixed16,
    /// As `Fused`, likewise, with biases in the operators that follow products: for CUDA, where a product
    /// with a bias is two launches and passes over its result.
    FusedMixed16,
    /// As `Fused`, with matrices and attention in 8-bit integers: for CPU.
    Int8,
}

impl Flavour {
    /// What the files of this flavour have in their name.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Plain => "plain",
            Flavour::Fused => "fused",
            Flavour::PlainMixed16 => "plain-mixed16",
            Flavour::FusedMixed16 => "fused-mixed16",
            Flavour::Int8 => "int8",
        }
    }

    /// Whether its numbers are not those of the weights.
    pub fn is_converted(self) -> bool {
        !matches!(self, Flavour::Plain | Flavour::Fused)
    }

    pub(super) fn is_plain(self) -> bool {
        matches!(self, Flavour::Plain | Flavour::PlainMixed16)
    }

    /// Whether products have no biases of their own where an operator after them adds it.
    pub(super) fn moves_biases(self) -> bool {
        self == Flavour::FusedMixed16
    }

    /// Element type of products, as ONNX numbers them.
    pub(super) fn products(self) -> i32 {
        match self {
            Flavour::PlainMixed16 | Flavour::FusedMixed16 => onnx::FLOAT16,
            Flavour::Plain | Flavour::Fused | Flavour::Int8 => onnx::FLOAT,
        }
    }
}
