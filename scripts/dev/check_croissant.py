#!/usr/bin/env python3
"""Validates the Croissant descriptions of caches with mlcroissant, reads all rows of `slices` through them, and compares
the hashes in them, which mlcroissant does not.

Without arguments, it makes caches of each task with `target/release/extract` and checks those.

usage: scripts/dev/run check_croissant.py [CACHE…]    (requirements-croissant.txt, 0.5 GB)
"""

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import mlcroissant
import pyarrow.parquet
from check_faults import png

PROJECT = Path(__file__).parents[2]
EXTRACT = PROJECT / "target/release/extract"

# Headers and cells of a manifest for each task.
TABLES = {
    "unlabelled": ("split", ["train", "test"]),
    "single": ("split,label", ["train,no finding", "test,\u00e9panchement"]),
    "multi": ("split,labels", ["train,lung; left|#2/a", "test,lung; left"]),
}


def check(cache: Path) -> None:
    dataset = mlcroissant.Dataset(cache / "croissant.json")
    files = [file for file in dataset.metadata.distribution if isinstance(file, mlcroissant.FileObject)]
    for file in files:
        found = hashlib.sha256((cache / file.content_url).read_bytes()).hexdigest()
        if found != file.sha256:
            sys.exit(f"{cache / file.content_url}: sha256 {found}, not {file.sha256}")
    rows = [plain(record) for record in dataset.records("slices")]
    expected = []
    for file in sorted(cache.glob("slices/*.parquet")):
        expected += pyarrow.parquet.read_table(file).drop_columns(["affine"]).to_pylist()
    # Fields have the order of the columns, and ids in place of the names of classes.
    if [list(row.values()) for row in rows] != [list(row.values()) for row in expected]:
        sys.exit(f"{cache}: other rows by `croissant.json`:\n{rows[:2]}\n{expected[:2]}")
    print(f"{cache}: {dataset.metadata.name}, {len(files)} files, {len(rows)} rows as in the table")


def plain(record):
    """A record with text in place of bytes, and None in place of NaN."""
    values = {}
    for key, value in record.items():
        value = value.decode() if isinstance(value, bytes) else value
        values[key] = None if value != value else value
    return values


def make(folder: Path, name: str) -> Path:
    header, cells = TABLES[name]
    lines = [f"image,{header}"]
    for k in range(5):
        (folder / f"{k}.png").write_bytes(png(bytes((k * 31 + i) % 251 for i in range(1024)), 32))
        lines.append(f"{k}.png,{cells[k % 2]}")
    table = folder / f"{name}.csv"
    table.write_text("\n".join(lines) + "\n")
    words = ["--model", "tiny-vit", "--dataset", "manifest", "--root", table, "--name", name]
    run([EXTRACT, *words, "--batch-size", "2", "--shard-rows", "2", "--cache", folder / "cache"])
    words = ["--licence", "CC BY 4.0", "--url", "https://example.org/images"]
    run([EXTRACT, "card", f"{name}/tiny-vit@56", "--cache", folder / "cache", *words])
    return folder / f"cache/{name}/tiny-vit@56"


def run(command):
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stderr}")


def main():
    if len(sys.argv) > 1:
        for argument in sys.argv[1:]:
            check(Path(argument))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in TABLES:
            check(make(Path(folder), name))


if __name__ == "__main__":
    main()
