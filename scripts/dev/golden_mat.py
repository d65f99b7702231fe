#!/usr/bin/env python3
"""Writes the MATLAB 7.3 files in tests/golden/mat/ with the HDF5 library.

Element [i, j] of every array is 20 * i + j, so what must be read is known. Needs numpy and h5py.
"""

import h5py
import numpy as np

import wheels

FOLDER = wheels.ROOT / "tests" / "golden" / "mat"
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


def numbered(height, width, dtype="<i2"):
    return (20 * np.arange(height)[:, None] + np.arange(width)).astype(dtype)


def write(name, fill):
    """A file of version 0, as MATLAB writes it, behind 512 bytes of text."""
    path = FOLDER / name
    with h5py.File(path, "w", userblock_size=512, libver="earliest") as file:
        fill(file)
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64 HDF5 schema 1.00 ."
    with open(path, "r+b") as file:
        file.write(text.ljust(124) + b"\x00\x02IM")


def types(file):
    for name in TYPES:
        file[name] = numbered(5, 7, "<" + name)
        file["big_" + name] = numbered(5, 7, ">" + name)


def layouts(file):
    group = file.create_group("cjdata")
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    # MATLAB lists the fields of a structure in an attribute of variable length.
    names = np.empty(2, object)
    names[:] = [np.array(list(name), "S1") for name in ("PID", "image")]
    group.attrs.create("MATLAB_fields", names, dtype=h5py.vlen_dtype(np.dtype("S1")))
    units = [[ord(letter)] for letter in "MR020260B"] + [[0]]
    group["PID"] = np.array(units, np.uint16)
    group["contiguous"] = numbered(12, 16)
    chunks = {"whole": (12, 16), "ragged": (5, 7), "two_levels": (1, 2)}
    for name, chunk in chunks.items():
        group.create_dataset(
            name, data=numbered(12, 16), chunks=chunk, compression="gzip", compression_opts=3
        )
        group[name].attrs["MATLAB_class"] = np.bytes_("int16")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    write("types.mat", types)
    write("layouts.mat", layouts)
