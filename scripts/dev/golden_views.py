#!/usr/bin/env python3
"""Writes tests/golden/views.json and the arrays in tests/golden/views/: views by torchvision.

Needs Python 3.11 and the packages in requirements-models.txt. Images are cropped, resized, flipped,
turned, stretched to 0..1 and normalised; label maps are moved alike at their own size. Label maps
that are turned are square, as ours turns them as the square that the model sees. The angles bring no
pixel from the border between two others, where rounding decides which one it is.
"""

import json
import shutil

import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

import wheels

GOLDEN = wheels.ROOT / "tests" / "golden"
MEAN = torch.tensor([0.485, 0.456, 0.406])
STD = torch.tensor([0.229, 0.224, 0.225])
SEED = 7
SIDE = 21
PLAIN = {"crop": None, "flip_rows": False, "flip_columns": False, "degrees": 0.0}
FLIPS = {"flip_rows": True, "flip_columns": True}
# (name, height and width of the input, view)
IMAGES = [
    ("crop", (37, 53), {"crop": [3, 7, 31, 40]}),
    ("crop_flip", (37, 53), {"crop": [0, 12, 37, 41], "flip_columns": True}),
    ("crop_up", (11, 9), {"crop": [1, 0, 9, 8], "flip_columns": True}),
    ("turn", (37, 53), {"degrees": 17.25}),
    ("turn_back_flipped", (37, 53), {"degrees": -63.5, **FLIPS}),
    ("quarter_turn", (30, 30), {"degrees": 90.0}),
]
MASKS = [
    ("mask_crop_flip", (37, 53), {"crop": [3, 7, 31, 40], "flip_columns": True}),
    ("mask_turn", (33, 33), {"degrees": 17.25}),
    ("mask_turn_back_flipped", (34, 34), {"degrees": -63.5, "flip_rows": True}),
    ("mask_quarter_turn_back", (33, 33), {"degrees": -90.0}),
]


def main():
    shutil.rmtree(GOLDEN / "views", ignore_errors=True)
    (GOLDEN / "views").mkdir()
    rows = [case(*image, drawn=picture, view_of=pixels) for image in IMAGES]
    rows += [case(*mask, drawn=labels, view_of=label_map) for mask in MASKS]
    (GOLDEN / "views.json").write_text(json.dumps(rows, indent=1) + "\n")


def case(name, shape, view, drawn, view_of):
    before = drawn(*shape)
    view = PLAIN | view
    return {
        "name": name,
        "is_mask": view_of is label_map,
        "input": save(f"views/{name}.in.npy", before),
        "output": save(f"views/{name}.out.npy", view_of(before, view)),
        "size": SIDE,
        "view": view,
    }


def save(name, array):
    """Saves an array, C-ordered and little-endian, under `name` in the folder; returns `name`."""
    np.save(GOLDEN / name, np.ascontiguousarray(array))
    return name


def picture(height, width):
    """Waves with noise, `[H, W]`, u8."""
    y, x = np.mgrid[:height, :width] / height
    waves = 128 + 70 * np.sin(7 * x + 1) + 50 * np.cos(11 * y - 2 * x)
    noise = np.random.RandomState(SEED).standard_normal((height, width))
    return np.clip(waves + 4 * noise, 1, 255).astype(np.uint8)


def labels(height, width):
    """A label of its own for each pixel, `[H, W]`, u16."""
    return np.arange(1, height * width + 1, dtype=np.uint16).reshape(height, width)


def pixels(image, view):
    """What the model is given: `[3, SIDE, SIDE]`, f32."""
    channel = torch.from_numpy(image.astype(np.float32))[None]
    channel = moved(channel, view, (SIDE, SIDE), InterpolationMode.BICUBIC)
    channel = (channel - channel.min()) / (channel.max() - channel.min())
    return F.normalize(channel.repeat(3, 1, 1), MEAN.tolist(), STD.tolist()).numpy()


def label_map(mask, view):
    # Labels up to 2^24 are exact in f32.
    values = torch.from_numpy(mask.astype(np.float32))[None]
    values = moved(values, view, mask.shape, InterpolationMode.NEAREST_EXACT)
    return values[0].numpy().astype(np.uint16)


def moved(values, view, size, interpolation):
    """`[1, H, W]` cropped, resized, flipped and turned; from outside comes 0."""
    top, left, height, width = view["crop"] or [0, 0, *values.shape[1:]]
    values = F.resized_crop(
        values, top, left, height, width, list(size), interpolation, antialias=False
    )
    if view["flip_rows"]:
        values = F.vertical_flip(values)
    if view["flip_columns"]:
        values = F.horizontal_flip(values)
    return F.rotate(values, view["degrees"], InterpolationMode.NEAREST, fill=0)


if __name__ == "__main__":
    wheels.run(main)
