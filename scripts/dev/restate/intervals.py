"""Confidence intervals, from the draws of patients that `probe` makes."""

import numpy as np
from chacha import Random
from measures import accuracy_of, auroc, known
from sklearn.metrics import average_precision_score


def average_precision(cases, c):
    y, s = known(cases, c)
    return average_precision_score(y, s) if len(set(y)) == 2 else None


def restated(cases, ci, protocol, names):
    """The intervals of a record, by the level, draws and seed that it names; `None` of one patient."""
    clusters = list(dict.fromkeys(case.cluster for case in cases.of))
    if len(clusters) < 2:
        return None
    number = {cluster: n for n, cluster in enumerate(clusters)}
    patient = np.array([number[case.cluster] for case in cases.of])
    samples = []
    for draw in range(ci["draws"]):
        random = Random.of_key(ci["seed"], draw)
        drawn = [random.u64() * len(clusters) >> 64 for _ in clusters]
        times = np.bincount(drawn, minlength=len(clusters))[patient]
        samples.append(cases.part(np.repeat(np.arange(len(patient)), times)))
    columns = list(cases.columns())
    bounds = lambda values, factor=1.0: interval(values, ci["level"], factor)
    word = "patient" if any(case.patient is not None for case in cases.of) else "sample"
    found = {name: ci[name] for name in ("level", "draws", "seed")}
    found["method"] = f"bootstrap of {word}s"
    found["accuracy"] = bounds([accuracy_of(sample) for sample in samples])
    for name, measure in {"auroc": auroc, "average_precision": average_precision}.items():
        defined = [c for c in columns if measure(cases, c) is not None]
        values = {c: [measure(sample, c) for sample in samples] for c in columns}
        whole = zip(*(values[c] for c in defined)) if defined else [(None,)] * len(samples)
        means = [None if None in row else float(np.mean(row)) for row in whole]
        # The study counts a class that has no AUROC as 0.
        share = len(defined) / len(columns) if (name, protocol) == ("auroc", "paper") else 1.0
        found[f"{name}_macro"] = bounds(means, share)
        of_class = {names[c]: bounds(values[c]) for c in columns}
        found[f"{name}_per_class"] = {key: value for key, value in of_class.items() if value}
    return {key: value for key, value in found.items() if value is not None}


def interval(values, level, factor):
    """Percentiles of what is defined, if that is half of the draws."""
    defined = [value for value in values if value is not None]
    if 2 * len(defined) < len(values):
        return None
    half = (1 - level) / 2
    return [float(bound) * factor for bound in np.quantile(defined, [half, 1 - half])]
