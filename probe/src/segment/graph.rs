//! Trained decoders as ONNX graphs.

use nn::EPSILON;
use onnx_models::proto::{self, AttributeProto};
use onnx_models::{GraphBuilder, Versions};

use super::about::About;
use crate::tensors::Tensor;

/// Versions of an exported graph: the first with `LayerNormalization`.
const VERSIONS: Versions<'static> = Versions {
    ir: 8,
    opsets: &[("", 17)],
};

/// The ONNX file of a decoder. Its inputs are `patch_K`, f32 `[B, P, D]`, for each layer `K`, as in a cache;
/// its output is `logits`, f32 `[B, C, S, S]`.
pub(super) fn to_onnx(about: &About, tensors: &[Tensor]) -> Vec<u8> {
    let mut graph = GraphBuilder::new("decoder", "B");
    for tensor in tensors {
        graph.floats(&tensor.name, &tensor.shape, &tensor.values);
    }
    let [height, width] = about.grid;
    let grid = [0, about.width as i64, height as i64, width as i64];
    graph.integers("grid", &[4], &grid);
    if about.layer_norm {
        graph.floats("norm.weight", &[about.width], &vec![1.0; about.width]);
    }
    for layer in &about.layers {
        input(&mut graph, about, *layer);
    }
    let classes = about.classes.len();
    let (output, mode) = match about.layers[..] {
        [layer] => {
            graph.node(
                "Conv",
                &[&format!("map_{layer}"), "weight", "bias"],
                "low",
                [],
            );
            ("low".to_owned(), "linear")
        }
        _ => (unet(&mut graph, about, tensors), "cubic"),
    };
    let side = about.image_size;
    resize(
        &mut graph,
        &output,
        "logits",
        mode,
        "half_pixel",
        [classes, side, side],
    );
    graph.output("logits", proto::FLOAT, &[classes, side, side]);
    let metadata = serde_json::to_string(about).unwrap_or_default();
    graph.into_bytes(VERSIONS, &[(About::KEY, metadata)])
}

/// Adds the tokens of a layer as an input, `patch_K`, and as a map `[B, D, h, w]`, `map_K`.
fn input(graph: &mut GraphBuilder, about: &About, layer: u32) {
    let [height, width] = about.grid;
    let tokens = format!("patch_{layer}");
    let across = format!("across_{layer}");
    graph.input(&tokens, &[height * width, about.width]);
    let normed = if about.layer_norm {
        layer_norm(graph, &tokens)
    } else {
        tokens
    };
    graph.node(
        "Transpose",
        &[&normed],
        &across,
        [AttributeProto::ints("perm", &[0, 2, 1])],
    );
    graph.node("Reshape", &[&across, "grid"], &format!("map_{layer}"), []);
}

/// Adds the blocks of a U-Net; returns the name of the output.
fn unet(graph: &mut GraphBuilder, about: &About, tensors: &[Tensor]) -> String {
    let [last, skips @ ..] = [4, 3, 2, 1, 0].map(|at| about.layers[at]);
    let mut below = format!("map_{last}");
    let mut grid = about.grid;
    for (block, skip) in (1..).zip(skips) {
        let of = |rest: &str| format!("up{block}.{rest}");
        grid = grid.map(|length| 2 * length);
        let up = of("raised");
        graph.node(
            "ConvTranspose",
            &[&below, &of("up.weight"), &of("up.bias")],
            &up,
            [AttributeProto::ints("strides", &[2, 2])],
        );
        let channels = length(tensors, &of("up.bias"));
        let narrow = convolved(graph, &format!("map_{skip}"), &of("skip"));
        let wide = of("skip.wide");
        let shape = [channels, grid[0], grid[1]];
        resize(graph, &narrow, &wide, "linear", "align_corners", shape);
        let joined = of("joined");
        graph.node(
            "Concat",
            &[&up, &wide],
            &joined,
            [AttributeProto::int("axis", 1)],
        );
        below = convolved(graph, &joined, &of("merge"));
    }
    below
}

/// The length of a tensor.
fn length(tensors: &[Tensor], name: &str) -> usize {
    let tensor = tensors.iter().find(|tensor| tensor.name == name);
    tensor.map_or(0, |tensor| tensor.values.len())
}

/// Adds [`nn::layer_norm`]; returns the name of the output.
fn layer_norm(graph: &mut GraphBuilder, tokens: &str) -> String {
    let output = format!("{tokens}.normed");
    graph.node(
        "LayerNormalization",
        &[tokens, "norm.weight"],
        &output,
        [AttributeProto::float("epsilon", EPSILON)],
    );
    output
}

/// Adds a 3×3 convolution, batch normalisation and ReLU; returns the name of the output.
fn convolved(graph: &mut GraphBuilder, input: &str, layer: &str) -> String {
    let of = |rest: &str| format!("{layer}.{rest}");
    let (convolved, normalised, output) = (of("convolved"), of("normalised"), of("output"));
    graph.node(
        "Conv",
        &[input, &of("0.weight"), &of("0.bias")],
        &convolved,
        [AttributeProto::ints("pads", &[1, 1, 1, 1])],
    );
    let [weight, bias, mean, variance] =
        ["1.weight", "1.bias", "1.running_mean", "1.running_var"].map(of);
    graph.node(
        "BatchNormalization",
        &[&convolved, &weight, &bias, &mean, &variance],
        &normalised,
        [AttributeProto::float("epsilon", 1e-5)],
    );
    graph.node("Relu", &[&normalised], &output, []);
    output
}

/// Adds a resizing to `[C, H, W]` as PyTorch's `interpolate`.
fn resize(
    graph: &mut GraphBuilder,
    input: &str,
    output: &str,
    mode: &str,
    coordinates: &str,
    [channels, height, width]: [usize; 3],
) {
    let (batch, rest, size) = (
        format!("{output}.batch"),
        format!("{output}.rest"),
        format!("{output}.size"),
    );
    graph.node(
        "Shape",
        &[input],
        &batch,
        [
            AttributeProto::int("start", 0),
            AttributeProto::int("end", 1),
        ],
    );
    graph.integers(&rest, &[3], &[channels, height, width].map(|n| n as i64));
    graph.node(
        "Concat",
        &[&batch, &rest],
        &size,
        [AttributeProto::int("axis", 0)],
    );
    graph.node(
        "Resize",
        &[input, "", "", &size],
        output,
        [
            AttributeProto::text("mode", mode),
            AttributeProto::text("coordinate_transformation_mode", coordinates),
            AttributeProto::float("cubic_coeff_a", -0.75),
        ],
    );
}
