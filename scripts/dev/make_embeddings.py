"""Writes files of embeddings by h5py, pyarrow and NumPy, in the layouts that other programs have.

make_embeddings.py FOLDER, which has `x.npy` and `rows.csv`. The files hold the numbers of `x.npy`, but the folder
`trident`, which has the layout of TRIDENT's `save_h5`.
"""

import csv
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

folder = Path(sys.argv[1])
x = np.load(folder / "x.npy")
count, width = x.shape

np.savez(folder / "plain.npz", features=x.astype(np.float64), y=np.arange(count))
np.savez_compressed(folder / "packed.npz", vectors=x.astype(np.float16), other=x)
np.save(folder / "big.npy", x.astype(">f4"))

with h5py.File(folder / "features.h5", "w") as file:
    file["features"] = x
    file["coords"] = np.zeros((count, 2), np.int64)
with h5py.File(folder / "chunked.h5", "w") as file:
    group = file.create_group("group")
    group.create_dataset("half", data=x.astype(np.float16), chunks=(7, 3), compression="gzip", shuffle=True)
    group["big"] = x.astype(">f8")
with h5py.File(folder / "nothing.h5", "w") as file:
    file["names"] = [b"a", b"b"]
    file["numbers"] = np.arange(4)

with (folder / "rows.csv").open(newline="") as file:
    rows = list(csv.DictReader(file))
known = {name: [row[name] for row in rows] for name in rows[0]}


def write(name: str, **columns: pa.Array) -> None:
    pq.write_table(pa.table(known | columns), folder / name, compression="zstd", row_group_size=17)


lists = pa.array(list(x), type=pa.list_(pa.float32()))
half = pa.array(x.astype(np.float16).ravel())
write("list.parquet", embeddings=lists)
write("fixed.parquet", half=pa.FixedSizeListArray.from_arrays(half, width), other=lists)
write("double.parquet", embedding=pa.array(list(x.astype(np.float64)), type=pa.large_list(pa.float64())))
gap: list[np.ndarray | None] = list(x)
gap[7] = None
write("gap.parquet", embeddings=pa.array(gap, type=pa.list_(pa.float32())))
ragged = list(x)
ragged[5] = x[5][:-1]
write("ragged.parquet", embeddings=pa.array(ragged, type=pa.list_(pa.float32())))

slides = folder / "trident"
slides.mkdir()
for slide, patches in enumerate([3, 4, 5, 6, 0]):
    features = np.arange(patches * 6, dtype=np.float32).reshape(patches, 6) + slide
    name = f"slide-{slide}{'.a' if slide == 1 else ''}"
    with h5py.File(slides / f"{name}.h5", "w") as file:
        for key, value in {"features": features, "coords": np.zeros((patches, 2), np.int64)}.items():
            chunks = (1, *value.shape[1:])
            array = file.create_dataset(
                key, shape=value.shape, maxshape=(None, *value.shape[1:]), chunks=chunks
            )
            array[:] = value
        file["features"].attrs["encoder"] = "made up"
lines = ["slide_id,case_id,label,split", "slide-0.svs,c0,a,train", "slide-1.a.svs,c1,b,train"]
lines += ["slide-2.svs,c2,a,val", "slide-3,c3,b,test", "slide-4,c4,b,test", "slide-9,c9,b,test"]
(folder / "slides.csv").write_text("\n".join(lines) + "\n")
