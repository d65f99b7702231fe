#!/usr/bin/env python3
"""Opens every table of a cache with Polars, pyarrow and DuckDB and checks that they agree.

Needs Python 3.11 and the packages in requirements-test.txt. Prints a line per table; exits with 1
and a message at the first disagreement, with 2 if there is no cache to open.
"""

import argparse
import json
import sys
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow.parquet as pq

import caches
import wheels

TENSOR_TABLES = ("cls", "mean", "patch")
TABLES = ("slices", *TENSOR_TABLES, "mask", "picture")


class Disagreement(Exception):
    """Two readers gave different answers."""


def main():
    folder = parse_arguments().cache
    meta = folder / "meta.json"
    if not meta.is_file():
        raise wheels.Failed(f"{meta}: no such file\nhint: pass a folder that `extract` wrote")
    meta = json.loads(meta.read_text(encoding="utf-8"))
    try:
        for table in TABLES:
            check_table(folder / table, meta)
    except Disagreement as error:
        sys.exit(f"error: {error}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="open a cache with Polars, pyarrow and DuckDB")
    parser.add_argument("cache", type=Path, help="a cache: the folder with meta.json")
    return parser.parse_args()


def check_table(folder, meta):
    """Checks all shards of one table; a cache need not have every table, but slices and cls."""
    shards = sorted(folder.glob("*.parquet"))
    if not shards and folder.name in ("slices", "cls"):
        raise wheels.Failed(f"{folder}: found no Parquet file, expected at least one")
    rows = sum(check_shard(shard, meta) for shard in shards)
    if shards:
        print(f"{folder.name}: {rows} rows in {len(shards)} shards, the same in all three readers")


def check_shard(path, meta):
    """The number of rows of one file, once every value in it is found to be the same."""
    columns = pq.read_schema(path).names
    for column in columns:
        is_tensor = path.parent.name in TENSOR_TABLES and column != "row"
        if is_tensor:
            values = tensors(path, column, caches.token_shape(meta, column))
        else:
            values = plain(path, column)
        agree(f"{path}: column `{column}`", values)
    return pq.read_metadata(path).num_rows


def agree(what, values):
    """Fails unless all readers gave as many values, and the same ones."""
    (first, expected), *others = values.items()
    for reader, found in others:
        if len(found) != len(expected):
            raise Disagreement(
                f"{what}: {reader} reads {len(found)} rows, {first} reads {len(expected)}"
            )
        for row, (left, right) in enumerate(zip(found, expected)):
            if not same(left, right):
                raise Disagreement(f"{what}, row {row}: {reader} and {first} read other values")


def same(left, right):
    """Equality to the bit for tensors, so that NaN equals itself."""
    if isinstance(left, np.ndarray):
        return left.shape == right.shape and left.tobytes() == right.tobytes()
    return left == right


def plain(path, column):
    """The column as a list of Python values, from each reader."""
    return {
        "pyarrow": pq.read_table(path, columns=[column])[column].to_pylist(),
        "polars": pl.read_parquet(path, columns=[column])[column].to_list(),
        "duckdb": duckdb_column(path, column),
    }


def tensors(path, column, shape):
    """The column as arrays of f16, `shape` (`[P, D]`) a row, from each reader."""
    stored = pq.read_table(path, columns=[column])[column].combine_chunks()
    size = stored.type.byte_width // 2
    if size != np.prod(shape):
        raise Disagreement(f"{path}: column `{column}` has {size} values a row, expected {shape}")
    frame = pl.read_parquet(path, columns=[column])
    floats = pl.col(column).bin.reinterpret(dtype=pl.Array(pl.Float16, size))
    return {
        "pyarrow": tokens(stored.buffers()[1], stored.offset, len(stored), shape),
        "polars": frame.select(floats)[column].to_numpy().reshape(-1, *shape),
        "duckdb": [
            np.frombuffer(value, "<f2").reshape(shape) for value in duckdb_column(path, column)
        ],
    }


def tokens(buffer, offset, rows, shape):
    size = int(np.prod(shape))
    values = np.frombuffer(buffer, "<f2", rows * size, 2 * offset * size)
    return values.reshape(rows, *shape)


def duckdb_column(path, column):
    name = column.replace('"', '""')
    rows = duckdb.execute(f'SELECT "{name}" FROM read_parquet(?)', [str(path)]).fetchall()
    return [value for (value,) in rows]


if __name__ == "__main__":
    wheels.run(main)
