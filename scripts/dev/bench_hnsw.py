#!/usr/bin/env python3
"""Compares building and searching the approximate index with hnswlib's on the same data.

Both run in turn, several rounds, each in a process of its own, with the same number of links and of
candidates; the recall of both and the medians of the rounds' ratios are printed. Needs numpy, hnswlib
and faiss-cpu.
"""

import argparse
import statistics
import subprocess
import sys
import time

import benches
from bench_knn import uniform_rows, unit

LINKS, CONSTRUCTION = 16, 200  # as HnswOptions::default()


def clustered_rows(rows, width, seed):
    """Rows of length 1 near one of 1,000 centres, the same as in probe/benches/data."""
    import numpy as np

    centres = uniform_rows(1000, width, 9)[np.arange(rows) % 1000]
    return unit(centres + np.float32(0.7) * uniform_rows(rows, width, seed))


def hnswlib_round(keys, queries, width, k, ef, threads):
    import faiss
    import hnswlib

    keys, queries = clustered_rows(keys, width, 1), clustered_rows(queries, width, 2)
    start = time.perf_counter()
    index = hnswlib.Index("ip", width)
    index.init_index(len(keys), M=LINKS, ef_construction=CONSTRUCTION)
    index.add_items(keys, num_threads=threads)
    building = time.perf_counter() - start
    index.set_ef(ef)
    start = time.perf_counter()
    found, _ = index.knn_query(queries, k, num_threads=threads)
    searching = time.perf_counter() - start
    exact = faiss.IndexFlatIP(width)
    exact.add(keys)
    _, nearest = exact.search(queries, k)
    hits = sum(len(set(a) & set(b)) for a, b in zip(found.tolist(), nearest.tolist(), strict=True))
    print(f"{building:.3f} {searching:.4f} {hits / nearest.size:.4f}")


def measure(command):
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(word) for word in output.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--ef", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hnswlib-round", type=int, nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.hnswlib_round:
        return hnswlib_round(*args.hnswlib_round)
    sizes = [args.keys, args.queries, args.width, args.k, args.ef, args.threads]
    words = [str(size) for size in sizes]
    ours = [benches.executable("hnsw")]
    theirs = [sys.executable, __file__, "--hnswlib-round"]
    ratios = []
    for _ in range(args.rounds):
        own, their = measure(ours + words), measure(theirs + words)
        print(
            f"probe: build {own[0]:.2f} s, search {own[1]:.3f} s, recall {own[2]:.4f}; "
            f"hnswlib: build {their[0]:.2f} s, search {their[1]:.3f} s, recall {their[2]:.4f}"
        )
        ratios.append((their[0] / own[0], their[1] / own[1]))
    build, search = (statistics.median(ratio) for ratio in zip(*ratios, strict=True))
    print(f"hnswlib takes {build:.2f} times as long to build and {search:.2f} times to search (medians)")


if __name__ == "__main__":
    main()
