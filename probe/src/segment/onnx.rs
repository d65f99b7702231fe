//! The part of ONNX's file format that decoders are written with: messages of `onnx.proto3`, whose
//! field numbers never change.

use prost::Message;

/// f32.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
/// Of the format; 8 is what opset 17 came with.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<Opset>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
struct Opset {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A computation, nodes in their order.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

/// `kind` says which field holds the value: 1 number, 2 integer, 3 text, 7 integers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(bytes = "vec", tag = "4")]
    s: Vec<u8>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    element: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dim>,
}

/// A number, or a name where it may be any.
#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, optional, tag = "1")]
    value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
}

impl Attribute {
    pub(super) fn float(name: &str, f: f32) -> Attribute {
        Attribute {
            name: name.into(),
            f,
            kind: 1,
            ..Attribute::default()
        }
    }

    pub(super) fn int(name: &str, i: i64) -> Attribute {
        Attribute {
            name: name.into(),
            i,
            kind: 2,
            ..Attribute::default()
        }
    }

    pub(super) fn text(name: &str, text: &str) -> Attribute {
        Attribute {
            name: name.into(),
            s: text.into(),
            kind: 3,
            ..Attribute::default()
        }
    }

    pub(super) fn ints(name: &str, ints: &[i64]) -> Attribute {
        Attribute {
            name: name.into(),
            ints: ints.into(),
            kind: 7,
            ..Attribute::default()
        }
    }
}

impl Graph {
    /// An input of any batch size `B`: f32 `[B, …]`.
    pub(super) fn input(&mut self, name: &str, shape: &[usize]) {
        self.input.push(batched(name, shape));
    }

    /// The same of an output.
    pub(super) fn output(&mut self, name: &str, shape: &[usize]) {
        self.output.push(batched(name, shape));
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(
            name,
            FLOAT,
            shape.iter().map(|&n| n as i64).collect(),
            bytes.collect(),
        );
    }

    pub(super) fn integers(&mut self, name: &str, values: &[i64]) {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name, INT64, vec![values.len() as i64], bytes.collect());
    }

    fn constant(&mut self, name: &str, data_type: i32, dims: Vec<i64>, raw_data: Vec<u8>) {
        self.initializer.push(TensorProto {
            dims,
            data_type,
            name: name.into(),
            raw_data,
        });
    }

    /// Appends an operation, whose result is `output`.
    pub(super) fn node(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<Attribute>,
    ) {
        self.node.push(Node {
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec![output.into()],
            op_type: op.into(),
            attribute,
        });
    }

    /// The whole file.
    pub(super) fn into_bytes(mut self, name: &str, metadata: &[(&str, String)]) -> Vec<u8> {
        self.name = name.into();
        let entry = |(key, value): &(&str, String)| Entry {
            key: (*key).into(),
            value: value.clone(),
        };
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "slicebank".into(),
            graph: Some(self),
            opset_import: vec![Opset {
                domain: String::new(),
                version: OPSET,
            }],
            metadata_props: metadata.iter().map(entry).collect(),
        };
        model.encode_to_vec()
    }
}

fn batched(name: &str, shape: &[usize]) -> Value {
    let batch = Dim {
        value: None,
        name: Some("B".into()),
    };
    let rest = shape.iter().map(|&n| Dim {
        value: Some(n as i64),
        name: None,
    });
    Value {
        name: name.into(),
        kind: Some(Type {
            tensor: Some(TensorType {
                element: FLOAT,
                shape: Some(Shape {
                    dim: std::iter::once(batch).chain(rest).collect(),
                }),
            }),
        }),
    }
}
