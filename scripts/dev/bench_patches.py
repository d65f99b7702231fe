#!/usr/bin/env python3
"""Compares reading a cache's patch tokens with reading the same bytes from a flat, memory-mapped file.

Both go over all rows in blocks of a row group, in a shuffled order, and copy them into memory, by turns,
as they are and then as f32; the file is in the page cache. Prints each side's GB/s and the median ratios.
Needs numpy and polars.
"""

import argparse
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

import benches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    bench = benches.executable("patches")
    with tempfile.TemporaryDirectory() as folder:
        flat = Path(folder) / "flat"
        rows = write_flat(arguments.cache, flat)
        ratios = {np.float16: [], np.float32: []}
        for _ in range(arguments.rounds):
            *ours, count, _ = subprocess.check_output([bench, arguments.cache], text=True).split()
            for kind, seconds in zip(ratios, ours):
                speed = int(count) / float(seconds) / 1e9
                peer = read_flat(flat, rows, kind)
                ratios[kind].append(speed / peer)
                print(f"{kind.__name__}: cache {speed:.2f} GB/s, flat file {peer:.2f} GB/s", flush=True)
        for kind, found in ratios.items():
            print(f"{kind.__name__}, median: {statistics.median(found):.2f} of the flat file's speed")


def write_flat(cache, path):
    """Writes the tokens row after row; returns their number."""
    rows = 0
    with path.open("wb") as file:
        for shard in sorted((cache / "patch").glob("*.parquet")):
            table = pl.read_parquet(shard).drop("row")
            rows += len(table)
            for row in table.iter_rows():
                file.writelines(row)
    return rows


def read_flat(path, rows, kind, block=5):
    flat = np.memmap(path, np.float16, "r").reshape(rows, -1)
    order = list(range(0, rows, block))
    random.Random(0).shuffle(order)
    start = time.perf_counter()
    for first in order:
        for row in flat[first : first + block]:
            row.astype(kind)
    return flat.nbytes / (time.perf_counter() - start) / 1e9


if __name__ == "__main__":
    main()
