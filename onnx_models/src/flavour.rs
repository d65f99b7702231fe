//! Variants of a model's graph.

use crate::proto;

/// A variant of a model's graph for an execution provider and a precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// ONNX's own operators in f32: the reference, and the f32 graph for TensorRT.
    Plain,
    /// ONNX Runtime's fused attention, f32: for CPU and CUDA.
    Fused,
    /// As `Plain`, with matrix products in f16, and sums and norms in f32: for TensorRT.
    PlainMixed16,
    /// As `Fused`, in the same precision as `PlainMixed16`, with biases in the operators that follow products:
    /// for CUDA, where a product with a bias is two launches and two passes over its result.
    FusedMixed16,
    /// As `Fused`, with matrix products and attention in 8-bit integers: for CPU.
    Int8,
}

impl Flavour {
    /// Name of the flavour in file names and messages.
    pub fn name(self) -> &'static str {
        match self {
            Flavour::Plain => "plain",
            Flavour::Fused => "fused",
            Flavour::PlainMixed16 => "plain-mixed16",
            Flavour::FusedMixed16 => "fused-mixed16",
            Flavour::Int8 => "int8",
        }
    }

    /// True if the weights are converted to another type than f32.
    pub fn is_converted(self) -> bool {
        !matches!(self, Flavour::Plain | Flavour::Fused)
    }

    /// True if the graph has ONNX's own operators only.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Flavour::Plain | Flavour::PlainMixed16)
    }

    /// True if an operator after a product adds its bias.
    pub(super) fn moves_biases(self) -> bool {
        self == Flavour::FusedMixed16
    }

    /// Element type of matrix products, one of those in [`proto`].
    pub(super) fn products(self) -> i32 {
        match self {
            Flavour::PlainMixed16 | Flavour::FusedMixed16 => proto::FLOAT16,
            Flavour::Plain | Flavour::Fused | Flavour::Int8 => proto::FLOAT,
        }
    }
}
