#!/usr/bin/env python3
"""Prints a card's `[[reference]]`: tokens of a DINOv2 model as transformers computes them.

For models with Hugging Face's Dinov2 names; the position table is resized as torch.hub's DINOv2
does, where the card says so. Needs Python 3.11 and the packages in requirements-models.txt.
"""

import argparse
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Dinov2Config, Dinov2Model

import wheels

MODELS = wheels.ROOT / "onnx_models"
SHOWN = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a model whose weights are in onnx_models/")
    parser.add_argument("--image-size", type=int, help="pixels a side (default: the card's)")
    arguments = parser.parse_args()
    card = tomllib.loads((MODELS / f"{arguments.name}.toml").read_text(encoding="utf-8"))
    size = arguments.image_size or card["image_size"]
    tensors = load_file(MODELS / f"{arguments.name}.safetensors")
    numbers = cls_token(card, tensors, size)[:SHOWN]
    print(f"[[reference]]\nimage_size = {size}")
    print(f"cls_1 = [{', '.join(f'{number:.5f}' for number in numbers)}]")


def cls_token(card, tensors, size):
    """The last block's CLS token of the pattern, through the last norm, `[D]`."""
    grid = size // card["patch_size"]
    native = card["native_size"] // card["patch_size"]
    name = "embeddings.position_embeddings"
    if grid != native and card["vit"]["positions"] == "hub":
        tensors[name] = resized(tensors[name], native, grid)
        native = grid
    config = Dinov2Config(
        hidden_size=card["width"],
        num_hidden_layers=card["depth"],
        num_attention_heads=card["heads"],
        image_size=native * card["patch_size"],
        patch_size=card["patch_size"],
    )
    tensors.setdefault("embeddings.mask_token", torch.zeros(1, card["width"]))
    with tempfile.TemporaryDirectory() as folder:
        # Only a folder is read with the names that the hub's files have.
        save_file(tensors, Path(folder) / "model.safetensors", {"format": "pt"})
        config.save_pretrained(folder)
        model = Dinov2Model.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(pattern(size)).last_hidden_state[0, 0].tolist()


def resized(table, native, grid):
    """As torch.hub's: by a scale factor with an offset of 0.1."""
    patches = table[:, 1:].reshape(1, native, native, -1).permute(0, 3, 1, 2)
    patches = torch.nn.functional.interpolate(
        patches, scale_factor=(grid + 0.1) / native, mode="bicubic", align_corners=False
    )
    return torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], 1)


def pattern(size):
    """`sin(0.7 c + 0.05 y + 0.03 x)`, `[1, 3, size, size]`."""
    channel, y, x = np.mgrid[:3, :size, :size]
    return torch.tensor(np.sin(0.7 * channel + 0.05 * y + 0.03 * x).astype(np.float32))[None]


if __name__ == "__main__":
    wheels.run(main)
