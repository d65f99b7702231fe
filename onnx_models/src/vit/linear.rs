//! Linear layers, norms and LayerScale, with constants from the checkpoint.

use ndarray::{Array1, Array2, ArrayD, Ix1, Ix2};

use super::{RUNTIME, VitBuilder};
use crate::checkpoint::TensorSpan;
use crate::proto::{self, AttributeProto};
use crate::{Error, Flavour};

/// Largest magnitude of a matrix' 8-bit integers. AVX2's `vpmaddubsw` adds two products of 8-bit integers in
/// 16 bits: `2 * 255 * 63 < 2^15` cannot overflow, `2 * 255 * 127` can.
const MOST: f32 = 63.0;

/// The constants of a linear layer.
pub(super) struct LinearLayer {
    /// `[outputs, inputs]`.
    weight: TensorSpan,
    /// `[outputs]`.
    pub(super) bias: Option<TensorSpan>,
}

impl LinearLayer {
    /// The layer without its bias, and the bias.
    pub(super) fn apart(self) -> (LinearLayer, Option<TensorSpan>) {
        let LinearLayer { weight, bias } = self;
        (LinearLayer { weight, bias: None }, bias)
    }

    /// Part `index` of `count` equal parts of the outputs.
    pub(super) fn part(&self, index: usize, count: usize) -> LinearLayer {
        LinearLayer {
            weight: self.weight.part(index, count),
            bias: self.bias.as_ref().map(|bias| bias.part(index, count)),
        }
    }
}

impl VitBuilder<'_> {
    pub(super) fn wrong(&self, what: String) -> Error {
        self.checkpoint.wrong(what)
    }

    /// The tensor `name` as `[rows, D]`; axes may precede these two.
    pub(super) fn matrix(&self, name: &str) -> Result<Array2<f32>, Error> {
        let shape = self.checkpoint.shape(name).unwrap_or(&[]).to_vec();
        let values = self.checkpoint.read(&self.checkpoint.find(name, &shape)?)?;
        let rows = values.len() / self.width.max(1);
        let wrong = || {
            self.wrong(format!(
                "tensor `{name}` is {shape:?}, expected [rows, {}]",
                self.width
            ))
        };
        match shape.last() {
            Some(&last) if last == self.width => values
                .into_shape_with_order((rows, self.width))
                .map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// The layer `name` from `inputs` to `outputs`.
    pub(super) fn layer(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<LinearLayer, Error> {
        let weight = self
            .checkpoint
            .find(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = format!("{name}.bias");
        let bias = if self.checkpoint.has(&bias) {
            Some(self.checkpoint.find(&bias, &[outputs])?)
        } else {
            None
        };
        Ok(LinearLayer { weight, bias })
    }

    /// The LayerScale of a block's attention (0) or MLP (1), if it has one.
    pub(super) fn scale(&self, source: &str, which: usize) -> Result<Option<TensorSpan>, Error> {
        let Some(names) = self.names.scales else {
            return Ok(None);
        };
        let name = format!("{source}.{}", names[which]);
        if self.checkpoint.has(&name) {
            self.checkpoint.find(&name, &[self.width]).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The gain and the shift of the LayerNorm `source`, as constants named after `target`.
    pub(super) fn gain_and_shift(
        &mut self,
        source: &str,
        target: &str,
    ) -> Result<[String; 2], Error> {
        let mut constant = |part: &str| -> Result<String, Error> {
            let span = self
                .checkpoint
                .find(&format!("{source}.{part}"), &[self.width])?;
            Ok(self.constant(&format!("{target}.{part}"), &span))
        };
        Ok([constant("weight")?, constant("bias")?])
    }

    /// LayerNorm over the last axis, in f32.
    pub(super) fn norm(
        &mut self,
        source: &str,
        input: &str,
        target: &str,
    ) -> Result<String, Error> {
        let [gain, shift] = self.gain_and_shift(source, target)?;
        let epsilon = [
            AttributeProto::int("axis", -1),
            AttributeProto::float("epsilon", self.vit.epsilon),
        ];
        Ok(self.graph.node(
            "LayerNormalization",
            &[input, &gain, &shift],
            target,
            epsilon,
        ))
    }

    /// `scale * (W x + b)`. The constants are scaled by nodes without inputs, which are computed once,
    /// when the graph is loaded.
    pub(super) fn linear(
        &mut self,
        layer: &LinearLayer,
        scale: Option<&TensorSpan>,
        input: &str,
        target: &str,
    ) -> Result<String, Error> {
        if self.flavour == Flavour::Int8 {
            return self.quantised(layer, scale, input, target);
        }
        let mut inputs = vec![input.to_string()];
        let constants = std::iter::once(("weight", &layer.weight));
        for (part, span) in constants.chain(layer.bias.iter().map(|bias| ("bias", bias))) {
            let name = format!("{target}.{part}");
            let constant = self.constant(&name, span);
            let constant = self.scaled(constant, span.shape.len(), scale, &name);
            inputs.push(self.product_type(constant));
        }
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        Ok(self
            .graph
            .node("Gemm", &inputs, target, [AttributeProto::int("transB", 1)]))
    }

    /// A constant `[outputs, …]` times `scale`.
    pub(super) fn scaled(
        &mut self,
        constant: String,
        axes: usize,
        scale: Option<&TensorSpan>,
        name: &str,
    ) -> String {
        let Some(scale) = scale else {
            return constant;
        };
        let mut shape = vec![1; axes];
        shape[0] = self.width;
        let factor = self.constant_as(&format!("{name}.scale"), scale, &shape);
        self.graph
            .node("Mul", &[&constant, &factor], &format!("{name}.scaled"), [])
    }

    /// `input` in the type of products.
    pub(super) fn product_type(&mut self, input: String) -> String {
        match self.flavour.products() {
            proto::FLOAT => input,
            kind => self.graph.cast(&input, kind, &format!("{input}.cast")),
        }
    }

    /// A number in the type of products.
    pub(super) fn number(&mut self, name: &str, value: f32) -> String {
        let number = self.graph.floats(name, &[], &[value]);
        self.product_type(number)
    }

    /// The layer with a matrix of 8-bit integers, a scale per output, and an input that is quantised
    /// when it is known.
    fn quantised(
        &mut self,
        layer: &LinearLayer,
        scale: Option<&TensorSpan>,
        input: &str,
        target: &str,
    ) -> Result<String, Error> {
        let [outputs, inputs] = [layer.weight.shape[0], layer.weight.shape[1]];
        let scale: Array1<f32> = match scale {
            Some(scale) => self.values::<Ix1>(scale)?,
            None => Array1::ones(outputs),
        };
        let weight = self.values::<Ix2>(&layer.weight)?;
        if weight.iter().any(|w| !w.is_finite()) {
            let offset = layer.weight.offset;
            let what = format!("the tensor at byte {offset} holds NaN or infinity");
            return Err(self.wrong(what));
        }
        let steps = weight.outer_iter().zip(&scale).map(|(row, scale)| {
            let most = row.iter().fold(0f32, |most, w| most.max(w.abs()));
            (most * scale.abs()).max(f32::MIN_POSITIVE) / MOST
        });
        let steps: Vec<f32> = steps.collect();
        let columns = (0..inputs).flat_map(|i| (0..outputs).map(move |o| (o, i)));
        let integers = columns.map(|(o, i)| (weight[[o, i]] * scale[o] / steps[o]).round() as i8);
        let integers: Vec<i8> = integers.collect();
        let (name, step) = (format!("{target}.weight"), format!("{target}.step"));
        self.graph.bytes(&name, &[inputs, outputs], &integers);
        self.graph.floats(&step, &[outputs], &steps);
        let mut operands = vec![input, &name, &step];
        let bias = format!("{target}.bias");
        if let Some(span) = &layer.bias {
            let values = self.values::<Ix1>(span)? * &scale;
            self.graph.floats(&bias, &[outputs], &values.to_vec());
            operands.extend(["", &bias]);
        }
        Ok(self
            .graph
            .node_of(RUNTIME, "DynamicQuantizeMatMul", &operands, &[target], []))
    }

    fn values<D: ndarray::Dimension>(
        &self,
        span: &TensorSpan,
    ) -> Result<ndarray::Array<f32, D>, Error> {
        let values: ArrayD<f32> = self.checkpoint.read(span)?;
        values
            .into_dimensionality()
            .map_err(|e| self.wrong(e.to_string()))
    }
}
