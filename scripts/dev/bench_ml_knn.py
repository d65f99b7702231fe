#!/usr/bin/env python3
"""Compares the time of ML-kNN for several numbers of neighbours with one that loops in Python.

The other is written from the formulas of Zhang and Zhou (2007) in the way of scikit-multilearn: for
each k a brute-force search with scikit-learn and loops over rows and labels with scipy's lil_matrix.
As it takes long, it is timed on `--peer-keys` rows, and its time is multiplied by the ratio of the
rows: the loops and the distances grow at least as fast. Both have one thread unless told otherwise,
both fit on the keys and score the queries, and on the smaller data their probabilities must agree.
Needs numpy, scipy and scikit-learn.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

import benches
from bench_knn import unit_rows

SMOOTHING = 1.0
ABOVE = 0.02  # as in probe/benches/ml_knn.rs


def peer(keys, queries, width, classes, threads, ks):
    """Prints the seconds and the sum of the probabilities of each k."""
    import numpy as np
    import sklearn.neighbors
    from scipy.sparse import lil_matrix

    keys, queries = unit_rows(keys, width, 1), unit_rows(queries, width, 2)
    targets = lil_matrix((keys[:, :classes] > ABOVE).astype(np.int8))
    sums = []
    start = time.perf_counter()
    for k in ks:
        finder = sklearn.neighbors.NearestNeighbors(algorithm="brute", n_jobs=threads).fit(keys)
        priors = prior_probabilities(targets)
        with_class, without = posteriors(finder, keys, targets, k)
        scores = probabilities(finder, queries, targets, k, priors, with_class, without)
        sums.append(scores.sum())
    seconds = time.perf_counter() - start
    print(f"{seconds:.3f}", *(f"{total:.6f}" for total in sums))


def prior_probabilities(targets):
    import numpy as np

    counts = np.array(targets.sum(axis=0), dtype=float)[0]
    return (SMOOTHING + counts) / (2 * SMOOTHING + targets.shape[0])


def posteriors(finder, keys, targets, k):
    """Of each class and each number of neighbours with it: how probable that number is for rows with
    the class, and for rows without it."""
    from scipy.sparse import lil_matrix

    rows, classes = targets.shape
    c, cn = (lil_matrix((classes, k + 1), dtype="i8") for _ in range(2))
    found = finder.kneighbors(keys, k + 1, return_distance=False)
    for row in range(rows):
        near = [key for key in found[row] if key != row][:k]
        deltas = targets[near, :].sum(axis=0)
        for label in range(classes):
            if targets[row, label] == 1:
                c[label, deltas[0, label]] += 1
            else:
                cn[label, deltas[0, label]] += 1
    c_sum, cn_sum = c.sum(axis=1), cn.sum(axis=1)
    with_class, without = (lil_matrix((classes, k + 1), dtype=float) for _ in range(2))
    for label in range(classes):
        for n in range(k + 1):
            of_label = SMOOTHING * (k + 1)
            with_class[label, n] = (SMOOTHING + c[label, n]) / (of_label + c_sum[label, 0])
            without[label, n] = (SMOOTHING + cn[label, n]) / (of_label + cn_sum[label, 0])
    return with_class, without


def probabilities(finder, queries, targets, k, priors, with_class, without):
    from scipy.sparse import lil_matrix

    classes = targets.shape[1]
    scores = lil_matrix((len(queries), classes), dtype=float)
    found = finder.kneighbors(queries, k, return_distance=False)
    for row in range(len(queries)):
        deltas = targets[found[row], :].sum(axis=0)
        for label in range(classes):
            n = deltas[0, label]
            yes = priors[label] * with_class[label, n]
            no = (1 - priors[label]) * without[label, n]
            scores[row, label] = yes / (yes + no)
    return scores


def measure(command, threads):
    limits = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = os.environ | limits
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    seconds, *sums = (float(word) for word in output.stdout.split())
    return seconds, sums


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=20000)
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--classes", type=int, default=14)
    parser.add_argument("--k", type=int, nargs="+", default=[100, 200, 400, 800, 1000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-keys", type=int, default=4000)
    parser.add_argument("--peer", type=int, nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(*args.peer[:5], args.peer[5:])
    ours = [benches.executable("ml_knn")]
    theirs = [sys.executable, __file__, "--peer"]
    share = args.peer_keys / args.keys
    queries = max(1, round(args.queries * share))

    def words(keys, queries):
        numbers = (keys, queries, args.width, args.classes, args.threads, *args.k)
        return [str(number) for number in numbers]

    _, expected = measure(ours + words(args.peer_keys, queries), args.threads)
    seconds, ratios = [], []
    for _ in range(args.rounds):
        our_seconds, _ = measure(ours + words(args.keys, args.queries), args.threads)
        command = theirs + words(args.peer_keys, queries)
        their_seconds, sums = measure(command, args.threads)
        drift = max(abs(a - b) / b for a, b in zip(sums, expected, strict=True))
        if drift > 1e-3:
            sys.exit(f"the probabilities differ by {drift:.1e}: {sums} and {expected}")
        seconds.append((our_seconds, their_seconds))
        ratios.append(their_seconds / share / our_seconds)
    ours, theirs = seconds[-1]
    print(
        f"{args.keys} keys, {args.queries} queries, {args.width} wide, {args.classes} labels, "
        f"k {' '.join(map(str, args.k))}, {args.threads} threads: probe {ours:.2f} s; loops over "
        f"{args.peer_keys} keys and {queries} queries {theirs:.1f} s in the last round, so at least "
        f"{theirs / share:.0f} s over all: {statistics.median(ratios):.0f} times as long (median of "
        f"{args.rounds}); sums of probabilities differ by {drift:.1e}"
    )


if __name__ == "__main__":
    main()
