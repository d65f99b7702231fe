//! A block: attention and MLP.

use super::linear::LinearLayer;
use super::stream::Stream;
use super::{DOMAIN, INT8_ATTENTION, RUNTIME, VitBuilder};
use crate::checkpoint::TensorSpan;
use crate::names::AttentionNames;
use crate::proto::AttributeProto;
use crate::{Activation, Error, Flavour};

impl VitBuilder<'_> {
    /// One pre-norm block.
    pub(super) fn block(&mut self, index: u32, stream: Stream) -> Result<Stream, Error> {
        let (source, target) = (
            format!("{}.{index}", self.names.block),
            format!("block{index}"),
        );
        let (rows, normed) = self.branch(&source, &target, 0, stream)?;
        let (attended, values) = self.attention(&source, &target, &normed)?;
        let projection = self.layer(
            &format!("{source}.{}", self.names.projection),
            self.width,
            self.width,
        )?;
        let scale = self.scale(&source, 0)?;
        let stream = self.branched(
            rows,
            projection,
            [scale.as_ref(), values.as_ref()],
            &attended,
            [&format!("{target}.proj"), &format!("{target}.attended")],
        )?;
        let (rows, normed) = self.branch(&source, &target, 1, stream)?;
        self.mlp(&source, &target, rows, &normed)
    }

    /// The rows before a block's attention (0) or MLP (1), and their norm in the type of products.
    fn branch(
        &mut self,
        source: &str,
        target: &str,
        which: usize,
        stream: Stream,
    ) -> Result<(String, String), Error> {
        let name = format!("{source}.{}", self.names.norms[which]);
        let (rows, normed) = self.normed(stream, &name, &format!("{target}.norm{which}"))?;
        Ok((rows, self.product_type(normed)))
    }

    /// Multi-head self-attention without its output projection, and the bias of the values if it is still to
    /// be added. The bias of the keys is left out: it adds the same number to all scores of a query, which
    /// softmax cancels.
    fn attention(
        &mut self,
        source: &str,
        target: &str,
        rows: &str,
    ) -> Result<(String, Option<TensorSpan>), Error> {
        let mut layers = self.queries_keys_values(source)?;
        let mut values = None;
        if self.flavour.moves_biases() {
            layers[1].bias = None;
            values = layers[2].bias.take();
        }
        let mut heads = Vec::new();
        for (layer, name) in layers.iter().zip(["query", "key", "value"]) {
            heads.push(self.linear(layer, None, rows, &format!("{target}.{name}"))?);
        }
        let scale = (self.width as f64 / f64::from(self.card.heads)).powf(-0.5) as f32;
        let attended = if self.flavour.is_plain() {
            self.plain_attention(target, &heads, scale)
        } else {
            self.fused_attention(target, &heads, scale)
        };
        let target = format!("{target}.attention.rows");
        let rows = self
            .graph
            .node("Reshape", &[&attended, "shape.rows"], &target, []);
        Ok((rows, values))
    }

    fn queries_keys_values(&self, source: &str) -> Result<[LinearLayer; 3], Error> {
        let width = self.width;
        match &self.names.attention {
            AttentionNames::Separate([query, key, value]) => {
                let layer = |name| self.layer(&format!("{source}.{name}"), width, width);
                Ok([layer(query)?, layer(key)?, layer(value)?])
            }
            AttentionNames::Packed(name) => {
                let packed = self.layer(&format!("{source}.{name}"), 3 * width, width)?;
                Ok([0, 1, 2].map(|index| packed.part(index, 3)))
            }
        }
    }

    /// Attention by one operator of ONNX Runtime or of `extract`, on tokens `[B, N, D]`.
    fn fused_attention(&mut self, target: &str, heads: &[String], scale: f32) -> String {
        let tokens = heads.iter().map(|rows| {
            let target = format!("{rows}.tokens");
            self.graph
                .node("Reshape", &[rows, "shape.tokens"], &target, [])
        });
        let tokens: Vec<String> = tokens.collect();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let attributes = [
            AttributeProto::int("num_heads", self.card.heads.into()),
            AttributeProto::float("scale", scale),
        ];
        let target = format!("{target}.attention");
        let (domain, op) = match self.flavour {
            Flavour::Int8 => (DOMAIN, INT8_ATTENTION),
            _ => (RUNTIME, "MultiHeadAttention"),
        };
        self.graph
            .node_of(domain, op, &tokens, &[&target], attributes)
    }

    /// `softmax(Q K^T * scale) V` on heads `[B, heads, N, D / heads]`.
    fn plain_attention(&mut self, target: &str, heads: &[String], scale: f32) -> String {
        let turns = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]];
        let turned = heads.iter().zip(turns).map(|(rows, turn)| {
            let split = format!("{rows}.split");
            self.graph
                .node("Reshape", &[rows, "shape.heads"], &split, []);
            let turn = [AttributeProto::ints("perm", &turn)];
            self.graph
                .node("Transpose", &[&split], &format!("{rows}.heads"), turn)
        });
        let turned: Vec<String> = turned.collect();
        let factor = self.number(&format!("{target}.scale"), scale);
        let graph = &mut self.graph;
        let queries = format!("{target}.scaled");
        graph.node("Mul", &[&turned[0], &factor], &queries, []);
        let scores = format!("{target}.scores");
        graph.node("MatMul", &[&queries, &turned[1]], &scores, []);
        let weights = format!("{target}.weights");
        graph.node(
            "Softmax",
            &[&scores],
            &weights,
            [AttributeProto::int("axis", -1)],
        );
        let product = format!("{target}.weighted");
        graph.node("MatMul", &[&weights, &turned[2]], &product, []);
        let turn = [AttributeProto::ints("perm", &[0, 2, 1, 3])];
        graph.node(
            "Transpose",
            &[&product],
            &format!("{target}.attention"),
            turn,
        )
    }

    fn mlp(
        &mut self,
        source: &str,
        target: &str,
        rows: String,
        normed: &str,
    ) -> Result<Stream, Error> {
        let here = |name: &str| self.checkpoint.has(&format!("{source}.{name}.weight"));
        let pairs = self.names.mlp;
        let [first, second] = *pairs.iter().find(|pair| here(pair[0])).unwrap_or(&pairs[0]);
        let (first, second) = (format!("{source}.{first}"), format!("{source}.{second}"));
        let shape = self.checkpoint.shape(&format!("{second}.weight"));
        let hidden = shape.and_then(|shape| shape.get(1)).copied().unwrap_or(0);
        let gates = match self.vit.activation {
            Activation::Swiglu => 2,
            Activation::Gelu | Activation::GeluTanh | Activation::QuickGelu => 1,
        };
        let wide = self.layer(&first, gates * hidden, self.width)?;
        let narrow = self.layer(&second, self.width, hidden)?;
        let active = self.active(wide, normed, target)?;
        let scale = self.scale(source, 1)?;
        self.branched(
            rows,
            narrow,
            [scale.as_ref(), None],
            &active,
            [&format!("{target}.fc2"), &format!("{target}.out")],
        )
    }

    /// The first layer of an MLP and its activation.
    fn active(&mut self, wide: LinearLayer, normed: &str, target: &str) -> Result<String, Error> {
        let (product, active) = (format!("{target}.fc1"), format!("{target}.active"));
        let with_bias = match self.vit.activation {
            Activation::Gelu => "BiasGelu",
            Activation::GeluTanh => "FastGelu",
            Activation::QuickGelu | Activation::Swiglu => "",
        };
        if !self.flavour.moves_biases() || with_bias.is_empty() || wide.bias.is_none() {
            let wide = self.linear(&wide, None, normed, &product)?;
            return Ok(self.activation(&wide, &active));
        }
        let (wide, bias) = wide.apart();
        let wide = self.linear(&wide, None, normed, &product)?;
        let bias = bias.map(|bias| self.constant(&format!("{product}.bias"), &bias));
        let bias = bias.map(|bias| self.product_type(bias)).unwrap_or_default();
        Ok(self
            .graph
            .node_of(RUNTIME, with_bias, &[&wide, &bias], &[&active], []))
    }

    fn activation(&mut self, input: &str, target: &str) -> String {
        match self.vit.activation {
            Activation::Gelu => {
                let kind = [AttributeProto::text("approximate", "none")];
                self.graph.node("Gelu", &[input], target, kind)
            }
            Activation::GeluTanh => {
                let kind = [AttributeProto::text("approximate", "tanh")];
                self.graph.node("Gelu", &[input], target, kind)
            }
            Activation::QuickGelu => self.sigmoid_unit(input, 1.702, target),
            Activation::Swiglu => {
                let (gate, value) = (format!("{target}.gate"), format!("{target}.value"));
                let halves = [
                    AttributeProto::int("axis", -1),
                    AttributeProto::int("num_outputs", 2),
                ];
                self.graph
                    .node_of("", "Split", &[input], &[&gate, &value], halves);
                let gate = self.sigmoid_unit(&gate, 1.0, &format!("{target}.silu"));
                self.graph.node("Mul", &[&gate, &value], target, [])
            }
        }
    }

    /// `x * sigmoid(alpha * x)`.
    fn sigmoid_unit(&mut self, input: &str, alpha: f32, target: &str) -> String {
        if !self.flavour.is_plain() {
            let alpha = [AttributeProto::float("alpha", alpha)];
            return self
                .graph
                .node_of(RUNTIME, "QuickGelu", &[input], &[target], alpha);
        }
        let factor = self.number(&format!("{target}.alpha"), alpha);
        let (scaled, sigmoid) = (format!("{target}.scaled"), format!("{target}.sigmoid"));
        self.graph.node("Mul", &[input, &factor], &scaled, []);
        self.graph.node("Sigmoid", &[&scaled], &sigmoid, []);
        self.graph.node("Mul", &[input, &sigmoid], target, [])
    }
}
