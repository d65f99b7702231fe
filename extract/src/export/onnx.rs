//! The part of ONNX's file format that graphs are written with: messages of `onnx.proto3`, whose
//! field numbers never change.

use prost::Message;

/// f32.
pub(super) const FLOAT: i32 = 1;
/// Signed 8-bit integers.
pub(super) const INT8: i32 = 3;
/// Signed 64-bit integers.
pub(super) const INT64: i32 = 7;
/// IEEE half precision.
pub(super) const FLOAT16: i32 = 10;
/// The upper half of an f32.
pub(super) const BFLOAT16: i32 = 16;

/// A whole file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    /// Version of the format.
    #[prost(int64, tag = "1")]
    pub(super) ir_version: i64,
    /// Who wrote it.
    #[prost(string, tag = "2")]
    pub(super) producer_name: String,
    /// The computation.
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
    /// Versions of the sets of operators.
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<Opset>,
    /// What else its writer has to say.
    #[prost(message, repeated, tag = "14")]
    pub(super) metadata_props: Vec<Entry>,
}

/// A set of operators.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Opset {
    /// Empty for ONNX's own.
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    /// Its version.
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// A key and its value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Entry {
    /// The key.
    #[prost(string, tag = "1")]
    pub(super) key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

/// Nodes in the order of their computation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    /// The nodes.
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    /// The graph's name.
    #[prost(string, tag = "2")]
    pub(super) name: String,
    /// Constants.
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<TensorProto>,
    /// What is fed.
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<Value>,
    /// What comes out.
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<Value>,
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    /// Names of values; an optional input that is left out is empty.
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    /// Names of results.
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    /// The node's name.
    #[prost(string, tag = "3")]
    pub(super) name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    /// Its attributes.
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    /// The set that the operator is of.
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

/// An attribute of a node; `kind` says which field holds its value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// A number.
    #[prost(float, tag = "2")]
    pub(super) f: f32,
    /// An integer.
    #[prost(int64, tag = "3")]
    pub(super) i: i64,
    /// A text.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) s: Vec<u8>,
    /// Integers.
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    /// 1 number, 2 integer, 3 text, 7 integers.
    #[prost(int32, tag = "20")]
    pub(super) kind: i32,
}

impl Attribute {
    /// A number.
    pub(super) fn float(name: &str, f: f32) -> Attribute {
        Attribute {
            name: name.to_string(),
            f,
            kind: 1,
            ..Attribute::default()
        }
    }

    /// An integer.
    pub(super) fn int(name: &str, i: i64) -> Attribute {
        Attribute {
            name: name.to_string(),
            i,
            kind: 2,
            ..Attribute::default()
        }
    }

    /// A text.
    pub(super) fn text(name: &str, s: &str) -> Attribute {
        Attribute {
            name: name.to_string(),
            s: s.as_bytes().to_vec(),
            kind: 3,
            ..Attribute::default()
        }
    }

    /// Integers.
    pub(super) fn ints(name: &str, ints: &[i64]) -> Attribute {
        Attribute {
            name: name.to_string(),
            ints: ints.to_vec(),
            kind: 7,
            ..Attribute::default()
        }
    }
}

/// A constant, in the file or in a span of another one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorProto {
    /// Lengths of its axes.
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    /// Type of an element.
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    /// Its name.
    #[prost(string, tag = "8")]
    pub(super) name: String,
    /// Elements, little-endian.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
    /// `location`, `offset` and `length` of the span.
    #[prost(message, repeated, tag = "13")]
    pub(super) external_data: Vec<Entry>,
    /// 1 if the elements lie in another file.
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

/// A named value of the graph.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    /// Its name.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Its type.
    #[prost(message, optional, tag = "2")]
    pub(super) kind: Option<ValueType>,
}

/// The type of a value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueType {
    /// A tensor's.
    #[prost(message, optional, tag = "1")]
    pub(super) tensor: Option<TensorType>,
}

/// The type of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorType {
    /// Type of an element.
    #[prost(int32, tag = "1")]
    pub(super) elem_type: i32,
    /// Its axes.
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
}

/// Axes of a tensor.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    /// Each axis.
    #[prost(message, repeated, tag = "1")]
    pub(super) dim: Vec<Dim>,
}

/// An axis: a length or a name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Dim {
    /// The length or the name.
    #[prost(oneof = "Length", tags = "1, 2")]
    pub(super) length: Option<Length>,
}

/// Length of an axis.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Length {
    /// Always this.
    #[prost(int64, tag = "1")]
    Fixed(i64),
    /// Known at run time only.
    #[prost(string, tag = "2")]
    Named(String),
}

impl Value {
    /// A tensor `[batch, dims…]`.
    pub(super) fn batched(name: &str, elem_type: i32, dims: &[u32]) -> Value {
        let batch = Length::Named("batch".to_string());
        let fixed = dims.iter().map(|&n| Length::Fixed(i64::from(n)));
        let dim = std::iter::once(batch).chain(fixed);
        let dim = dim.map(|length| Dim {
            length: Some(length),
        });
        let shape = Some(Shape { dim: dim.collect() });
        Value {
            name: name.to_string(),
            kind: Some(ValueType {
                tensor: Some(TensorType { elem_type, shape }),
            }),
        }
    }
}
