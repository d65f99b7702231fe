//! Of an ONNX file only where its constants lie and what its writer says: nothing else is kept when
//! it is read. Constants are in graphs, in attributes of nodes, and in graphs within those.

use prost::Message;

use super::onnx::Entry;

/// A file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ExternalDataScan {
    /// The computation.
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    /// What its writer has to say.
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<Entry>,
    /// Functions, which are called as operators are.
    #[prost(message, repeated, tag = "25")]
    functions: Vec<Function>,
}

#[derive(Clone, PartialEq, Message)]
struct Graph {
    #[prost(message, repeated, tag = "1")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "15")]
    sparse_initializer: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<Node>,
    #[prost(message, repeated, tag = "11")]
    attribute_proto: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Node {
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(message, optional, boxed, tag = "6")]
    g: Option<Box<Graph>>,
    #[prost(message, repeated, tag = "10")]
    tensors: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    graphs: Vec<Graph>,
    #[prost(message, optional, tag = "22")]
    sparse_tensor: Option<SparseTensor>,
    #[prost(message, repeated, tag = "23")]
    sparse_tensors: Vec<SparseTensor>,
}

#[derive(Clone, PartialEq, Message)]
struct SparseTensor {
    #[prost(message, optional, tag = "1")]
    values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    indices: Option<TensorProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    /// `location`, `offset` and `length` of the span in another file.
    #[prost(message, repeated, tag = "13")]
    external_data: Vec<Entry>,
}

impl ExternalDataScan {
    /// What its writer says under `key`.
    pub(super) fn about(&self, key: &str) -> Option<&str> {
        let entry = self.metadata_props.iter().find(|entry| entry.key == key);
        entry.map(|entry| &*entry.value)
    }

    /// The files that constants lie in, sorted.
    pub(super) fn locations(&self) -> Vec<&str> {
        let mut tensors = Vec::new();
        self.graph
            .iter()
            .for_each(|graph| graph.collect(&mut tensors));
        for function in &self.functions {
            let nodes = function.node.iter().flat_map(|node| &node.attribute);
            let attributes = nodes.chain(&function.attribute_proto);
            attributes.for_each(|attribute| attribute.collect(&mut tensors));
        }
        let entries = tensors.iter().flat_map(|tensor| &tensor.external_data);
        let locations = entries.filter(|entry| entry.key == "location");
        let mut names: Vec<&str> = locations.map(|entry| &*entry.value).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Graph {
    fn collect<'a>(&'a self, tensors: &mut Vec<&'a TensorProto>) {
        tensors.extend(&self.initializer);
        let sparse = self.sparse_initializer.iter();
        tensors.extend(sparse.flat_map(SparseTensor::parts));
        let attributes = self.node.iter().flat_map(|node| &node.attribute);
        attributes.for_each(|attribute| attribute.collect(tensors));
    }
}

impl Attribute {
    fn collect<'a>(&'a self, tensors: &mut Vec<&'a TensorProto>) {
        tensors.extend(self.t.iter().chain(&self.tensors));
        let sparse = self.sparse_tensor.iter().chain(&self.sparse_tensors);
        tensors.extend(sparse.flat_map(SparseTensor::parts));
        let graphs = self.g.as_deref().into_iter().chain(&self.graphs);
        graphs.for_each(|graph| graph.collect(tensors));
    }
}

impl SparseTensor {
    fn parts(&self) -> impl Iterator<Item = &TensorProto> {
        self.values.iter().chain(&self.indices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(location: &str) -> TensorProto {
        let entry = |key: &str, value: &str| Entry {
            key: key.to_string(),
            value: value.to_string(),
        };
        TensorProto {
            external_data: vec![entry("location", location), entry("offset", "0")],
        }
    }

    fn sparse(location: &str) -> SparseTensor {
        SparseTensor {
            values: Some(tensor(location)),
            indices: None,
        }
    }

    fn node(attribute: Attribute) -> Vec<Node> {
        let attribute = vec![attribute];
        vec![Node { attribute }]
    }

    #[test]
    fn constants_are_found_wherever_a_file_can_have_them() {
        let inner = Graph {
            node: node(Attribute {
                t: Some(tensor("node")),
                ..Attribute::default()
            }),
            initializer: vec![tensor("twice"), tensor("inner")],
            sparse_initializer: vec![sparse("sparse")],
        };
        let outer = Attribute {
            g: Some(Box::new(inner.clone())),
            tensors: vec![tensor("list")],
            graphs: vec![Graph {
                initializer: vec![tensor("branch")],
                ..Graph::default()
            }],
            sparse_tensors: vec![sparse("sparse-list")],
            ..Attribute::default()
        };
        let external_data = ExternalDataScan {
            graph: Some(Graph {
                node: node(outer),
                initializer: vec![tensor("twice")],
                ..Graph::default()
            }),
            functions: vec![Function {
                node: node(Attribute {
                    sparse_tensor: Some(sparse("function")),
                    ..Attribute::default()
                }),
                attribute_proto: vec![Attribute {
                    t: Some(tensor("default")),
                    ..Attribute::default()
                }],
            }],
            ..ExternalDataScan::default()
        };
        let read = ExternalDataScan::decode(&*external_data.encode_to_vec()).unwrap();
        let expected = [
            "branch",
            "default",
            "function",
            "inner",
            "list",
            "node",
            "sparse",
            "sparse-list",
            "twice",
        ];
        assert_eq!(read.locations(), expected);
    }
}
