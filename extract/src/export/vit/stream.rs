//! What flows from block to block: rows, and what is to be added to them.

use super::Builder;
use super::linear::Layer;
use crate::export::checkpoint::TensorSpan;
use crate::export::onnx::{self, Attribute};
use crate::model::ModelError;

/// Rows `[B * N, D]` in f32, to which the result of a branch may be still to be added: where biases are
/// moved, one operator adds it and its bias, and normalises the sum.
pub(super) struct Stream {
    rows: String,
    pending: Option<Branch>,
}

/// The result of attention or of an MLP.
struct Branch {
    /// The product without its bias, in f32.
    rows: String,
    /// In f32, `[D]`.
    bias: Option<String>,
    /// The name of the sum.
    sum: String,
}

impl Stream {
    /// Rows that are whole.
    pub(super) fn of(rows: String) -> Stream {
        Stream {
            rows,
            pending: None,
        }
    }
}

impl Builder<'_> {
    /// `rows + scale * (W input + b)`, of which `W input` is named `target` and the whole `sum`. With
    /// `values`, the bias of attention's values, `W values` belongs to the bias: weights of attention add
    /// up to 1.
    pub(super) fn branched(
        &mut self,
        rows: String,
        layer: Layer,
        [scale, values]: [Option<&TensorSpan>; 2],
        input: &str,
        [target, sum]: [&str; 2],
    ) -> Result<Stream, ModelError> {
        if !self.flavour.moves_biases() {
            let branch = self.linear(&layer, scale, input, target)?;
            let branch = self.in_f32(branch);
            let sum = self.graph.node("Add", &[&rows, &branch], sum, []);
            return Ok(Stream::of(sum));
        }
        let (layer, bias) = layer.apart();
        let product = self.linear(&layer, scale, input, target)?;
        let name = format!("{target}.bias");
        let bias = bias.map(|bias| self.constant(&name, &bias));
        let moved = values.map(|values| {
            let values = self.constant(&format!("{target}.values"), values);
            let weight = format!("{target}.weight");
            let moved = format!("{target}.moved");
            self.graph.node("MatMul", &[&weight, &values], &moved, [])
        });
        let bias = match (bias, moved) {
            (Some(bias), Some(moved)) => {
                let both = format!("{target}.biases");
                Some(self.graph.node("Add", &[&bias, &moved], &both, []))
            }
            (bias, moved) => bias.or(moved),
        };
        let bias = bias.map(|bias| self.scaled(bias, 1, scale, &name));
        let branch = Branch {
            rows: self.in_f32(product),
            bias,
            sum: sum.to_string(),
        };
        Ok(Stream {
            rows,
            pending: Some(branch),
        })
    }

    /// The whole rows, and their LayerNorm `source`, named `target`, both in f32.
    pub(super) fn normed(
        &mut self,
        stream: Stream,
        source: &str,
        target: &str,
    ) -> Result<(String, String), ModelError> {
        let Stream { rows, pending } = stream;
        let Some(branch) = pending else {
            let normed = self.norm(source, &rows, target)?;
            return Ok((rows, normed));
        };
        let [gain, shift] = self.gain_and_shift(source, target)?;
        let mut inputs = vec![&*rows, &branch.rows, &gain, &shift];
        inputs.extend(branch.bias.as_deref());
        let outputs = [target, "", "", &branch.sum];
        let epsilon = [Attribute::float("epsilon", self.vit.epsilon)];
        let op = "SkipLayerNormalization";
        let normed = self.graph.runtime_nodes(op, &inputs, &outputs, epsilon);
        Ok((branch.sum, normed))
    }

    /// The whole rows.
    pub(super) fn summed(&mut self, stream: Stream) -> String {
        let Stream { mut rows, pending } = stream;
        let Some(branch) = pending else {
            return rows;
        };
        if let Some(bias) = &branch.bias {
            let biased = format!("{}.biased", branch.sum);
            rows = self.graph.node("Add", &[&rows, bias], &biased, []);
        }
        self.graph
            .node("Add", &[&rows, &branch.rows], &branch.sum, [])
    }

    /// What is in the type of products, in f32.
    fn in_f32(&mut self, rows: String) -> String {
        match self.flavour.products() {
            onnx::FLOAT => rows,
            _ => self.graph.cast(&rows, onnx::FLOAT, &format!("{rows}.cast")),
        }
    }
}
