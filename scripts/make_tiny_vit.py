#!/usr/bin/env python3
"""Writes `onnx_models/tiny-vit.safetensors`: seeded random weights of a ViT, for tests.

Needs Python 3.11 and the packages in requirements-export.txt.
"""

import tomllib

import numpy as np
from safetensors.numpy import save_file

import wheels

SEED = 20240614
MODELS = wheels.ROOT / "onnx_models"


def main():
    card = tomllib.loads((MODELS / "tiny-vit.toml").read_text(encoding="utf-8"))
    target = MODELS / "tiny-vit.safetensors"
    save_file(random_weights(card), target)
    print(f"{wheels.sha256(target)}  {target}")


def random_weights(card):
    """Weights of about the scale that trained ones have, so that tokens depend on the image."""
    draw = np.random.RandomState(SEED)
    return {name: tensor(draw, name, shape) for name, shape in shapes(card).items()}


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
    for index in range(card["depth"]):
        prefix = f"encoder.layer.{index}."
        result |= {prefix + name: shape for name, shape in block_shapes(width).items()}
    return result


def block_shapes(width):
    linear = {
        "attention.attention.query": (width, width),
        "attention.attention.key": (width, width),
        "attention.attention.value": (width, width),
        "attention.output.dense": (width, width),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
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
    elif len(shape) > 1 and "cls" not in name and "position" not in name:
        values = values / np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.2 * values
    return values.astype(np.float32)


if __name__ == "__main__":
    wheels.run(main)
