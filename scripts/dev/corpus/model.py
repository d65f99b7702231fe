"""Weights in safetensors files, and ONNX files."""

import json

from onnx import TensorProto, helper

from corpus.files import changed, cut

PATCH = "embeddings.patch_embeddings.projection.weight"


def safetensors(tensors, data):
    """A file of `tensors`: name to `(dtype, shape, [first byte, end])`."""
    keys = ("dtype", "shape", "data_offsets")
    header = {name: dict(zip(keys, tensor)) for name, tensor in tensors.items()}
    return with_header(json.dumps(header).encode(), data)


def with_header(header, data=b""):
    return len(header).to_bytes(8, "little") + header + data


def onnx(location):
    """A graph with one constant, which lies in the file `location`."""
    constant = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40])
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value=location)
    graph = helper.make_graph([], "graph", [], [], initializer=[constant])
    return helper.make_model(graph).SerializeToString(deterministic=True)


def checkpoints():
    shape = [32, 3, 14, 14]
    size = 4 * 32 * 3 * 14 * 14
    small = {PATCH: ("F32", [1, 2], [0, 8])}
    vast = 1 << 62
    files = {
        "one-tensor": safetensors(small, bytes(8)),
        "short": safetensors({PATCH: ("F32", shape, [0, size])}, bytes(8)),
        "bytes-left": safetensors(small, bytes(9)),
        "vast-shape": safetensors({PATCH: ("F32", [vast, vast], [0, 8])}, bytes(8)),
        "vast-offsets": safetensors({PATCH: ("U8", [vast], [0, vast])}, bytes(8)),
        "last-offset": safetensors({PATCH: ("U8", [8], [2**64 - 8, 2**64 - 1])}, bytes(8)),
        "backwards": safetensors({PATCH: ("F32", [1, 2], [8, 0])}, bytes(8)),
        "overlapping": safetensors(small | {"a": ("F32", [2], [4, 12])}, bytes(12)),
        "twice": safetensors(small | {f"a.{PATCH}": ("F32", [2], [8, 16])}, bytes(16)),
        "other-type": safetensors({PATCH: ("I64", [1], [0, 8])}, bytes(8)),
        "no-axes": safetensors({PATCH: ("F32", [], [0, 4])}, bytes(4)),
        "no-values": safetensors({PATCH: ("F32", [0, 3], [0, 0])}, b""),
        "other-names": safetensors({"a": ("F32", [2], [0, 8])}, bytes(8)),
        "no-tensors": with_header(b"{}"),
        "no-header": bytes(8),
        "list": with_header(b"[]"),
        "deep": with_header(b'{"a":' * 400),
        "negative": with_header(json.dumps({PATCH: {"shape": [-1]}}).encode()),
        "latin-1": with_header(b'{"\xe9": {}}'),
        "endless-header": (2**64 - 1).to_bytes(8, "little") + b"{}",
        "long-header": (1 << 25).to_bytes(8, "little") + b"{}",
        "empty": b"",
    }
    files = {f"{name}.safetensors": content for name, content in files.items()}
    return files | cut("cut.safetensors", files["one-tensor.safetensors"], 7, 8, 40)


def graphs():
    beside = onnx("tiny-vit.safetensors")
    files = {
        "beside": beside,
        "itself": onnx("other.onnx"),
        "absent": onnx("absent.bin"),
        "outside": onnx("../../../../etc/passwd"),
        "absolute": onnx("/dev/zero"),
        "folder": onnx(".."),
        "nul": onnx("a\0b"),
        "blank": onnx(""),
        "long-field": changed(beside, (1, b"\xff\xff\xff\xff\x7f")),
        "deep": b"\x3a\x7f" * 200,
    }
    files = {f"{name}.onnx": content for name, content in files.items()}
    return files | cut("cut.onnx", beside, 5, 20, len(beside) - 1)


def files():
    return checkpoints() | graphs()
