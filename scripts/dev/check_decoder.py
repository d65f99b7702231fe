#!/usr/bin/env python3
"""Compares label maps that `probe predict` wrote with what a decoder's ONNX file says of the cache.

None of this project's Rust code takes part: Polars reads the tokens, ONNX Runtime's Python package
decodes, NumPy takes the class of the highest logit, and nibabel or Pillow reads the label maps. Of
slices whose own size is not the decoder's S, only the affine is compared. Prints the share of equal
pixels; exits with 1 if it is below the limit. Needs Python 3.11 and requirements-test.txt.
"""

import argparse
import json
import sys
from pathlib import Path

import nibabel
import numpy as np
import onnxruntime
import polars as pl
from PIL import Image

import caches

LIMIT = 0.999


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path, help="folder of the cache")
    parser.add_argument("onnx", type=Path, help="the decoder")
    parser.add_argument("label_maps", type=Path, help="folder of label maps of this cache")
    parser.add_argument("--root", type=Path, help="the dataset's root: affines are compared with the images'")
    arguments = parser.parse_args()
    meta = json.loads((arguments.cache / "meta.json").read_text())
    slices = table(arguments.cache, "slices").filter(pl.col("view") == 0)
    session = onnxruntime.InferenceSession(arguments.onnx)
    about = json.loads(session.get_modelmeta().custom_metadata_map["slicebank.decoder"])
    names = [f"patch_{layer}" for layer in about["layers"]]
    tokens = table(arguments.cache, "patch").select("row", *names)
    equal = total = files = 0
    for (sample,), rows in slices.group_by("sample", maintain_order=True):
        stored = label_map(arguments.label_maps / sample)
        if stored is None:
            continue
        files += 1
        labels, affine = stored
        if arguments.root and affine is not None:
            image = nibabel.load(arguments.root / rows["image"][0])
            if not np.allclose(affine, image.affine, atol=1e-4) or labels.shape != image.shape:
                print(f"{sample}: the label map does not lie as its image", file=sys.stderr)
                return 1
        side = about["image_size"]
        if (rows["height"][0], rows["width"][0]) != (side, side):
            continue
        fed = {name: read_tokens(tokens, rows["row"], name, meta) for name in names}
        (logits,) = session.run(None, fed)
        expected = np.array(about["values"])[logits.argmax(axis=1)]
        found = labels[None] if labels.ndim == 2 else np.moveaxis(labels, 2, 0)
        equal += int((expected == found).sum())
        total += expected.size
    if files == 0:
        print(f"{arguments.label_maps}: no label map of the cache's samples", file=sys.stderr)
        return 2
    share = equal / total if total else 1.0
    print(f"{files} label maps, {total} pixels compared, {share:.6f} equal")
    return int(share < LIMIT)


def table(cache, name):
    return pl.read_parquet(cache / name / "*.parquet")


def read_tokens(tokens, rows, name, meta):
    """`[B, P, D]` in f32."""
    column = tokens.filter(pl.col("row").is_in(rows.implode()))[name]
    values = [np.frombuffer(value, "<f2") for value in column]
    return np.stack(values).reshape(len(values), *caches.token_shape(meta, name)).astype(np.float32)


def label_map(path):
    """Labels and affine (`None` of a PNG), or `None` if there is no such file."""
    volume, picture = Path(f"{path}.nii.gz"), Path(f"{path}.png")
    if volume.exists():
        image = nibabel.load(volume)
        return np.asarray(image.dataobj), image.affine
    if picture.exists():
        return np.asarray(Image.open(picture)), None
    return None


if __name__ == "__main__":
    sys.exit(main())
