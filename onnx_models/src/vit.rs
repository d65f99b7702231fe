//! The graph of a vision transformer (Dosovitskiy et al. 2021) over the weights of a checkpoint.
//!
//! One builder serves the whole family. Differences between models are on the card ([`VitCard`]) or
//! found in the checkpoint (biases, LayerScale, a norm before the blocks, the MLP's width).
//! Letters: `B` batch, `P` patches, `D` width, `N` tokens with CLS and registers. Between blocks,
//! tokens are rows `[B * N, D]`.

mod block;
mod linear;
mod stream;

use std::path::Path;

use ndarray::{Array2, Axis, concatenate, s};

use self::stream::Stream;
use crate::checkpoint::{Checkpoint, TensorSpan};
use crate::names::Names;
use crate::proto::{self, AttributeProto};
use crate::{Cls, Error, Flavour, GraphBuilder, ModelCard, Versions, VitCard};

/// Version of ONNX's own operators: 20 has `Gelu`.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;
/// Operator set of ONNX Runtime.
const RUNTIME: &str = "com.microsoft";
/// Operator set of the operators that `extract` implements.
pub const DOMAIN: &str = "slicebank";
/// Version of [`DOMAIN`]. Raise it when an operator's results change: graphs and their hashes in caches
/// change with it.
const DOMAIN_VERSION: i64 = 1;
/// Operator of [`DOMAIN`]: attention in 8-bit integers.
pub const INT8_ATTENTION: &str = "Int8Attention";

/// The ONNX file of `card` for inputs of `size` pixels, over the safetensors file `weights` beside it;
/// `metadata` goes into the file.
///
/// Input `pixels`, f32 `[B, 3, size, size]`, normalised. Outputs for `K` in `1..=card.layers`, 1
/// being the last block: `cls_K` and `mean_K`, `[B, D]`, and `patch_K`, `[B, P, D]`, row by row of
/// the grid; `residual_K`, all tokens `[B, N, D]` before the last LayerNorm, if the card says so.
///
/// # Errors
///
/// [`Error::ImageSize`], [`Error::Io`], and [`Error::Weights`] if the weights are not what the card says.
pub fn vit_graph(
    card: &ModelCard,
    vit: &VitCard,
    weights: &Path,
    size: u32,
    flavour: Flavour,
    metadata: &[(&str, String)],
) -> Result<Vec<u8>, Error> {
    let checkpoint = Checkpoint::open(weights, vit.tensors.names())?;
    let location = weights.file_name().unwrap_or_default();
    let mut builder = VitBuilder {
        card,
        vit,
        names: checkpoint.names,
        checkpoint: &checkpoint,
        grid: card.grid(size)?[0] as usize,
        width: card.width as usize,
        flavour,
        location: location.to_string_lossy().into_owned(),
        graph: GraphBuilder::new(&card.name, "batch"),
    };
    builder
        .graph
        .input("pixels", &[3, size as usize, size as usize]);
    builder.constants();
    let mut stream = Stream::of(builder.embed()?);
    for index in 0..card.depth {
        stream = builder.block(index, stream)?;
        let layer = card.depth - index;
        if layer <= card.layers {
            stream = builder.outputs(layer, stream)?;
        }
    }
    builder.last_norm()?;
    checkpoint.expect_all_used(card.depth, card.parameters)?;
    let mut opsets = vec![("", OPSET), (RUNTIME, 1)];
    if builder.graph.uses(DOMAIN) {
        opsets.push((DOMAIN, DOMAIN_VERSION));
    }
    let versions = Versions {
        ir: IR_VERSION,
        opsets: &opsets,
    };
    Ok(builder.graph.into_bytes(versions, metadata))
}

/// Key of a graph's metadata: the sha256 of its weights.
pub const WEIGHTS_SHA256: &str = "slicebank.weights_sha256";

/// The metadata of a graph for inputs of `size` pixels over weights with this hash.
pub fn vit_metadata(card: &ModelCard, size: u32, weights: String) -> [(&'static str, String); 3] {
    [
        ("slicebank.model", card.name.clone()),
        ("slicebank.image_size", size.to_string()),
        (WEIGHTS_SHA256, weights),
    ]
}

struct VitBuilder<'a> {
    card: &'a ModelCard,
    vit: &'a VitCard,
    names: &'static Names,
    checkpoint: &'a Checkpoint,
    /// Patches along one side.
    grid: usize,
    width: usize,
    flavour: Flavour,
    /// Name of the weights' file.
    location: String,
    graph: GraphBuilder,
}

impl VitBuilder<'_> {
    fn patches(&self) -> usize {
        self.grid * self.grid
    }

    /// Tokens before the patches.
    fn first_patch(&self) -> usize {
        usize::from(self.vit.tensors.has_cls()) + self.vit.registers as usize
    }

    fn tokens(&self) -> usize {
        self.first_patch() + self.patches()
    }

    /// Adds a tensor of the checkpoint as a constant of f32.
    fn constant(&mut self, name: &str, span: &TensorSpan) -> String {
        self.constant_as(name, span, &span.shape)
    }

    /// Adds a tensor of the checkpoint as a constant of f32 with the axes `dims`.
    fn constant_as(&mut self, name: &str, span: &TensorSpan, dims: &[usize]) -> String {
        let bytes = [span.offset, span.length];
        if span.dtype == proto::FLOAT {
            return self
                .graph
                .external(name, span.dtype, dims, &self.location, bytes);
        }
        let stored = format!("{name}.stored");
        self.graph
            .external(&stored, span.dtype, dims, &self.location, bytes);
        self.graph.cast(&stored, proto::FLOAT, name)
    }

    /// Adds the constants that several blocks use.
    fn constants(&mut self) {
        let (n, d) = (self.tokens() as i64, self.width as i64);
        let heads = i64::from(self.card.heads);
        let graph = &mut self.graph;
        graph.integers("first", &[], &[0]);
        graph.integers("one", &[1], &[1]);
        graph.integers("shape.rows", &[2], &[-1, d]);
        graph.integers("shape.tokens", &[3], &[-1, n, d]);
        if self.flavour.is_plain() {
            graph.integers("shape.heads", &[4], &[-1, n, heads, d / heads]);
        }
        let (first, tokens) = (self.first_patch(), self.tokens());
        self.graph.integers("patches.first", &[1], &[first as i64]);
        self.graph.integers("patches.end", &[1], &[tokens as i64]);
        let mut mean = vec![1.0 / self.patches() as f32; tokens];
        mean[..first].fill(0.0);
        self.graph.floats("patches.mean", &[1, tokens], &mean);
    }

    /// Pixels `[B, 3, S, S]` to rows `[B * N, D]`.
    fn embed(&mut self) -> Result<String, Error> {
        let (width, patch) = (self.width, self.card.patch_size as usize);
        let name = self.names.patch;
        let kernel = format!("{name}.weight");
        let kernel = self.checkpoint.find(&kernel, &[width, 3, patch, patch])?;
        let mut inputs = vec!["pixels".to_string(), self.constant("stem.weight", &kernel)];
        let bias = format!("{name}.bias");
        if self.checkpoint.has(&bias) {
            let bias = self.checkpoint.find(&bias, &[width])?;
            inputs.push(self.constant("stem.bias", &bias));
        }
        let patch = [patch as i64; 2];
        let attributes = [
            AttributeProto::ints("kernel_shape", &patch),
            AttributeProto::ints("strides", &patch),
        ];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        self.graph.node("Conv", &inputs, "stem", attributes);
        // 0 keeps the batch dimension, so that no shape is computed at run time.
        let shape = [0, width as i64, self.patches() as i64];
        self.graph.integers("stem.shape", &[3], &shape);
        self.graph
            .node("Reshape", &["stem", "stem.shape"], "stem.flat", []);
        let turn = [AttributeProto::ints("perm", &[0, 2, 1])];
        self.graph
            .node("Transpose", &["stem.flat"], "stem.patches", turn);
        let pads = [0, self.first_patch() as i64, 0, 0, 0, 0];
        self.graph.integers("stem.pads", &[6], &pads);
        self.graph
            .node("Pad", &["stem.patches", "stem.pads"], "stem.padded", []);
        let table = self.table()?;
        let shape = [1, self.tokens(), width];
        let table: Vec<f32> = table.iter().copied().collect();
        self.graph.floats("table", &shape, &table);
        self.graph
            .node("Add", &["stem.padded", "table"], "stem.tokens", []);
        self.graph
            .node("Reshape", &["stem.tokens", "shape.rows"], "embedded", []);
        match self.names.first_norm {
            Some(norm) if self.checkpoint.has(&format!("{norm}.weight")) => {
                self.norm(norm, "embedded", "embedded.norm")
            }
            _ => Ok("embedded".to_string()),
        }
    }

    /// The table `[N, D]` that is added to zeros and the patches: CLS token with its position, register tokens
    /// (without positions), and the positions of the patches.
    fn table(&self) -> Result<Array2<f32>, Error> {
        let Names { cls, positions, .. } = self.names;
        let mut cls = self.rows(cls.as_slice(), usize::from(self.vit.tensors.has_cls()))?;
        let registers = self.rows(self.names.registers, self.vit.registers as usize)?;
        let native = (self.card.native_size / self.card.patch_size) as usize;
        let table = self.matrix(positions)?;
        // timm's models with registers have added the CLS token's position to the token.
        let with_cls = table.nrows() == native * native + cls.nrows();
        let first = if with_cls { cls.nrows() } else { 0 };
        self.expect_rows(positions, &table, first + native * native)?;
        if with_cls {
            cls += &table.slice(s![..first, ..]);
        }
        let shape = (native, native, self.width);
        let patches = table.slice(s![first.., ..]).into_shape_with_order(shape);
        let patches = patches.map_err(|e| self.wrong(e.to_string()))?;
        let patches = self.vit.positions.resized(patches, self.grid);
        let patches = patches.into_shape_with_order((self.patches(), self.width));
        let patches = patches.map_err(|e| self.wrong(e.to_string()))?;
        let parts = [cls.view(), registers.view(), patches.view()];
        concatenate(Axis(0), &parts).map_err(|e| self.wrong(e.to_string()))
    }

    /// The first tensor of `names` that exists, which must have `count` rows; none is needed for 0 rows.
    fn rows(&self, names: &[&str], count: usize) -> Result<Array2<f32>, Error> {
        match names.iter().find(|name| self.checkpoint.has(name)) {
            Some(name) => {
                let rows = self.matrix(name)?;
                self.expect_rows(name, &rows, count)?;
                Ok(rows)
            }
            None if count == 0 => Ok(Array2::zeros((0, self.width))),
            None => Err(self.wrong(format!("there is no tensor `{}`", names.join("` or `")))),
        }
    }

    fn expect_rows(&self, name: &str, rows: &Array2<f32>, expected: usize) -> Result<(), Error> {
        match rows.nrows() {
            found if found == expected => Ok(()),
            found => Err(self.wrong(format!("`{name}` has {found} rows, expected {expected}"))),
        }
    }

    /// Marks the last norm as used: it is a part of the encoder even if tokens do not go through it.
    fn last_norm(&self) -> Result<(), Error> {
        for part in ["weight", "bias"] {
            let name = format!("{}.{part}", self.names.last_norm);
            if self.checkpoint.has(&name) {
                self.checkpoint.find(&name, &[self.width])?;
            }
        }
        Ok(())
    }

    /// Adds the outputs `cls_K`, `mean_K`, `patch_K` and, if the card says so, `residual_K` of the block `layer`, 1 for the last.
    fn outputs(&mut self, layer: u32, stream: Stream) -> Result<Stream, Error> {
        let (sum, given) = if self.vit.final_norm {
            self.normed(stream, self.names.last_norm, &format!("norm_{layer}"))?
        } else {
            let sum = self.summed(stream);
            (sum.clone(), sum)
        };
        let tokens = format!("tokens_{layer}");
        self.graph
            .node("Reshape", &[&given, "shape.tokens"], &tokens, []);
        let (cls, mean) = (format!("cls_{layer}"), format!("mean_{layer}"));
        let row = format!("{mean}.row");
        self.graph
            .node("MatMul", &["patches.mean", &tokens], &row, []);
        let width = [self.width];
        match self.vit.cls {
            Cls::Token => {
                let axis = [AttributeProto::int("axis", 1)];
                self.output("Gather", &[&tokens, "first"], &cls, axis, &width);
            }
            Cls::Mean => self.output("Squeeze", &[&row, "one"], &cls, [], &width),
        }
        self.output("Squeeze", &[&row, "one"], &mean, [], &width);
        let bounds = [&*tokens, "patches.first", "patches.end", "one"];
        let shape = [self.patches(), self.width];
        self.output("Slice", &bounds, &format!("patch_{layer}"), [], &shape);
        if self.card.residual {
            let shape = [self.tokens(), self.width];
            let name = format!("residual_{layer}");
            self.output("Reshape", &[&sum, "shape.tokens"], &name, [], &shape);
        }
        Ok(Stream::of(sum))
    }

    /// Adds a node whose result is an output `[batch, dims…]` in the type of products.
    fn output<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&str],
        name: &str,
        attributes: [AttributeProto; N],
        dims: &[usize],
    ) {
        match self.flavour.products() {
            proto::FLOAT => {
                self.graph.node(op, inputs, name, attributes);
            }
            kind => {
                let wide = format!("{name}.f32");
                self.graph.node(op, inputs, &wide, attributes);
                self.graph.cast(&wide, kind, name);
            }
        }
        self.graph.output(name, self.flavour.products(), dims);
    }
}
