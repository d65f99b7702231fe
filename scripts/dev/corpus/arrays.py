"""HDF5 and NumPy archives."""

import io
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from corpus.files import MB, changed, cut
from fixtures import matlab

# HDF5.


def mat():
    """The arrays of a slice, in one chunk, in many and in none; addresses count from byte 512."""
    files = {
        "whole.mat": hdf5(None),
        "chunks.mat": hdf5((2, 4)),
        "contiguous.mat": hdf5(None, is_contiguous=True),
    }
    whole = files["chunks.mat"]
    tree = whole.index(b"TREE")
    leaf = whole.rindex(b"TREE")
    heap = whole.index(b"HEAP")
    to_itself = struct.pack("<Q", tree - 512)
    files |= {
        "old.mat": b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + bytes(64),
        "tree-in-itself.mat": changed(whole, (tree + 8, to_itself * 2), (tree + 32, to_itself)),
        "leaf-in-itself.mat": changed(whole, (leaf + 5, b"\x01"), (leaf + 48, to_itself)),
        "tree-nowhere.mat": changed(whole, (tree + 32, b"\xf0" * 8)),
        "tree-of-many.mat": changed(whole, (tree + 6, b"\xff\xff"), (leaf + 6, b"\xff\xff")),
        "heap-of-many.mat": changed(whole, (heap + 8, b"\xff" * 16)),
        "root-nowhere.mat": changed(whole, (512 + 24, b"\x10" * 64)),
        "other-superblock.mat": changed(whole, (512 + 8, b"\x03\xff\xff\xff")),
    }
    noise = np.random.default_rng(7)
    for k in range(3):
        at = int(noise.integers(520, len(whole) - 4))
        files[f"noise-{k:02}.mat"] = changed(whole, (at, noise.bytes(4)))
    return files | cut("cut.mat", whole, 0, 128, 512, 520, 600, 1500, len(whole) - 100)


def hdf5(chunks, is_contiguous=False):
    image = np.arange(70, dtype=np.int16).reshape(7, 10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.mat"
        with matlab.MatFile(path, meta_block_size=256) as file:
            group = file.create_group("cjdata")
            matlab.write_array(group, "image", image, "int16", chunks, is_contiguous)
        return path.read_bytes()


# NumPy archives.


def array(shape, content, kind="|u1", extra="", order="False"):
    header = f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, {extra}}}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def archive(**entries):
    """An archive of arrays; each is packed, and has the time 0."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def medmnist(train_images, train_labels=None):
    """An archive in which only the train arrays are odd."""
    images, labels = array("(2, 5, 4)", bytes(range(40))), array("(2, 1)", b"\0\1")
    entries = {"train_images": train_images, "train_labels": train_labels or labels}
    for split in ("val", "test"):
        entries |= {f"{split}_images": images, f"{split}_labels": labels}
    return archive(**entries)


def npz():
    pixels = bytes(range(40))
    whole = medmnist(array("(2, 5, 4)", pixels))
    end = whole.rindex(b"PK\x05\x06")
    central = whole.index(b"PK\x01\x02")
    shapes = {
        "many-images": "(1000000000, 5, 4)",
        "huge-images": "(2, 1000000, 1000000)",
        "overflow": "(99999999999999999999, 5, 4)",
        "overflow-by-product": "(4294967296, 4294967296, 4294967296)",
        "no-images": "(0, 5, 4)",
        "empty-images": "(2, 0, 4)",
        "negative": "(-2, 5, 4)",
        "one-axis": "(40,)",
        "no-axes": "()",
        "many-axes": "(2, 1, 1, 1, 1, 5, 4)",
        "no-shape": "",
        "bracket-open": "(2, 5, 4",
    }
    files = {f"shape-{name}.npz": medmnist(array(shape, pixels)) for name, shape in shapes.items()}
    files |= {
        "whole.npz": whole,
        "too-short.npz": medmnist(array("(2, 5, 4)", pixels[:-1])),
        "too-long.npz": medmnist(array("(2, 5, 4)", pixels * 9)),
        "objects.npz": medmnist(array("(2, 5, 4)", pixels, "|O")),
        "floats.npz": medmnist(array("(2, 5, 4)", pixels, "<f8")),
        "fortran.npz": medmnist(array("(2, 5, 4)", pixels, order="True")),
        "deep-header.npz": medmnist(array("(2, 5, 4)", pixels, extra="'a': " + "(" * 1000)),
        "header-longer-than-file.npz": medmnist(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"),
        "no-numpy.npz": medmnist(b"text"),
        "labels-of-many.npz": medmnist(
            array("(2, 5, 4)", pixels), array("(2, 100000000)", bytes(MB))
        ),
        "bomb.npz": medmnist(array("(4, 1024, 1024)", bytes(4 * MB))),
        "bomb-that-lies.npz": medmnist(array("(2, 5, 4)", pixels + bytes(2 * MB))),
        "nothing.npz": archive(),
        "central-nowhere.npz": changed(whole, (end + 16, b"\xf0\xff\xff\x7f")),
        "many-entries.npz": changed(whole, (end + 8, b"\xff\xff\xff\xff")),
        "encrypted.npz": changed(whole, (central + 8, b"\x01"), (6, b"\x01")),
        "other-method.npz": changed(whole, (central + 10, b"\x5d"), (8, b"\x5d")),
        "entry-nowhere.npz": changed(whole, (central + 42, b"\xff\xff\xff\x7f")),
        "sizes-lie.npz": changed(whole, (central + 20, b"\xfe\xff\xff\xff" * 2)),
        "wrong-checksum.npz": changed(whole, (central + 16, b"\0\0\0\0"), (14, b"\0\0\0\0")),
    }
    return files | cut("cut.npz", whole, 0, 4, 30, 60, end, len(whole) - 1)
