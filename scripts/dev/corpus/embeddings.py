"""Embeddings of other programs: NumPy, HDF5, Parquet with lists, and files of torch.save."""

import io
import struct
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import wheels
from corpus.arrays import archive, array
from corpus.files import MB, changed, cut

VECTORS = np.arange(24, dtype="<f4").reshape(4, 6)


def npy():
    whole = array("(4, 6)", VECTORS.tobytes(), "<f4")
    shapes = {
        "many-rows": "(1000000000000, 6)",
        "wide": "(4, 1000000000000)",
        "overflow": "(99999999999999999999, 6)",
        "overflow-by-product": "(4294967296, 4294967296, 4294967296)",
        "no-rows": "(0, 6)",
        "no-width": "(4, 0)",
        "negative": "(-4, 6)",
        "one-axis": "(24,)",
        "no-axes": "()",
        "five-axes": "(4, 1, 2, 3, 1)",
        "patches": "(1, 4, 6)",
        "no-shape": "",
    }
    files = {f"shape-{name}.npy": array(shape, VECTORS.tobytes(), "<f4") for name, shape in shapes.items()}
    nan = np.where(VECTORS == 7, np.nan, VECTORS)
    files |= {
        "whole.npy": whole,
        "objects.npy": array("(4,)", b"\x80\x04cos\nsystem\n.", "|O"),
        "fields.npy": array("(4,)", VECTORS.tobytes(), "V24', ('a', '<f4"),
        "nan.npy": array("(4, 6)", nan.astype("<f4").tobytes(), "<f4"),
        "large.npy": array("(4, 6)", (VECTORS * 1e9).tobytes(), "<f4"),
        "too-long.npy": whole + bytes(4096),
    }
    return files | cut("cut.npy", whole, 0, 6, 9, 20, 128, len(whole) - 1)


def npz():
    whole = archive(cls=array("(4, 6)", VECTORS.tobytes(), "<f4"))
    central = whole.index(b"PK\x01\x02")
    return {
        "whole.npz": whole,
        "bomb.npz": archive(cls=array("(1024, 1024)", bytes(4 * MB), "<f4")),
        "wide-bomb.npz": archive(cls=array("(1, 1048576)", bytes(4 * MB), "<f4")),
        "bomb-that-lies.npz": archive(cls=array("(4, 6)", bytes(8 * MB), "<f4")),
        "many-rows.npz": archive(cls=array("(1000000000000, 6)", VECTORS.tobytes(), "<f4")),
        "objects.npz": archive(cls=array("(4,)", b"\x80\x04cos\nsystem\n.", "|O")),
        "sizes-lie.npz": changed(whole, (central + 20, b"\xfe\xff\xff\xff" * 2)),
        "wrong-checksum.npz": changed(whole, (central + 16, b"\0\0\0\0"), (14, b"\0\0\0\0")),
    }


def h5(**options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1.h5"
        with h5py.File(path, "w", track_order=False) as file:
            file.create_dataset("features", data=VECTORS, track_times=False, **options)
        return path.read_bytes()


def hdf5():
    whole = h5(chunks=(1, 6))
    tree, heap = whole.rindex(b"TREE"), whole.index(b"HEAP")
    root = whole.index(b"TREE")
    to_itself = struct.pack("<Q", tree)
    files = {
        "chunks.h5": whole,
        "contiguous.h5": h5(),
        "packed.h5": h5(chunks=(2, 3), compression="gzip", shuffle=True),
        "tree-in-itself.h5": changed(whole, (tree + 5, b"\x01"), (tree + 48, to_itself)),
        "tree-of-many.h5": changed(whole, (tree + 6, b"\xff\xff")),
        "group-in-itself.h5": changed(whole, (root + 5, b"\x01"), (root + 32, struct.pack("<Q", root))),
        "heap-of-many.h5": changed(whole, (heap + 8, b"\xff" * 16)),
    }
    noise = np.random.default_rng(11)
    for k in range(6):
        at = int(noise.integers(8, len(whole) - 4))
        files[f"noise-{k:02}.h5"] = changed(whole, (at, noise.bytes(4)))
    return files | cut("cut.h5", whole, 0, 8, 96, 512, 1500, len(whole) - 4)


def lists():
    column = pa.array(list(VECTORS), type=pa.list_(pa.float32()))
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": ["a", "b", "c", "d"], "embedding": column}), buffer)
    whole = buffer.getvalue()
    files = {"whole.parquet": whole}
    noise = np.random.default_rng(13)
    for k in range(12):
        at = int(noise.integers(4, len(whole) - 8))
        files[f"noise-{k:02}.parquet"] = changed(whole, (at, noise.bytes(2)))
    return files | cut("cut.parquet", whole, 0, 4, 60, len(whole) - 4)


def torch():
    golden = wheels.ROOT / "tests" / "golden" / "eva"
    whole = (golden / "b" / "2.pt").read_bytes()

    def replaced(old: bytes, new: bytes) -> bytes:
        """The same archive with a part of the pickle replaced."""
        with zipfile.ZipFile(io.BytesIO(whole)) as source:
            entries = {entry: source.read(entry) for entry in source.namelist()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
            for name, content in entries.items():
                content = content.replace(old, new) if name.endswith("data.pkl") else content
                target.writestr(zipfile.ZipInfo(name), content)
        return buffer.getvalue()

    files = {
        "list.pt": whole,
        "system.pt": replaced(b"ctorch._utils\n_rebuild_tensor_v2", b"cos\nsystem"),
        "huge.pt": replaced(b"K\x06", b"J\xff\xff\xff\x7f"),
        "no-stop.pt": replaced(b"e.", b"e"),
        "deep.pt": replaced(b"\x80\x02", b"\x80\x02" + b"]" * 3000),
        "marks.pt": replaced(b"\x80\x02", b"\x80\x02" + b"(" * 3000),
        "other-storage.pt": replaced(b"FloatStorage", b"LongStorage"),
        "text.pt": b"not a tensor",
        "pickle.pt": b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
    }
    return files | cut("cut.pt", whole, 0, 30, 200, len(whole) - 1)
