//! A block: attention and MLP.

use super::Builder;
use super::linear::Layer;
use crate::export::flavour::Flavour;
use crate::export::names::Attention;
use crate::export::onnx::{self, Attribute};
use crate::model::Activation;
use crate::model::ModelError;

impl Builder<'_> {
    /// One pre-norm block, rows to rows.
    pub(super) fn block(&mut self, index: u32, rows: &str) -> Result<String, ModelError> {
        let (source, target) = (
            format!("{}.{index}", self.names.block),
            format!("block{index}"),
        );
        let normed = self.branch(&source, &target, 0, rows)?;
        let attended = self.attention(&source, &target, &normed)?;
        let projection = self.layer(
            &format!("{source}.{}", self.names.projection),
            self.width,
            self.width,
        )?;
        let scale = self.scale(&source, 0)?;
        let attended = self.linear(
            &projection,
            scale.as_ref(),
            &attended,
            &format!("{target}.proj"),
        )?;
        let rows = self.sum(rows, &attended, &format!("{target}.attended"));
        let normed = self.branch(&source, &target, 1, &rows)?;
        let mlp = self.mlp(&source, &target, &normed)?;
        Ok(self.sum(&rows, &mlp, &format!("{target}.out")))
    }

    /// The norm before a block's attention (0) or MLP (1), in the type of products.
    fn branch(
        &mut self,
        source: &str,
        target: &str,
        which: usize,
        rows: &str,
    ) -> Result<String, ModelError> {
        let name = self.names.norms[which];
        let normed = self.norm(
            &format!("{source}.{name}"),
            rows,
            &format!("{target}.norm{which}"),
        )?;
        Ok(self.product_type(normed))
    }

    /// `rows + branch`, in f32.
    fn sum(&mut self, rows: &str, branch: &str, target: &str) -> String {
        let branch = match self.flavour.products() {
            onnx::FLOAT => branch.to_string(),
            _ => self
                .graph
                .cast(branch, onnx::FLOAT, &format!("{branch}.cast")),
        };
        self.graph.node("Add", &[rows, &branch], target, [])
    }

    /// Multi-head self-attention without its output projection.
    fn attention(&mut self, source: &str, target: &str, rows: &str) -> Result<String, ModelError> {
        let layers = self.queries_keys_values(source)?;
        let mut heads = Vec::new();
        for (layer, name) in layers.into_iter().zip(["query", "key", "value"]) {
            heads.push(self.linear(&layer, None, rows, &format!("{target}.{name}"))?);
        }
        let scale = (self.width as f64 / f64::from(self.card.heads)).powf(-0.5) as f32;
        let attended = match self.flavour.is_plain() {
            true => self.plain_attention(target, &heads, scale),
            false => self.fused_attention(target, &heads, scale),
        };
        let target = format!("{target}.attention.rows");
        Ok(self
            .graph
            .node("Reshape", &[&attended, "shape.rows"], &target, []))
    }

    fn queries_keys_values(&self, source: &str) -> Result<Vec<Layer>, ModelError> {
        let width = self.width;
        match &self.names.attention {
            Attention::Separate(names) => names
                .iter()
                .map(|name| self.layer(&format!("{source}.{name}"), width, width))
                .collect(),
            Attention::Packed(name) => {
                let packed = self.layer(&format!("{source}.{name}"), 3 * width, width)?;
                Ok((0..3).map(|index| packed.part(index, 3)).collect())
            }
        }
    }

    /// By one operator, ONNX Runtime's or our own, on tokens `[B, N, D]`.
    fn fused_attention(&mut self, target: &str, heads: &[String], scale: f32) -> String {
        let tokens = heads.iter().map(|rows| {
            let target = format!("{rows}.tokens");
            self.graph
                .node("Reshape", &[rows, "shape.tokens"], &target, [])
        });
        let tokens: Vec<String> = tokens.collect();
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let attributes = [
            Attribute::int("num_heads", self.card.heads.into()),
            Attribute::float("scale", scale),
        ];
        let target = format!("{target}.attention");
        match self.flavour {
            Flavour::Int8 => self.graph.own_attention(&tokens, &target, attributes),
            _ => self
                .graph
                .runtime_node("MultiHeadAttention", &tokens, &target, attributes),
        }
    }

    /// `softmax(Q K^T * scale) V` on heads `[B, heads, N, D / heads]`.
    fn plain_attention(&mut self, target: &str, heads: &[String], scale: f32) -> String {
        let turns = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]];
        let turned = heads.iter().zip(turns).map(|(rows, turn)| {
            let split = format!("{rows}.split");
            self.graph
                .node("Reshape", &[rows, "shape.heads"], &split, []);
            let turn = [Attribute::ints("perm", &turn)];
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
            [Attribute::int("axis", -1)],
        );
        let product = format!("{target}.weighted");
        graph.node("MatMul", &[&weights, &turned[2]], &product, []);
        let turn = [Attribute::ints("perm", &[0, 2, 1, 3])];
        graph.node(
            "Transpose",
            &[&product],
            &format!("{target}.attention"),
            turn,
        )
    }

    fn mlp(&mut self, source: &str, target: &str, rows: &str) -> Result<String, ModelError> {
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
        let wide = self.linear(&wide, None, rows, &format!("{target}.fc1"))?;
        let active = self.activation(&wide, &format!("{target}.active"));
        let scale = self.scale(source, 1)?;
        self.linear(&narrow, scale.as_ref(), &active, &format!("{target}.fc2"))
    }

    fn activation(&mut self, input: &str, target: &str) -> String {
        match self.vit.activation {
            Activation::Gelu => {
                let kind = [Attribute::text("approximate", "none")];
                self.graph.node("Gelu", &[input], target, kind)
            }
            Activation::GeluTanh => {
                let kind = [Attribute::text("approximate", "tanh")];
                self.graph.node("Gelu", &[input], target, kind)
            }
            Activation::QuickGelu => self.sigmoid_unit(input, 1.702, target),
            Activation::Swiglu => {
                let (gate, value) = (format!("{target}.gate"), format!("{target}.value"));
                self.graph.split(input, [&gate, &value]);
                let gate = self.sigmoid_unit(&gate, 1.0, &format!("{target}.silu"));
                self.graph.node("Mul", &[&gate, &value], target, [])
            }
        }
    }

    /// `x * sigmoid(alpha * x)`.
    fn sigmoid_unit(&mut self, input: &str, alpha: f32, target: &str) -> String {
        if !self.flavour.is_plain() {
            let alpha = [Attribute::float("alpha", alpha)];
            return self
                .graph
                .runtime_node("QuickGelu", &[input], target, alpha);
        }
        let factor = self.number(&format!("{target}.alpha"), alpha);
        let (scaled, sigmoid) = (format!("{target}.scaled"), format!("{target}.sigmoid"));
        self.graph.node("Mul", &[input, &factor], &scaled, []);
        self.graph.node("Sigmoid", &[&scaled], &sigmoid, []);
        self.graph.node("Mul", &[input, &sigmoid], target, [])
    }
}
