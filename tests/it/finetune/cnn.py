"""Writes random weights of a CNN and its graph beside its card: cnn.py CARD SIZE.

The graph is that of scripts/export_model.py, by PyTorch's older exporter, which needs the package `onnx` only.
"""

import sys
import tomllib
import warnings
from pathlib import Path

import onnx
import torch
import torchvision
from safetensors.torch import save_file

import originals

warnings.simplefilter("ignore")
path, size = Path(sys.argv[1]), int(sys.argv[2])
card = tomllib.loads(path.read_text(encoding="utf-8"))
torch.manual_seed(0)
tensors = torchvision.models.get_model(card["python"]["model"], weights=None).state_dict()
save_file(tensors, path.with_suffix(".safetensors"))
tokens = originals.Tokens(originals.build(card, tensors), card["layers"]).eval()
images = torch.zeros(2, 3, size, size)
names = originals.output_names(card["layers"])
graph = path.with_name(f"{card['name']}@{size}.onnx")
torch.onnx.export(
    tokens,
    (images,),
    graph,
    dynamo=False,
    opset_version=18,
    input_names=["pixels"],
    output_names=names,
    dynamic_axes={name: {0: "batch"} for name in ("pixels", *names)},
)
# The exporter leaves all lengths open, of which only that of the batch is.
model = onnx.load(graph)
for output, values in zip(model.graph.output, tokens(images)):
    for axis, length in zip(output.type.tensor_type.shape.dim, values.shape):
        if axis.dim_param != "batch":
            axis.dim_value = length
onnx.save(model, graph)
