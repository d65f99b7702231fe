"""Writes a small ONNX graph: graphs.py FILE KIND [SIDE].

- `copy`: tokens are the pixels, `[B, 3, SIDE, SIDE]` as `[B, 3 SIDE SIDE]`; `kernel`: `cls_1` is a sum of two
  of them; `processor`: an inverse hyperbolic sine, for which GPUs have no kernel; `half`: patch tokens are
  f16.
- One convolution over 56 pixels. `rows`: `cls_1` has one row for any batch; `constant`: the weights
  are an attribute of a node, in the file `c` beside the graph; `loop`: `cls_1` waits for 2^62 rounds;
  `memory`: for 2^48 bytes; `version`: the format is of a future version of ONNX.
- `stages`: two stages of different widths and grids, and a third width for the whole image.
"""

import pathlib
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT, FLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16


class Graph:
    """A graph of `pixels`, `[B, 3, side, side]`."""

    def __init__(self, side):
        self.nodes, self.constants, self.outputs = [], [], []
        self.pixels = value("pixels", "batch", 3, side, side)

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, name, values):
        return self.constant(name, np.array(values, np.int64))

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def output(self, name, *shape, kind=FLOAT):
        self.outputs.append(value(name, "batch", *shape, kind=kind))

    def write(self, path, version=9):
        graph = helper.make_graph(
            self.nodes, "graph", [self.pixels], self.outputs, self.constants
        )
        opsets = [helper.make_opsetid("", 20)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version)
        pathlib.Path(path).write_bytes(model.SerializeToString())


def value(name, *shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def copies(path, kind, side):
    side = int(side)
    width, graph = 3 * side**2, Graph(side)
    graph.integers("row", [0, width])
    graph.integers("patch", [0, 1, width])
    graph.node("Reshape", ["pixels", "row"], "mean_1")
    if kind == "half":
        graph.node("Reshape", ["pixels", "patch"], "patches")
        graph.node("Cast", ["patches"], "patch_1", to=FLOAT16)
    else:
        graph.node("Reshape", ["pixels", "patch"], "patch_1")
    row = graph.node("Reshape", ["pixels", "row"], "pixels_in_a_row")
    if kind == "kernel":
        graph.node("Add", [row, row], "cls_1")
    elif kind == "processor":
        graph.node("Asinh", [row], "cls_1")
    else:
        graph.node("Reshape", ["pixels", "row"], "cls_1")
    graph.output("cls_1", width)
    graph.output("mean_1", width)
    graph.output("patch_1", 1, width, kind=FLOAT16 if kind == "half" else FLOAT)
    graph.write(path)


def convolution(path, kind):
    graph = Graph(56)
    graph.constant("w", np.full((32, 3, 14, 14), 0.1, np.float32))
    graph.integers("shape", [0, 32, 16])
    graph.integers("one", [1])
    if kind == "constant":
        weights = graph.constants.pop(0)
        (pathlib.Path(path).parent / "c").write_bytes(weights.raw_data)
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="c")
        graph.node("Constant", [], "w", value=weights)
    graph.node("Conv", ["pixels", "w"], "map", strides=[14, 14])
    graph.node("Reshape", ["map", "shape"], "rows")
    graph.node("Transpose", ["rows"], "patch_1", perm=[0, 2, 1])
    graph.node("ReduceMean", ["patch_1", "one"], "mean_1", keepdims=0)
    if kind == "rows":
        graph.integers("zero", [0])
        graph.node("Slice", ["mean_1", "zero", "one", "zero"], "cls_1")
    elif kind == "loop":
        graph.integers("rounds", 2**62)
        graph.constant("go", np.array(True))
        graph.node("Loop", ["rounds", "go", "mean_1"], "cls_1", body=loop())
    elif kind == "memory":
        graph.integers("many", [2**46])
        graph.node("Shape", ["mean_1"], "axes")
        graph.node("Max", ["axes", "many"], "huge")
        graph.node("ReduceMax", ["huge"], "length", keepdims=1)
        graph.node("ConstantOfShape", ["length"], "zeros")
        graph.node("ReduceSum", ["zeros"], "zero", keepdims=0)
        graph.node("Add", ["mean_1", "zero"], "cls_1")
    else:
        graph.node("Identity", ["mean_1"], "cls_1")
    graph.output("cls_1", 32)
    graph.output("mean_1", 32)
    graph.output("patch_1", 16, 32)
    graph.write(path, version=99 if kind == "version" else 9)


def loop():
    inputs = [
        value("round", kind=TensorProto.INT64),
        value("before", kind=TensorProto.BOOL),
        value("x", "batch", 32),
    ]
    outputs = [value("after", kind=TensorProto.BOOL), value("y", "batch", 32)]
    steps = [
        helper.make_node("Identity", ["before"], ["after"]),
        helper.make_node("Sin", ["x"], ["y"]),
    ]
    return helper.make_graph(steps, "body", inputs, outputs)


def stages(path):
    draw, graph = np.random.RandomState(0), Graph(56)

    def weights(name, *shape):
        return graph.constant(name, draw.standard_normal(shape).astype("f"))

    maps = "pixels"
    for layer, before, width, stride, side in ((2, 3, 8, 4, 14), (1, 8, 16, 2, 7)):
        kernel = weights(f"w{layer}", width, before, stride, stride)
        maps = graph.node("Conv", [maps, kernel], f"map{layer}", strides=[stride] * 2)
        shape = graph.integers(f"shape{layer}", [0, width, side * side])
        rows = graph.node("Reshape", [maps, shape], f"rows{layer}")
        graph.node("Transpose", [rows], f"patch_{layer}", perm=[0, 2, 1])
        axis = graph.integers(f"axis{layer}", [1])
        graph.node("ReduceMean", [f"patch_{layer}", axis], f"mean_{layer}", keepdims=0)
        graph.output(f"patch_{layer}", side * side, width)
        graph.output(f"mean_{layer}", width)
    graph.node("Identity", ["mean_2"], "cls_2")
    graph.node("MatMul", ["mean_1", weights("head", 16, 24)], "cls_1")
    graph.output("cls_2", 8)
    graph.output("cls_1", 24)
    graph.write(path)


def main():
    path, kind, *side = sys.argv[1:]
    if kind == "stages":
        stages(path)
    elif side:
        copies(path, kind, *side)
    else:
        convolution(path, kind)


if __name__ == "__main__":
    main()
