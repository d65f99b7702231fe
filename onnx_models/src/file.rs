//! ONNX files that exist: their metadata, and the files with weights that they refer to.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost::bytes::Bytes;

use crate::Error;
use crate::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
};

/// An ONNX file in memory.
#[derive(Debug)]
pub struct OnnxFile {
    path: PathBuf,
    /// All bytes of the file; the constants in `model` point into them.
    pub bytes: Bytes,
    /// The message.
    pub model: ModelProto,
}

impl OnnxFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::NoFile`], [`Error::Io`], and [`Error::NotOnnx`] if it is no ONNX file.
    pub fn read(path: &Path) -> Result<OnnxFile, Error> {
        if !path.is_file() {
            return Err(Error::NoFile { path: path.into() });
        }
        let bytes = Bytes::from(fs::read(path).map_err(Error::io(path))?);
        let model = ModelProto::decode(bytes.clone());
        Ok(OnnxFile {
            path: path.into(),
            bytes,
            model: model.map_err(|_| Error::NotOnnx { path: path.into() })?,
        })
    }

    /// The metadata under `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut entries = self.model.metadata_props.iter();
        let entry = entries.find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// Files that hold constants of the graph, sorted.
    ///
    /// # Errors
    ///
    /// [`Error::Outside`] if one is not in the folder of the graph.
    pub fn external_files(&self) -> Result<Vec<PathBuf>, Error> {
        let locations = self.model.external_locations().into_iter();
        locations.map(|name| self.beside(name)).collect()
    }

    fn beside(&self, name: &str) -> Result<PathBuf, Error> {
        if Path::new(name).file_name() == Some(name.as_ref()) {
            Ok(self.path.with_file_name(name))
        } else {
            Err(Error::Outside {
                path: self.path.clone(),
                location: name.to_string(),
            })
        }
    }
}

// Constants are in graphs, in attributes of nodes, in graphs within those, and in functions.

impl ModelProto {
    /// Names of the files that hold constants, sorted, each once.
    fn external_locations(&self) -> Vec<&str> {
        let mut tensors = Vec::new();
        if let Some(graph) = &self.graph {
            graph.collect_tensors(&mut tensors);
        }
        for function in &self.functions {
            let attributes = attributes(&function.node).chain(&function.attribute_proto);
            attributes.for_each(|attribute| attribute.collect_tensors(&mut tensors));
        }
        let entries = tensors.iter().flat_map(|tensor| &tensor.external_data);
        let locations = entries.filter(|entry| entry.key == "location");
        let mut names: Vec<&str> = locations.map(|entry| &*entry.value).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl GraphProto {
    fn collect_tensors<'a>(&'a self, tensors: &mut Vec<&'a TensorProto>) {
        tensors.extend(&self.initializer);
        let sparse = self.sparse_initializer.iter();
        tensors.extend(sparse.flat_map(SparseTensorProto::parts));
        attributes(&self.node).for_each(|attribute| attribute.collect_tensors(tensors));
    }
}

impl AttributeProto {
    fn collect_tensors<'a>(&'a self, tensors: &mut Vec<&'a TensorProto>) {
        tensors.extend(self.t.iter().chain(&self.tensors));
        let sparse = self.sparse_tensor.iter().chain(&self.sparse_tensors);
        tensors.extend(sparse.flat_map(SparseTensorProto::parts));
        let graphs = self.g.as_deref().into_iter().chain(&self.graphs);
        graphs.for_each(|graph| graph.collect_tensors(tensors));
    }
}

impl SparseTensorProto {
    fn parts(&self) -> impl Iterator<Item = &TensorProto> {
        self.values.iter().chain(&self.indices)
    }
}

fn attributes(nodes: &[NodeProto]) -> impl Iterator<Item = &AttributeProto> {
    nodes.iter().flat_map(|node| &node.attribute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{FunctionProto, StringStringEntryProto};

    fn tensor(location: &str) -> TensorProto {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.to_string(),
            value: value.to_string(),
        };
        TensorProto {
            external_data: vec![entry("location", location), entry("offset", "0")],
            ..TensorProto::default()
        }
    }

    fn sparse(location: &str) -> SparseTensorProto {
        SparseTensorProto {
            values: Some(tensor(location)),
            indices: None,
        }
    }

    fn node(attribute: AttributeProto) -> Vec<NodeProto> {
        vec![NodeProto {
            attribute: vec![attribute],
            ..NodeProto::default()
        }]
    }

    #[test]
    fn constants_are_found_wherever_a_file_can_have_them() {
        let inner = GraphProto {
            node: node(AttributeProto {
                t: Some(tensor("node")),
                ..AttributeProto::default()
            }),
            initializer: vec![tensor("twice"), tensor("inner")],
            sparse_initializer: vec![sparse("sparse")],
            ..GraphProto::default()
        };
        let outer = AttributeProto {
            g: Some(Box::new(inner.clone())),
            tensors: vec![tensor("list")],
            graphs: vec![GraphProto {
                initializer: vec![tensor("branch")],
                ..GraphProto::default()
            }],
            sparse_tensors: vec![sparse("sparse-list")],
            ..AttributeProto::default()
        };
        let model = ModelProto {
            graph: Some(GraphProto {
                node: node(outer),
                initializer: vec![tensor("twice")],
                ..GraphProto::default()
            }),
            functions: vec![FunctionProto {
                node: node(AttributeProto {
                    sparse_tensor: Some(sparse("function")),
                    ..AttributeProto::default()
                }),
                attribute_proto: vec![AttributeProto {
                    t: Some(tensor("default")),
                    ..AttributeProto::default()
                }],
            }],
            ..ModelProto::default()
        };
        let read = ModelProto::decode(&*model.encode_to_vec()).unwrap();
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
        assert_eq!(read.external_locations(), expected);
    }
}
