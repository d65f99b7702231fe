//! Nodes and constants, collected in the order of their computation.

use super::checkpoint::TensorSpan;
use super::onnx::{self, Attribute};

/// Version of ONNX's own operators: 20 has `Gelu`.
const OPSET: i64 = 20;
const IR_VERSION: i64 = 9;
/// Where the operators are that only this program has.
pub const DOMAIN: &str = "slicebank";
/// To be raised when what they compute changes: graphs and their hashes in caches change with it.
const DOMAIN_VERSION: i64 = 1;
/// Of these, attention in 8-bit integers.
pub const ATTENTION: &str = "Int8Attention";

/// A graph in the making. A method that adds something gives the name of its result.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<onnx::Node>,
    constants: Vec<onnx::TensorProto>,
    outputs: Vec<onnx::Value>,
    /// The weights' file, beside the graph's.
    location: String,
}

impl Graph {
    /// An empty graph whose weights lie in the file `location` beside it.
    pub(super) fn new(location: &str) -> Graph {
        Graph {
            nodes: Vec::new(),
            constants: Vec::new(),
            outputs: Vec::new(),
            location: location.to_string(),
        }
    }

    /// An operation of ONNX's own with one result, whose name is `output`.
    pub(super) fn node<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: [Attribute; N],
    ) -> String {
        self.push("", op, inputs, &[output], attributes.to_vec())
    }

    /// An operation that only ONNX Runtime knows.
    pub(super) fn runtime_node<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: [Attribute; N],
    ) -> String {
        self.runtime_nodes(op, inputs, &[output], attributes)
    }

    /// The same with several results, of which the first one's name is given. Those that are not wanted
    /// have none.
    pub(super) fn runtime_nodes<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: [Attribute; N],
    ) -> String {
        self.push("com.microsoft", op, inputs, outputs, attributes.to_vec())
    }

    /// Attention in 8-bit integers, which only this program has.
    pub(super) fn own_attention<const N: usize>(
        &mut self,
        inputs: &[&str],
        output: &str,
        attributes: [Attribute; N],
    ) -> String {
        self.push(DOMAIN, ATTENTION, inputs, &[output], attributes.to_vec())
    }

    fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<Attribute>,
    ) -> String {
        let name = outputs.first().copied().unwrap_or_default().to_string();
        self.nodes.push(onnx::Node {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            name: name.clone(),
            op_type: op.to_string(),
            attribute,
            domain: domain.to_string(),
        });
        name
    }

    /// The two halves of the last axis, named `halves`.
    pub(super) fn split(&mut self, input: &str, halves: [&str; 2]) {
        let count = [Attribute::int("axis", -1), Attribute::int("num_outputs", 2)];
        self.push("", "Split", &[input], &halves, count.to_vec());
    }

    /// A node that converts `input` to the element type `to`.
    pub(super) fn cast(&mut self, input: &str, to: i32, output: &str) -> String {
        self.node("Cast", &[input], output, [Attribute::int("to", to.into())])
    }

    /// A constant of f32.
    pub(super) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name, onnx::FLOAT, dims, bytes.collect())
    }

    /// A constant of 64-bit integers.
    pub(super) fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name, onnx::INT64, dims, bytes.collect())
    }

    /// A constant of 8-bit integers.
    pub(super) fn bytes(&mut self, name: &str, dims: &[usize], values: &[i8]) -> String {
        let bytes = values.iter().map(|&value| value as u8).collect();
        self.constant(name, onnx::INT8, dims, bytes)
    }

    fn constant(
        &mut self,
        name: &str,
        data_type: i32,
        dims: &[usize],
        raw_data: Vec<u8>,
    ) -> String {
        self.constants.push(onnx::TensorProto {
            dims: lengths(dims),
            data_type,
            name: name.to_string(),
            raw_data,
            ..onnx::TensorProto::default()
        });
        name.to_string()
    }

    /// A tensor of the weights' file as f32, with the axes `dims`.
    pub(super) fn weight(&mut self, name: &str, span: &TensorSpan, dims: &[usize]) -> String {
        let stored = match span.dtype {
            onnx::FLOAT => name.to_string(),
            _ => format!("{name}.stored"),
        };
        let entry = |key: &str, value: String| onnx::Entry {
            key: key.to_string(),
            value,
        };
        self.constants.push(onnx::TensorProto {
            dims: lengths(dims),
            data_type: span.dtype,
            name: stored.clone(),
            external_data: vec![
                entry("location", self.location.clone()),
                entry("offset", span.offset.to_string()),
                entry("length", span.length.to_string()),
            ],
            data_location: 1,
            ..onnx::TensorProto::default()
        });
        match span.dtype {
            onnx::FLOAT => stored,
            _ => self.cast(&stored, onnx::FLOAT, name),
        }
    }

    /// Declares `name` an output `[batch, dims…]`.
    pub(super) fn output(&mut self, name: &str, elem_type: i32, dims: &[u32]) {
        self.outputs
            .push(onnx::Value::batched(name, elem_type, dims));
    }

    /// The whole, with `pixels`, f32 `[batch, 3, size, size]`, as input.
    pub(super) fn finish(self, name: &str, size: u32, about: &[(&str, String)]) -> onnx::Model {
        let opset = |domain: &str, version| onnx::Opset {
            domain: domain.to_string(),
            version,
        };
        let mut opset_import = vec![opset("", OPSET), opset("com.microsoft", 1)];
        if self.nodes.iter().any(|node| node.domain == DOMAIN) {
            opset_import.push(opset(DOMAIN, DOMAIN_VERSION));
        }
        let about = about.iter().map(|(key, value)| onnx::Entry {
            key: key.to_string(),
            value: value.clone(),
        });
        onnx::Model {
            ir_version: IR_VERSION,
            producer_name: "slicebank".to_string(),
            opset_import,
            metadata_props: about.collect(),
            graph: Some(onnx::Graph {
                node: self.nodes,
                name: name.to_string(),
                initializer: self.constants,
                input: vec![onnx::Value::batched(
                    "pixels",
                    onnx::FLOAT,
                    &[3, size, size],
                )],
                output: self.outputs,
            }),
        }
    }
}

fn lengths(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|&length| length as i64).collect()
}
