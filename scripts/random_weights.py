#!/usr/bin/env python3
"""Writes random weights of a model's full size: random_weights NAME OUT.

For the cards in onnx_models/ whose tensors have Hugging Face's Dinov2 names. One tensor is held in
memory at a time. Speed, memory and precision can be measured with such weights, and nothing else.
Needs Python 3.11 and NumPy.
"""

import argparse
import json
import tomllib
from pathlib import Path

import numpy as np

import wheels

SEED = 20240614
MODELS = wheels.ROOT / "onnx_models"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a model, by the name of its card")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    arguments = parser.parse_args()
    write(read_card(arguments.name), arguments.out)


def read_card(name):
    path = MODELS / f"{name}.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise wheels.Failed(f"{path}: could not read the card: {error}") from error


def write(card, path):
    """The file is little-endian f32 after a header that says where each tensor lies."""
    if card.get("vit", {}).get("tensors") != "dinov2":
        raise wheels.Failed(
            f"{card['name']}: found other tensors than Dinov2's\n"
            "hint: give a model that has them, for instance `dinov2-b14`"
        )
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes(card).items():
        begin, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, values in tensors(card):
            values.astype("<f4").tofile(file)


def tensors(card):
    """Names and values of about the scale of trained ones, so that tokens depend on the image."""
    draw = np.random.RandomState(SEED)
    for name, shape in shapes(card).items():
        yield name, tensor(draw, name, shape)


def shapes(card):
    width, patch = card["width"], card["patch_size"]
    grid = card["native_size"] // patch
    result = {
        "embeddings.cls_token": (1, 1, width),
        "embeddings.position_embeddings": (1, 1 + grid * grid, width),
        "embeddings.patch_embeddings.projection.weight": (width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
    }
    if registers := card["vit"].get("registers"):
        result["embeddings.register_tokens"] = (1, registers, width)
    block = block_shapes(width, card["vit"]["activation"] == "swiglu")
    for index in range(card["depth"]):
        prefix = f"encoder.layer.{index}."
        result |= {prefix + name: shape for name, shape in block.items()}
    return result


def block_shapes(width, gated):
    linear = {
        "attention.attention.query": (width, width),
        "attention.attention.key": (width, width),
        "attention.attention.value": (width, width),
        "attention.output.dense": (width, width),
    }
    if gated:
        # Two thirds of the usual width, rounded up to a multiple of 8.
        hidden = -(-(8 * width // 3) // 8) * 8
        linear |= {"mlp.weights_in": (2 * hidden, width), "mlp.weights_out": (width, hidden)}
    else:
        linear |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    vectors = ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"]
    vectors += ["layer_scale1.lambda1", "layer_scale2.lambda1"]
    result = {name: (width,) for name in vectors}
    for name, shape in linear.items():
        result |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return result


def tensor(draw, name, shape):
    """Gains lie near 1, matrices keep the variance of their input, all else is small."""
    values = draw.standard_normal(shape)
    if name.endswith(("norm1.weight", "norm2.weight", "layernorm.weight", "lambda1")):
        values = 1 + 0.2 * values
    elif len(shape) > 1 and not any(part in name for part in ("cls", "register", "position")):
        values = values / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.2 * values
    return values.astype(np.float32)


if __name__ == "__main__":
    wheels.run(main)
