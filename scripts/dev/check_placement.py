#!/usr/bin/env python3
"""Puts the masks of a cache back where they were cut from, and compares them with the source.

Nothing of this project's Rust code takes part: Polars reads the cache, nibabel the source. Exits with
1 if a voxel has another label or lies elsewhere, with 2 if the check cannot be made. Needs Python 3.11
and requirements-test.txt.
"""

import argparse
import sys
from pathlib import Path

import nibabel
import numpy as np
import polars as pl

import wheels

TOLERANCE_MM = 1e-6
CUT = ("slice", "row", "column")


def main():
    arguments = parse_arguments()
    image, mask = nibabel.load(arguments.image), nibabel.load(arguments.mask)
    rows = read_rows(arguments.cache, arguments.image.name)
    cut = np.stack([read_mask(row) for row in rows.iter_rows(named=True)])
    stored = as_stored(cut, rows["stored_axes"][0])
    if not np.array_equal(stored, np.asanyarray(mask.dataobj)):
        sys.exit(f"error: {arguments.cache}: not the labels of {arguments.mask}")
    # For every voxel as stored, its slice, row and column.
    places = np.stack([as_stored(axis, rows["stored_axes"][0]) for axis in np.indices(cut.shape)])
    affine = np.array(rows["affine"][0].to_list()).reshape(3, 4)
    error = np.abs(to_mm(affine, places) - to_mm(image.affine[:3], np.indices(stored.shape)))
    # NaN fails as well.
    if not error.max() <= TOLERANCE_MM:
        sys.exit(f"error: {arguments.cache}: voxels lie up to {error.max()} mm from where they were")
    print(f"{stored.size} voxels as in {arguments.mask}, within {error.max():.1e} mm")


def parse_arguments():
    parser = argparse.ArgumentParser(description="put masks of a cache back onto their source")
    parser.add_argument("cache", type=Path, help="a cache: the folder with meta.json")
    parser.add_argument("image", type=Path, help="the NIfTI that the slices were cut from")
    parser.add_argument("mask", type=Path, help="its label map")
    return parser.parse_args()


def read_rows(cache, image):
    """The plain slices of an image, all of them, in order, with their masks."""
    masks = pl.read_parquet(cache / "mask" / "*.parquet")
    rows = pl.read_parquet(cache / "slices" / "*.parquet").join(masks, on="row")
    rows = rows.filter(pl.col("image").str.split("/").list.last() == image, view=0).sort("slice")
    if rows["slice"].to_list() != list(range(max(len(rows), 1))):
        raise wheels.Failed(f"{cache}: not all slices of {image}")
    for column in ("affine", "stored_axes"):
        if rows[column].null_count() or rows[column].n_unique() != 1:
            raise wheels.Failed(f"{cache}: `{column}` is not the same for all slices of {image}")
    return rows


def read_mask(row):
    return np.frombuffer(row["mask"], "<u2").reshape(row["height"], row["width"])


def as_stored(cut, words):
    """`[slices, rows, columns]` as the source's `[i, j, k]`."""
    words = words.split(" ")
    stored = cut.transpose([CUT.index(word[:-1]) for word in words])
    return stored[tuple(slice(None, None, int(word[-1] + "1")) for word in words)]


def to_mm(affine, indices):
    """`[3, …]`: where voxels of these indices (`[3, …]`) lie."""
    return np.tensordot(affine[:, :3], indices, 1) + affine[:, 3].reshape(3, 1, 1, 1)


if __name__ == "__main__":
    wheels.run(main)
