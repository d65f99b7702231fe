"""Builds the ONNX graph of a plain pre-norm ViT from a dictionary of weights.

`build_vit` is the only entry point. Tensor names are those of Hugging Face's Dinov2 checkpoints.
Letters: `B` batch, `P` patches, `D` width, `N = 1 + P` tokens, `G` patches along one side.
"""

import math

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

OPSET = 20
IR_VERSION = 9
LAYER_NORM_EPSILON = 1e-6
# Added to the target grid before the scale factor is formed: torch.hub's DINOv2 adds 0.1, which
# shifts its sampling points a little; Hugging Face's does not.
POSITION_OFFSET = {"hub": 0.1, "hf": 0.0}


class Graph:
    """Nodes and constants collected so far; every method returns the name of its result."""

    def __init__(self):
        self.nodes = []
        self.constants = []

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


def build_vit(card, weights, image_size, weights_sha256):
    """The graph of the model `card` for one image size.

    Input `pixels`, f32 `[B, 3, image_size, image_size]`, already normalised. For `K` in
    `1..=card["layers"]`, 1 being the last block: `cls_K` and `mean_K`, f32 `[B, D]`, and
    `patch_K`, f32 `[B, P, D]`, row by row of the grid, all after the model's last LayerNorm.
    """
    grid = grid_side(image_size, card["patch_size"])
    graph = Graph()
    constants = {
        "first": graph.constant("first", np.array(0, np.int64)),
        "one": graph.constant("one", np.array([1], np.int64)),
        "end": graph.constant("end", np.array([1 + grid * grid], np.int64)),
        "mean": graph.constant("mean", patch_mean_row(grid * grid)),
    }
    for part in ("weight", "bias"):
        graph.constant(f"norm.{part}", take(weights, f"layernorm.{part}", (card["width"],)))
    tokens = embed(graph, card, weights, grid)
    outputs = []
    for index in range(card["depth"]):
        tokens = block(graph, card, weights, index, tokens)
        layer = card["depth"] - index
        if layer <= card["layers"]:
            outputs += layer_outputs(graph, constants, tokens, layer, (grid * grid, card["width"]))
    model = to_model(graph, card, image_size, outputs)
    helper.set_model_props(
        model,
        {
            "slicebank.model": card["name"],
            "slicebank.image_size": str(image_size),
            "slicebank.weights_sha256": weights_sha256,
        },
    )
    checker.check_model(model)
    return model


def patch_mean_row(patches):
    """`[1, 1 + patches]`, whose product with all tokens is the mean of the patch tokens.

    A product is used since ReduceMean rounds differently with the number of threads.
    """
    row = np.full((1, 1 + patches), 1 / patches, np.float32)
    row[0, 0] = 0
    return row


def grid_side(image_size, patch_size):
    if image_size <= 0 or image_size % patch_size:
        raise ValueError(
            f"image size {image_size} is not a positive multiple of the patch size {patch_size}"
        )
    return image_size // patch_size


def embed(graph, card, weights, grid):
    """Patches, class token and positions: `[B, 3, H, W]` to `[B, N, D]`."""
    width, patch = card["width"], card["patch_size"]
    source = "embeddings.patch_embeddings.projection"
    kernel = take(weights, f"{source}.weight", (width, 3, patch, patch))
    bias = take(weights, f"{source}.bias", (width,))
    inputs = ["pixels", graph.constant("stem.weight", kernel), graph.constant("stem.bias", bias)]
    stem = graph.node("Conv", inputs, "stem", kernel_shape=[patch] * 2, strides=[patch] * 2)
    # 0 keeps the batch dimension, so that no shape is computed at run time.
    shape = graph.constant("stem.shape", np.array([0, width, grid * grid], np.int64))
    rows = graph.node("Reshape", [stem, shape], "stem.rows")
    patches = graph.node("Transpose", [rows], "stem.tokens", perm=[0, 2, 1])
    pads = graph.constant("stem.pads", np.array([0, 1, 0, 0, 0, 0], np.int64))
    padded = graph.node("Pad", [patches, pads], "stem.padded")
    table = graph.constant("positions", token_table(card, weights, grid))
    return graph.node("Add", [padded, table], "embedded")


def token_table(card, weights, grid):
    """What is added to the patches: class token plus its position, then positions, `[1, N, D]`."""
    native = grid_side(card["native_size"], card["patch_size"])
    width = card["width"]
    cls = take(weights, "embeddings.cls_token", (1, 1, width))
    positions = take(weights, "embeddings.position_embeddings", (1, 1 + native * native, width))
    patches = positions[0, 1:].reshape(native, native, width)
    patches = resize_positions(patches, grid, POSITION_OFFSET[card["pos_embed"]])
    table = np.concatenate([cls[0] + positions[0, :1], patches.reshape(grid * grid, width)])
    return table[None].astype(np.float32)


def resize_positions(table, grid, offset):
    """Bicubic (a = -0.75, edges repeated) from `[G0, G0, D]` to `[grid, grid, D]`, in f64.

    As `torch.nn.functional.interpolate(scale_factor=(grid + offset) / G0)` without antialiasing.
    """
    native = table.shape[0]
    if grid == native:
        return table
    indices, factors = cubic_taps(native, grid, native / (grid + offset))
    table = table.astype(np.float64)
    # Sums in a fixed order, not a matrix product: the same bits on every machine.
    table = sum(factors[k][:, None, None] * table[indices[k]] for k in range(4))
    return sum(factors[k][None, :, None] * table[:, indices[k]] for k in range(4))


def cubic_taps(native, size, step):
    """Four source indices and factors, `[4, size]` each, per target position."""
    centre = (np.arange(size) + 0.5) * step - 0.5
    base = np.floor(centre)
    indices = [np.clip(base + k, 0, native - 1).astype(np.int64) for k in (-1, 0, 1, 2)]
    return indices, [cubic(np.abs(centre - base - k)) for k in (-1, 0, 1, 2)]


def cubic(x, a=-0.75):
    """The cubic convolution kernel at the distances `x >= 0`."""
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def block(graph, card, weights, index, tokens):
    """One pre-norm block, `[B, N, D]` to `[B, N, D]`; LayerScale is folded into the projections."""
    source, target = f"encoder.layer.{index}", f"block{index}"
    width, hidden = card["width"], 4 * card["width"]
    normed = layer_norm(graph, weights, f"{source}.norm1", f"{target}.norm1", tokens, width)
    attended = attention(graph, card, weights, index, normed)
    scale = take(weights, f"{source}.layer_scale1.lambda1", (width,))
    name = f"{source}.attention.output.dense"
    attended = linear(graph, weights, name, f"{target}.proj", attended, (width, width), scale)
    tokens = graph.node("Add", [tokens, attended], f"{target}.attended")

    normed = layer_norm(graph, weights, f"{source}.norm2", f"{target}.norm2", tokens, width)
    fc1 = linear(graph, weights, f"{source}.mlp.fc1", f"{target}.fc1", normed, (hidden, width))
    active = graph.node("Gelu", [fc1], f"{target}.gelu", approximate="none")
    scale = take(weights, f"{source}.layer_scale2.lambda1", (width,))
    name = f"{source}.mlp.fc2"
    fc2 = linear(graph, weights, name, f"{target}.fc2", active, (width, hidden), scale)
    return graph.node("Add", [tokens, fc2], f"{target}.out")


def attention(graph, card, weights, index, tokens):
    """Multi-head self-attention without its output projection, as one fused node."""
    width = card["width"]
    inputs = [
        linear(
            graph,
            weights,
            f"encoder.layer.{index}.attention.attention.{name}",
            f"block{index}.{name}",
            tokens,
            (width, width),
        )
        for name in ("query", "key", "value")
    ]
    return graph.node(
        "MultiHeadAttention",
        inputs,
        f"block{index}.attention",
        domain="com.microsoft",
        num_heads=card["heads"],
        scale=1 / math.sqrt(width // card["heads"]),
    )


def linear(graph, weights, source, target, tokens, shape, scale=None):
    """`scale * (W x + b)` with `W` of `shape` (out, in); `scale` is folded into both."""
    weight = take(weights, f"{source}.weight", shape)
    bias = take(weights, f"{source}.bias", shape[:1])
    if scale is not None:
        weight, bias = weight * scale[:, None], bias * scale
    matrix = graph.constant(f"{target}.weight", weight.T)
    product = graph.node("MatMul", [tokens, matrix], f"{target}.product")
    return graph.node("Add", [product, graph.constant(f"{target}.bias", bias)], target)


def layer_norm(graph, weights, source, target, tokens, width):
    names = [
        graph.constant(f"{target}.{part}", take(weights, f"{source}.{part}", (width,)))
        for part in ("weight", "bias")
    ]
    return normalise(graph, tokens, names, target)


def normalise(graph, tokens, names, target):
    inputs = [tokens, *names]
    return graph.node("LayerNormalization", inputs, target, axis=-1, epsilon=LAYER_NORM_EPSILON)


def layer_outputs(graph, constants, tokens, layer, shape):
    """Adds `cls_K`, `mean_K` and `patch_K` of one block; returns their declarations."""
    normed = normalise(graph, tokens, ["norm.weight", "norm.bias"], f"norm_{layer}")
    graph.node("Gather", [normed, constants["first"]], f"cls_{layer}", axis=1)
    bounds = [constants["one"], constants["end"], constants["one"]]
    graph.node("Slice", [normed, *bounds], f"patch_{layer}")
    mean = graph.node("MatMul", [constants["mean"], normed], f"mean_row_{layer}")
    graph.node("Squeeze", [mean, constants["one"]], f"mean_{layer}")
    patches, width = shape
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *dims])
        for name, dims in (
            (f"cls_{layer}", [width]),
            (f"mean_{layer}", [width]),
            (f"patch_{layer}", [patches, width]),
        )
    ]


def to_model(graph, card, image_size, outputs) -> ModelProto:
    shape = ["batch", 3, image_size, image_size]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)
    body = helper.make_graph(graph.nodes, card["name"], [pixels], outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(body, opset_imports=opsets, ir_version=IR_VERSION)


def take(weights, name, shape):
    """The tensor `name` as f32, its shape checked."""
    if name not in weights:
        raise ValueError(f"the weights have no tensor `{name}`")
    if weights[name].shape != shape:
        raise ValueError(f"tensor `{name}` is {weights[name].shape}, expected {shape}")
    return weights[name].astype(np.float32)
