"""Negative controls: what is put in the place of features and labels."""

import copy
from collections import defaultdict

import numpy as np
from chacha import Random


def in_half(values):
    """In half precision, by way of single precision as processors convert."""
    return values.astype(np.float32).astype(np.float16).astype(np.float32)


def random_features(examples, names, seed):
    """Normal numbers in half precision, row by row over all features."""
    random, widths = Random(seed), [examples.tokens[name].shape[1] for name in names]
    rows = len(examples.tokens[names[0]])
    values = [random.normal() for _ in range(rows * sum(widths))]
    values = in_half(np.array(values).reshape(rows, -1))
    parts = np.split(values, np.cumsum(widths)[:-1], axis=1)
    examples.tokens = dict(zip(names, parts))


def metadata(examples, names, slices, members_of):
    """Size, spacing, position and number of slices, standardised, in the place of every token."""
    columns = ["height", "width", "spacing_slice_mm", "spacing_row_mm", "spacing_column_mm", "slice"]
    table = slices.select(columns).fill_null(0).to_numpy().astype(np.float64)
    values = np.array([[*table[members[0]], len(members)] for members in members_of])
    spread = values.std(axis=0)
    values = np.where(spread > 0, (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1), 0)
    examples.tokens = dict.fromkeys(names, in_half(values))


def shuffled(examples, seed, number):
    """The examples with the labels of each patient's dealt out to another of the same split."""
    random, found = Random(seed, number), copy.copy(examples)
    found.truth = examples.truth.copy()
    for split in ("train", "val", "test"):
        patients = defaultdict(list)
        for n in examples.of(split):
            patients[examples.cases[n].cluster].append(n)
        patients = [patients[name] for name in sorted(patients)]
        for own, other in zip(patients, random.shuffle(list(patients))):
            for at, n in enumerate(own):
                found.truth[n] = examples.truth[other[at % len(other)]]
    return found
