#!/usr/bin/env python3
"""Compares the time of an exact search with faiss-cpu's IndexFlatIP on the same data.

Both run in turn, several rounds, each in a process of its own; for each size the median of the
rounds' ratios is printed. Needs numpy and faiss-cpu.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time

import benches

# Set for other libraries on some machines; faiss is to choose its own kernels.
CHOICES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def uniform_rows(rows, width, seed):
    """Numbers from -0.5 to 0.5 by the splitmix64 generator, the same as in probe/benches/data."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = np.arange(rows * width, dtype=np.uint64) + np.uint64(seed << 40)
        z *= np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    x = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24) - np.float32(0.5)
    return x.reshape(rows, width)


def unit(x):
    """Rows stretched to length 1."""
    import numpy as np

    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def unit_rows(rows, width, seed):
    return unit(uniform_rows(rows, width, seed))


def faiss_round(keys, queries, width, k, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    keys, queries = unit_rows(keys, width, 1), unit_rows(queries, width, 2)
    start = time.perf_counter()
    index = faiss.IndexFlatIP(width)
    index.add(keys)
    _, found = index.search(queries, k)
    print(f"{time.perf_counter() - start:.3f} {int(found.sum())}")


def measure(command):
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES}
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds, checksum = output.stdout.split()
    return float(seconds), int(checksum)


def compare(ours, sizes, rounds):
    words = [str(size) for size in sizes]
    theirs = [sys.executable, __file__, "--faiss-round", *words]
    ratios, drift = [], 0
    for _ in range(rounds):
        (our_seconds, our_sum), (their_seconds, their_sum) = measure(ours + words), measure(theirs)
        ratios.append(their_seconds / our_seconds)
        drift = max(drift, abs(our_sum - their_sum) / their_sum)
    print(
        f"{' '.join(words)}: probe {our_seconds:.3f} s, faiss {their_seconds:.3f} s in the last round; "
        f"faiss takes {statistics.median(ratios):.2f} times as long (median of {rounds}); "
        f"checksums differ by {drift:.1e}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, nargs="+", default=[5000, 80000])
    parser.add_argument("--queries", type=int, default=5000)
    parser.add_argument("--width", type=int, nargs="+", default=[384, 1024])
    parser.add_argument("--k", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--faiss-round", type=int, nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.faiss_round:
        return faiss_round(*args.faiss_round)
    ours = [benches.executable("knn")]
    for keys, width, k in itertools.product(args.keys, args.width, args.k):
        compare(ours, [keys, args.queries, width, k, args.threads], args.rounds)


if __name__ == "__main__":
    main()
