#!/usr/bin/env python3
"""Computes tokens of a cache anew, from the source images, and compares them with the stored ones.

Nothing of this project's Rust code takes part: nibabel and Pillow read, NumPy prepares, ONNX
Runtime's Python package embeds. Prints the least cosine per column; exits with 1 if one is below
the limit, with 2 if the check cannot be made. Needs Python 3.11 and requirements-test.txt.
"""

import argparse
import functools
import json
import sys
from pathlib import Path

import nibabel
import numpy as np
import onnxruntime
import polars as pl
from PIL import Image

import caches
import wheels

LIMIT = 0.9999
BATCH = 8
TABLES = ("cls", "mean", "patch")
# The steps of a recipe that `rescaled` restates.
STEPS = {
    "slicing": "stored-k-xy",
    "resize": "bicubic-squash",
    "rescale": "min-max-per-channel",
}
# A channel whose range is this many times smaller than its values has no contrast, only rounding.
FLAT = 1e-6


def main():
    arguments = parse_arguments()
    cache = arguments.cache
    meta = read_meta(cache)
    digest = wheels.sha256(arguments.onnx)
    if digest != meta["model"]["sha256"]:
        raise wheels.Failed(
            f"{arguments.onnx}: sha256 is `{digest}`, the cache was made with "
            f"`{meta['model']['sha256']}`"
        )
    slices = choose(read_table(cache, "slices"), arguments.count)
    recipe = meta["preprocess"]
    seen = [
        rescaled(read_slice(root_of(arguments.root) / row["image"], row), recipe)
        for row in slices.iter_rows(named=True)
    ]
    if meta.get("has_pictures"):
        check_pictures(cache, slices["row"], seen)
    pixels = [normalised(channels, recipe) for channels in seen]
    stored = stored_tokens(cache, slices["row"], meta)
    computed = embed(arguments.onnx, np.stack(pixels), list(stored))
    least = {name: float(cosines(stored[name], computed[name]).min()) for name in stored}
    for name, cosine in least.items():
        print(f"{name:<8} {stored[name].shape[1]:>5} tokens a slice, least cosine {cosine:.7f}")
    # NaN fails as well.
    failed = [name for name, cosine in least.items() if not cosine >= LIMIT]
    if failed:
        sys.exit(f"error: {cache}: below {LIMIT}: {', '.join(failed)}")
    print(f"{len(slices)} slices, {len(least)} columns: every token at least {LIMIT}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="compute tokens of a cache anew and compare them")
    parser.add_argument("cache", type=Path, help="a cache: the folder with meta.json")
    parser.add_argument("root", type=Path, help="the dataset's folder, as `extract` was given it")
    parser.add_argument("onnx", type=Path, help="the model that made the cache")
    parser.add_argument("--count", type=int, default=8, help="slices to check (default: 8)")
    arguments = parser.parse_args()
    if arguments.count < 1:
        parser.error("--count: expected at least 1")
    return arguments


def root_of(path):
    """The folder that image paths are relative to: a manifest's, if `path` is one."""
    return path.parent if path.is_file() else path


# The cache.


def read_meta(cache):
    path = cache / "meta.json"
    if not path.is_file():
        raise wheels.Failed(f"{path}: no such file\nhint: pass a folder that `extract` wrote")
    meta = json.loads(path.read_text(encoding="utf-8"))
    for step, expected in STEPS.items():
        found = meta["preprocess"][step]
        if found != expected:
            raise wheels.Failed(f"{path}: `{step}` is `{found}`, expected `{expected}`")
    return meta


def check_pictures(cache, rows, seen):
    """Compares the stored pictures of the chosen rows with `seen`: channels in 0..=1 of each."""
    pictures = read_table(cache, "picture").filter(pl.col("row").is_in(rows.to_list()))
    worst = 0
    for stored, channels in zip(pictures["picture"], seen, strict=True):
        expected = (channels.mean(axis=0) * 255).round()
        stored = np.frombuffer(stored, np.uint8).reshape(expected.shape)
        worst = max(worst, np.abs(stored - expected).max())
    # A half may be rounded either way.
    if worst > 1:
        sys.exit(f"error: {cache}: pictures differ by up to {worst} of 255")
    print(f"{len(pictures)} pictures, greatest difference {worst:.0f} of 255")


def read_table(cache, name):
    return pl.read_parquet(cache / name / "*.parquet").sort("row")


def choose(slices, count):
    """At most `count` rows, evenly spaced, the first and the last among them."""
    if slices.is_empty():
        raise wheels.Failed("the cache has no rows: nothing to check")
    rows = np.unique(np.linspace(0, len(slices) - 1, min(count, len(slices))).round().astype(int))
    return slices[rows.tolist()]


def stored_tokens(cache, rows, meta):
    """Every token column of the chosen rows: its name and its tokens `[N, P, D]`, f64."""
    tokens = {}
    for table in TABLES:
        if not (cache / table).is_dir():
            continue
        frame = pl.scan_parquet(cache / table / "*.parquet")
        frame = frame.filter(pl.col("row").is_in(rows.to_list())).sort("row").collect()
        if frame["row"].to_list() != rows.to_list():
            raise wheels.Failed(f"{cache / table}: not the same rows as in `slices`")
        for name in frame.columns[1:]:
            values = np.frombuffer(b"".join(frame[name].to_list()), "<f2")
            shape = caches.token_shape(meta, name)
            tokens[name] = values.reshape(len(rows), *shape).astype(np.float64)
    return tokens


# The source images.


def read_slice(path, row):
    """The slice that a row of `slices` is about: `[C, H, W]`, f32."""
    read = read_nifti if path.name.endswith((".nii", ".nii.gz")) else read_raster
    image = read(path)(row["slice"]).astype(np.float32)
    found, expected = image.shape[1:], (row["height"], row["width"])
    if found != expected:
        raise wheels.Failed(f"{path}: the slice is {found}, the cache says {expected}")
    return image


@functools.lru_cache(1)
def read_nifti(path):
    """A function from a position on the third stored axis to the slice there."""
    volume = np.asanyarray(nibabel.load(path).dataobj)
    volume = volume.reshape((*volume.shape, 1, 1)[:3])
    return lambda k: volume[None, :, :, k]


@functools.lru_cache(1)
def read_raster(path):
    """A function to the only slice there is; without alpha and palette."""
    image = Image.open(path)
    modes = {"1": "L", "LA": "L", "P": "RGB", "RGBA": "RGB"}
    array = np.asarray(image.convert(modes.get(image.mode, image.mode)))
    return lambda _: np.atleast_3d(array).transpose(2, 0, 1)


# The recipe.


def rescaled(channels, recipe):
    """`[C, H, W]` as `[C, S, S]` in 0..=1."""
    if recipe["non_finite"] == "zero":
        channels = np.where(np.abs(channels) < 1e30, channels, np.float32(0))
    channels = clip(channels, recipe["intensity"])
    # Judged before the resize, whose rounding would make noise of a constant channel.
    size = recipe["image_size"]
    channels = [
        stretch(bicubic(channel, size)) if varies(channel) else np.zeros((size, size))
        for channel in channels
    ]
    return np.stack(channels)


def normalised(channels, recipe):
    """What the model is given: `[3, S, S]`, f32."""
    mean, std = (np.array(recipe[name])[:, None, None] for name in ("mean", "std"))
    return ((channels - mean) / std).astype(np.float32)


def clip(channels, intensity):
    kind, *bounds = intensity.split(":")
    bounds = [float(bound) for bound in bounds]
    if kind == "percentile":
        bounds = np.percentile(channels.astype(np.float64), bounds)
    return channels if kind == "minmax" else np.clip(channels, *np.float32(bounds))


def varies(channel):
    return np.ptp(channel) > FLAT * np.abs(channel).max()


def stretch(channel):
    low, high = channel.min(), channel.max()
    return (channel - low) / (high - low) if varies(channel) else np.zeros_like(channel)


def bicubic(channel, size):
    """As PyTorch's `interpolate`: Keys' kernel, a = -0.75, borders repeated, no antialiasing."""
    rows, columns = (weights(length, size) for length in channel.shape)
    return rows @ channel.astype(np.float64) @ columns.T


def weights(length, size):
    """`[size, length]`: how much of every source pixel goes into every output pixel."""
    at = (np.arange(size) + 0.5) * length / size - 0.5
    result = np.zeros((size, length))
    for tap in (-1, 0, 1, 2):
        source = np.floor(at) + tap
        column = np.clip(source, 0, length - 1).astype(int)
        np.add.at(result, (np.arange(size), column), keys(np.abs(at - source)))
    return result


def keys(x, a=-0.75):
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, far)


# The model.


def embed(onnx, pixels, names):
    """The outputs `names` for `[N, 3, S, S]`: each `[N, P, D]`, f64."""
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    batches = [
        session.run(names, {"pixels": pixels[start : start + BATCH]})
        for start in range(0, len(pixels), BATCH)
    ]
    outputs = [np.concatenate(output).astype(np.float64) for output in zip(*batches)]
    return {
        name: output.reshape(len(pixels), -1, output.shape[-1])
        for name, output in zip(names, outputs)
    }


def cosines(left, right):
    """`[N, P]`: the cosine of every token of two arrays `[N, P, D]`."""
    if left.shape != right.shape:
        raise wheels.Failed(f"tokens are {left.shape} in the cache, {right.shape} by the model")
    norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    return (left * right).sum(axis=-1) / norms


if __name__ == "__main__":
    wheels.run(main)
