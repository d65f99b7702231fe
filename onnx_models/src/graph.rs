//! Building a graph: nodes and constants in the order of their computation.

use prost::Message;

use crate::proto::{
    self, AttributeProto, AxisLength, DimensionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};

/// A graph that is being built. Methods that add a node or a constant return the name of its result.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: GraphProto,
    /// Name of the first axis of inputs and outputs.
    batch: &'static str,
}

/// Versions that a file is written for.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    /// Version of the format.
    pub ir: i64,
    /// Operator sets: their domains, empty for ONNX's own operators, and versions.
    pub opsets: &'a [(&'a str, i64)],
}

impl GraphBuilder {
    /// An empty graph; `batch` names the first axis of its inputs and outputs.
    pub fn new(name: &str, batch: &'static str) -> GraphBuilder {
        GraphBuilder {
            graph: GraphProto {
                name: name.to_string(),
                ..GraphProto::default()
            },
            batch,
        }
    }

    /// Declares an input, f32 `[batch, dims…]`.
    pub fn input(&mut self, name: &str, dims: &[usize]) {
        let input = self.batched(name, proto::FLOAT, dims);
        self.graph.input.push(input);
    }

    /// Declares the value `name` an output `[batch, dims…]`.
    pub fn output(&mut self, name: &str, elem_type: i32, dims: &[usize]) {
        let output = self.batched(name, elem_type, dims);
        self.graph.output.push(output);
    }

    fn batched(&self, name: &str, elem_type: i32, dims: &[usize]) -> ValueInfoProto {
        let batch = AxisLength::Named(self.batch.to_string());
        let fixed = lengths(dims).into_iter().map(AxisLength::Fixed);
        let dim = std::iter::once(batch).chain(fixed);
        let dim = dim.map(|value| DimensionProto { value: Some(value) });
        let shape = Some(TensorShapeProto { dim: dim.collect() });
        ValueInfoProto {
            name: name.to_string(),
            r#type: Some(TypeProto {
                tensor_type: Some(TensorTypeProto { elem_type, shape }),
            }),
        }
    }

    /// Adds an operation of ONNX's own operators with one result, `output`.
    pub fn node<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: [AttributeProto; N],
    ) -> String {
        self.node_of("", op, inputs, &[output], attributes)
    }

    /// Adds an operation of the operator set `domain`. Results that are not wanted have empty names.
    pub fn node_of<const N: usize>(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: [AttributeProto; N],
    ) -> String {
        let name = outputs.first().copied().unwrap_or_default().to_string();
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            name: name.clone(),
            op_type: op.to_string(),
            attribute: attributes.to_vec(),
            domain: domain.to_string(),
        });
        name
    }

    /// Adds a conversion of `input` to the element type `to`.
    pub fn cast(&mut self, input: &str, to: i32, output: &str) -> String {
        let to = AttributeProto::int("to", to.into());
        self.node("Cast", &[input], output, [to])
    }

    /// Adds a constant of f32.
    pub fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name, proto::FLOAT, dims, bytes.collect())
    }

    /// Adds a constant of 64-bit integers.
    pub fn integers(&mut self, name: &str, dims: &[usize], values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name, proto::INT64, dims, bytes.collect())
    }

    /// Adds a constant of 8-bit integers.
    pub fn bytes(&mut self, name: &str, dims: &[usize], values: &[i8]) -> String {
        let bytes = values.iter().map(|value| value.cast_unsigned());
        self.constant(name, proto::INT8, dims, bytes.collect())
    }

    fn constant(
        &mut self,
        name: &str,
        data_type: i32,
        dims: &[usize],
        raw_data: Vec<u8>,
    ) -> String {
        self.graph.initializer.push(TensorProto {
            dims: lengths(dims),
            data_type,
            name: name.to_string(),
            raw_data: raw_data.into(),
            ..TensorProto::default()
        });
        name.to_string()
    }

    /// Adds a constant that is a span of another file: `length` bytes from `offset` of `location`,
    /// which is in the folder of the graph.
    pub fn external(
        &mut self,
        name: &str,
        data_type: i32,
        dims: &[usize],
        location: &str,
        [offset, length]: [u64; 2],
    ) -> String {
        self.graph.initializer.push(TensorProto {
            dims: lengths(dims),
            data_type,
            name: name.to_string(),
            external_data: vec![
                entry("location", location),
                entry("offset", &offset.to_string()),
                entry("length", &length.to_string()),
            ],
            data_location: 1,
            ..TensorProto::default()
        });
        name.to_string()
    }

    /// True if a node uses an operator of `domain`.
    pub fn uses(&self, domain: &str) -> bool {
        self.graph.node.iter().any(|node| node.domain == domain)
    }

    /// The bytes of the file.
    pub fn into_bytes(self, versions: Versions<'_>, metadata: &[(&str, String)]) -> Vec<u8> {
        let opset_import = versions.opsets.iter();
        let opset_import = opset_import.map(|&(domain, version)| OperatorSetIdProto {
            domain: domain.to_string(),
            version,
        });
        let model = ModelProto {
            ir_version: versions.ir,
            producer_name: "slicebank".to_string(),
            graph: Some(self.graph),
            opset_import: opset_import.collect(),
            metadata_props: metadata
                .iter()
                .map(|(key, value)| entry(key, value))
                .collect(),
            functions: Vec::new(),
        };
        model.encode_to_vec()
    }
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: key.to_string(),
        value: value.to_string(),
    }
}

fn lengths(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|&length| length as i64).collect()
}
