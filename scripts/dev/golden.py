#!/usr/bin/env python3
"""Writes the files in tests/golden/ that the Rust code is compared with.

They come from PyTorch, NumPy, nibabel, Pillow and ONNX Runtime, not from this project's code.
Needs Python 3.11 and the packages in requirements-golden.txt.
"""

import gzip
import json
import shutil

import nibabel
import numpy as np
import onnxruntime
import torch
from PIL import Image

import wheels

GOLDEN = wheels.ROOT / "tests" / "golden"
MODEL = wheels.ROOT / "onnx_models" / "tiny-vit@56.onnx"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SEED = 7


def main():
    for name in ("preprocess", "tokens", "nifti", "raster"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        (GOLDEN / name).mkdir(parents=True)
    write_preprocess()
    write_tokens()
    write_nifti()
    write_raster()


def write_index(name, rows):
    (GOLDEN / name).write_text(json.dumps(rows, indent=1) + "\n")


def save(name, array):
    """Saves an array, C-ordered and little-endian, under `name` in the folder; returns `name`."""
    np.save(GOLDEN / name, np.ascontiguousarray(array))
    return name


# Preprocessing.


def picture(height, width, seed=SEED):
    """A smooth picture with an edge and some noise, about 0 to 1, `[H, W]`."""
    draw = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width] / height
    waves = 0.5 + 0.25 * np.sin(7 * x + 1) + 0.2 * np.cos(11 * y - 2 * x)
    edge = 0.3 * (x + y > 0.9)
    return waves + edge + 0.05 * draw.standard_normal((height, width))


def as_type(values, low, high, dtype):
    """`values` 0 to 1 stretched to `low..high`, rounded and clipped to them."""
    return np.clip(np.rint(low + values * (high - low)), low, high).astype(dtype)


def preprocess_cases():
    """(name, input `[H, W]` or `[H, W, 3]`, size, intensity)."""
    colours = np.stack([picture(31, 45, seed) for seed in (1, 2, 3)], axis=2)
    ct = as_type(picture(53, 47), -2048, 3071, np.int16)
    return [
        ("grey8_down", as_type(picture(37, 53), 0, 255, np.uint8), 28, "minmax"),
        ("grey8_up", as_type(picture(11, 9), 0, 255, np.uint8), 28, "minmax"),
        ("grey8_same_size", as_type(picture(28, 28), 0, 255, np.uint8), 28, "minmax"),
        ("grey8_down_and_up", as_type(picture(17, 90), 0, 255, np.uint8), 56, "minmax"),
        ("grey16", as_type(picture(64, 50), 0, 65535, np.uint16), 28, "minmax"),
        ("rgb8", as_type(colours, 0, 255, np.uint8), 28, "minmax"),
        ("constant", np.full((13, 21), 91, np.uint8), 28, "minmax"),
        ("constant_by_window", ct, 28, "window:4000:5000"),
        ("ct_minmax", ct, 28, "minmax"),
        ("ct_window", ct, 28, "window:-1024:600"),
        ("ct_percentile", ct, 28, "percentile:5:95"),
        ("mr_percentile", as_type(picture(40, 33), 0, 1800, np.uint16), 56, "percentile:0.5:99.5"),
    ]


def write_preprocess():
    rows = []
    for name, image, size, intensity in preprocess_cases():
        pixels = preprocess(image, size, intensity)
        rows.append(
            {
                "name": name,
                "input": save(f"preprocess/{name}.in.npy", image),
                "output": save(f"preprocess/{name}.out.npy", pixels),
                "size": size,
                "intensity": intensity,
            }
        )
    write_index("preprocess.json", rows)


def preprocess(image, size, intensity):
    """Clip, resize, stretch each channel to 0..1, normalise: `[3, size, size]`, f32."""
    channels = np.atleast_3d(image).transpose(2, 0, 1).astype(np.float32)
    clipped = clip(channels, intensity)
    # Judged before the resize, whose rounding would make noise of a constant channel.
    varies = np.ptp(clipped, axis=(1, 2)) > 0
    resized = resize(clipped, size)
    channels = np.stack([stretch(channel) for channel in resized]) * varies[:, None, None]
    channels = np.broadcast_to(channels, (3, size, size))
    return ((channels - MEAN[:, None, None]) / STD[:, None, None]).astype(np.float32)


def clip(channels, intensity):
    kind, *bounds = intensity.split(":")
    bounds = [float(bound) for bound in bounds]
    if kind == "percentile":
        bounds = np.percentile(channels.astype(np.float64), bounds)
    return channels if kind == "minmax" else np.clip(channels, *np.float32(bounds))


def resize(channels, size):
    tensor = torch.from_numpy(channels)[None]
    resized = torch.nn.functional.interpolate(
        tensor, size=(size, size), mode="bicubic", align_corners=False, antialias=False
    )
    return resized[0].numpy()


def stretch(channel):
    low, high = channel.min(), channel.max()
    return (channel - low) / (high - low) if high > low else np.zeros_like(channel)


# Tokens.


def write_tokens():
    """A drawn chest X-ray and what the tiny model makes of it."""
    path = GOLDEN / "tokens" / "xray.png"
    Image.fromarray(xray()).save(path)
    pixels = preprocess(np.asarray(Image.open(path)), 56, "minmax")
    save("tokens/pixels.npy", pixels)
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    names = [f"cls_{layer}" for layer in (5, 4, 3, 2, 1)] + ["patch_1"]
    *cls, patch = session.run(names, {"pixels": pixels[None]})
    save("tokens/cls.npy", np.concatenate(cls))
    save("tokens/patch_1.npy", patch[0])


def xray():
    """Two dark lungs, a bright spine and ribs, `[70, 90]`."""
    y, x = np.mgrid[:70, :90] / 70.0
    image = 0.6 + 0.15 * np.sin(25 * y) * (np.abs(x - 0.64) < 0.5)
    for centre in (0.36, 0.92):
        image -= 0.4 * (((x - centre) / 0.22) ** 2 + ((y - 0.48) / 0.36) ** 2 < 1)
    image += 0.25 * (np.abs(x - 0.64) < 0.05)
    image += 0.02 * np.random.RandomState(SEED).standard_normal(image.shape)
    return as_type(image, 0, 255, np.uint8)


# Files.


def nifti_cases():
    """(file, array, scl_slope and scl_inter, byte order)."""
    draw = np.random.RandomState(SEED)
    shape, unscaled = (5, 4, 3), (np.nan, np.nan)

    def integers(dtype, shape=shape):
        bounds = np.iinfo(dtype)
        return draw.randint(bounds.min, bounds.max, shape, np.int64).astype(dtype)

    real = 1000 * draw.standard_normal(shape)
    return [
        ("uint8.nii", integers(np.uint8), unscaled, "<"),
        ("int8.nii", integers(np.int8), unscaled, "<"),
        ("int16.nii.gz", integers(np.int16), unscaled, "<"),
        ("uint16.nii", integers(np.uint16), unscaled, "<"),
        ("int32.nii", integers(np.int32), unscaled, "<"),
        ("float32.nii.gz", real.astype(np.float32), unscaled, "<"),
        ("float64.nii", real, unscaled, "<"),
        ("int16_scaled.nii", integers(np.int16), (0.5, -1024), "<"),
        ("uint8_scaled.nii.gz", integers(np.uint8), (2.25, 10), "<"),
        ("slope_zero.nii", integers(np.uint8), (0, 7), "<"),
        ("int16_big_endian.nii", integers(np.int16), unscaled, ">"),
        ("float32_big_endian_scaled.nii.gz", real.astype(np.float32), (3, 1), ">"),
        ("four_axes.nii", integers(np.int16, (5, 4, 3, 1)), unscaled, "<"),
        ("one_slice.nii", integers(np.uint8, (7, 6, 1)), unscaled, "<"),
        ("two_axes.nii", integers(np.uint8, (7, 6)), unscaled, "<"),
    ]


def write_nifti():
    rows = []
    for name, array, scale, order in nifti_cases():
        data = nifti_bytes(array, scale, order)
        packed = gzip.compress(data, mtime=0) if name.endswith(".gz") else data
        (GOLDEN / "nifti" / name).write_bytes(packed)
        image = nibabel.load(GOLDEN / "nifti" / name)
        values = save(f"nifti/{name}.npy", image.get_fdata())
        spacing = [float(step) for step in image.header.get_zooms()[:3]]
        rows.append({"file": f"nifti/{name}", "values": values, "spacing_mm": spacing})
    write_index("nifti.json", rows)


def nifti_bytes(array, scale, order):
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(array.dtype)
    image = nibabel.Nifti1Image(array, np.diag([0.75, 0.5, 2.5, 1]), header)
    data = bytearray(image.to_bytes())
    # nibabel chooses the scale itself, so it is written over: bytes 112 and 116 of the header.
    data[112:120] = np.array(scale, f"{order}f4").tobytes()
    return bytes(data)


def raster_cases():
    """(file, picture, options to save it with)."""
    grey = as_type(picture(13, 17), 0, 255, np.uint8)
    deep = as_type(picture(13, 17), 0, 65535, np.uint16)
    colours = np.stack([as_type(picture(13, 17, seed), 0, 255, np.uint8) for seed in range(4)], 2)
    return [
        ("grey8.png", Image.fromarray(grey), {}),
        ("grey16.png", Image.fromarray(deep), {}),
        ("rgb8.png", Image.fromarray(colours[..., :3]), {}),
        ("rgba8.png", Image.fromarray(colours), {}),
        ("one_bit.png", Image.fromarray(grey).convert("1"), {}),
        ("palette.png", Image.fromarray(colours[..., :3]).quantize(16), {}),
        ("grey.jpeg", Image.fromarray(grey), {"quality": 90}),
    ]


def write_raster():
    rows = []
    for name, image, options in raster_cases():
        path = GOLDEN / "raster" / name
        image.save(path, **options)
        values = save(f"raster/{name}.npy", read_raster(path))
        rows.append({"file": f"raster/{name}", "values": values})
    write_index("raster.json", rows)


def read_raster(path):
    """`[H, W]` u8 or u16, or `[H, W, 3]` u8 without alpha and palette."""
    image = Image.open(path)
    image = image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode))
    array = np.asarray(image)
    return array[..., :3] if array.ndim == 3 else array


if __name__ == "__main__":
    wheels.run(main)
