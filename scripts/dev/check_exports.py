"""Reads what `extract export-tokens` wrote, by the programs that it is for, and compares it with the cache.

check_exports.py CACHE FOLDER, where FOLDER has the exports npz, npy, hdf5 and webdataset with patch tokens, trident, and
parquet of layer 2.
"""

import csv
import io
import json
import sys
import tarfile
from pathlib import Path

import h5py
import numpy as np
import polars as pl
import pyarrow.parquet as pq

cache, folder = Path(sys.argv[1]), Path(sys.argv[2])
meta = json.loads((cache / "meta.json").read_text())
grid, width = meta["grid"], meta["width"]


def tensor(table: str, layer: int, *shape: int) -> np.ndarray:
    """The tokens `[N, *shape]` of a layer."""
    files = [cache / table / f"{shard:05}.parquet" for shard in range(len(meta["shards"]))]
    column = pl.concat([pl.read_parquet(file) for file in files])[f"{table}_{layer}"]
    return np.frombuffer(b"".join(column), "<f2").reshape(-1, *shape)


slices = pl.concat([pl.read_parquet(file) for file in sorted(cache.glob("slices/*.parquet"))])
pictures = pl.concat([pl.read_parquet(file) for file in sorted(cache.glob("picture/*.parquet"))])
cls, patch = tensor("cls", 1, width), tensor("patch", 1, *grid, width)

with np.load(folder / "npz/tokens.npz", allow_pickle=False) as arrays:
    assert arrays["cls"].dtype == np.float16
    assert np.array_equal(arrays["cls"], cls) and np.array_equal(arrays["patch"], patch)
    assert arrays["sample"].tolist() == slices["sample"].to_list()
    assert arrays["split"].tolist() == slices["split"].to_list()
    assert arrays["label"].tolist() == slices["label"].to_list()
    assert arrays["patient"].tolist() == slices["patient"].to_list()

mapped = np.load(folder / "npy/cls.npy", mmap_mode="r")
assert np.array_equal(mapped, cls)
assert np.array_equal(np.load(folder / "npy/patch.npy", mmap_mode="r"), patch)
with (folder / "npy/rows.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
assert [row["sample"] for row in rows] == slices["sample"].to_list()
assert [meta["classes"].index(row["label"]) for row in rows] == slices["label"].to_list()

older = tensor("cls", 2, width)
table = pl.read_parquet(folder / "parquet/tokens.parquet")
assert np.array_equal(table["cls"].to_numpy(), older)
assert table["split"].to_list() == slices["split"].to_list()
assert str(pq.read_schema(folder / "parquet/tokens.parquet").field("cls").type).startswith("fixed_size_list<")

with h5py.File(folder / "hdf5/tokens.h5") as file:
    assert file["cls"].dtype == np.float16
    assert np.array_equal(file["cls"][:], cls) and np.array_equal(file["patch"][:], patch)
slides = pl.read_csv(folder / "trident/slides.csv")
for row, name in enumerate(slides["slide_id"]):
    with h5py.File(folder / f"trident/features/{name}.h5") as file:
        assert np.array_equal(file["features"][:], cls[row : row + 1].astype(np.float32))
        assert file["coords"].shape == (1, 2)

count = 0
for shard in sorted((folder / "webdataset").glob("*.tar")):
    with tarfile.open(shard) as archive:
        content = {member.name: archive.extractfile(member).read() for member in archive}
    keys = list(dict.fromkeys(name.split(".", 1)[0] for name in content))
    for key in keys:
        about = json.loads(content[f"{key}.json"])
        assert about["sample"] == slices["sample"][count] and about["label"] == slices["label"][count]
        assert np.array_equal(np.load(io.BytesIO(content[f"{key}.cls.npy"])), cls[count])
        assert np.array_equal(np.load(io.BytesIO(content[f"{key}.patch.npy"])), patch[count])
        assert content[f"{key}.png"].startswith(b"\x89PNG")
        count += 1
assert count == len(slices) == len(pictures)
print(f"webdataset: {count} rows")
