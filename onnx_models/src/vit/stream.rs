//! The residual stream from block to block: rows, and a branch that is still to be added.

use super::linear::LinearLayer;
use super::{RUNTIME, VitBuilder};
use crate::Error;
use crate::checkpoint::TensorSpan;
use crate::proto::{self, AttributeProto};

/// Rows `[B * N, D]` in f32, to which the result of a branch may still have to be added: if biases are moved
/// ([`Flavour::moves_biases`](crate::Flavour)), one operator adds it and its bias, and normalises the sum.
pub(super) struct Stream {
    rows: String,
    pending: Option<Branch>,
}

/// The result of attention or of an MLP.
struct Branch {
    /// The product without its bias, in f32.
    rows: String,
    /// The bias `[D]`, in f32.
    bias: Option<String>,
    /// Name of the sum.
    sum: String,
}

impl Stream {
    /// Rows without a pending branch.
    pub(super) fn of(rows: String) -> Stream {
        Stream {
            rows,
            pending: None,
        }
    }
}

impl VitBuilder<'_> {
    /// `rows + scale * (W input + b)`; `target` names `W input`, and `sum` the sum. If `values`, the bias of
    /// attention's values, is given, `W values` is added to the bias: since the weights of attention add up to
    /// 1, a bias of the values passes through attention unchanged.
    pub(super) fn branched(
        &mut self,
        rows: String,
        layer: LinearLayer,
        [scale, values]: [Option<&TensorSpan>; 2],
        input: &str,
        [target, sum]: [&str; 2],
    ) -> Result<Stream, Error> {
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

    /// The sum of rows and branch, and its LayerNorm `source`, named `target`, both in f32.
    pub(super) fn normed(
        &mut self,
        stream: Stream,
        source: &str,
        target: &str,
    ) -> Result<(String, String), Error> {
        let Stream { rows, pending } = stream;
        let Some(branch) = pending else {
            let normed = self.norm(source, &rows, target)?;
            return Ok((rows, normed));
        };
        let [gain, shift] = self.gain_and_shift(source, target)?;
        let mut inputs = vec![&*rows, &branch.rows, &gain, &shift];
        inputs.extend(branch.bias.as_deref());
        let outputs = [target, "", "", &branch.sum];
        let epsilon = [AttributeProto::float("epsilon", self.vit.epsilon)];
        let op = "SkipLayerNormalization";
        let normed = self.graph.node_of(RUNTIME, op, &inputs, &outputs, epsilon);
        Ok((branch.sum, normed))
    }

    /// The sum of rows and branch.
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

    /// Rows in the type of products, converted to f32.
    fn in_f32(&mut self, rows: String) -> String {
        match self.flavour.products() {
            proto::FLOAT => rows,
            _ => self
                .graph
                .cast(&rows, proto::FLOAT, &format!("{rows}.cast")),
        }
    }
}
