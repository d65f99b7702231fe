#!/usr/bin/env python3
"""Writes probe/golden/metrics.json: scores with ties and blanks and what the metrics must be.

AUROC, average precision, accuracy, F1 and Brier scores are scikit-learn's, the binomial and normal
distributions SciPy's. Calibration, DeLong's variance (pair by pair) and the bootstrap's draws (with
ChaCha8) are restated here. Needs numpy, scipy and scikit-learn.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, norm
from sklearn import metrics

# Albumin, total protein, K-G score (10 less the score here), and the outcome, of the patients in
# DeLong et al. (1988) for whom all are known. The documentation of SAS/STAT's PROC LOGISTIC prints
# them in "Comparing Receiver Operating Characteristic Curves".
DELONG = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6 5 1
"""
BINS = 15


def calibration(confidence, right):
    """Expected and maximum calibration error."""
    edges = np.linspace(0, 1, BINS + 1)
    bins = np.digitize(confidence, edges[1:-1], right=True)
    gaps, shares = [], []
    for each in np.unique(bins):
        inside = bins == each
        gaps.append(abs(confidence[inside].mean() - right[inside].mean()))
        shares.append(inside.mean())
    return [float(np.dot(gaps, shares)), float(max(gaps))]


def best_f1_threshold(y, scores):
    thresholds = np.unique(scores)[::-1]
    f1 = [metrics.f1_score(y, scores >= threshold) for threshold in thresholds]
    return float(thresholds[np.isclose(f1, max(f1)).argmax()])


def at_threshold(y, scores, threshold):
    taken = (scores >= threshold).astype(int)
    tn, fp, fn, tp = metrics.confusion_matrix(y, taken).ravel().tolist()
    return {
        "threshold": threshold,
        "counts": [tp, fp, tn, fn],
        "sensitivity": metrics.recall_score(y, taken),
        "specificity": metrics.recall_score(1 - y, 1 - taken),
        "f1": metrics.f1_score(y, taken),
        "accuracy": metrics.accuracy_score(y, taken),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, taken),
    }


def of_class(y, scores):
    defined = 0 < y.sum() < len(y)
    return {
        "auroc": metrics.roc_auc_score(y, scores) if defined else None,
        "average_precision": metrics.average_precision_score(y, scores) if y.any() else None,
        "brier": metrics.brier_score_loss(y, scores) if len(y) else None,
        "calibration": calibration(scores, y) if len(y) else None,
        "thresholded": at_threshold(y, scores, best_f1_threshold(y, scores)) if defined else None,
    }


def mean(values):
    return float(np.mean([value for value in values if value is not None]))


def of_classes(pairs):
    classes = [of_class(y, scores) for y, scores in pairs]
    y, scores = (np.concatenate(part) for part in zip(*pairs))
    names = ["auroc", "average_precision"]
    return {
        "classes": classes,
        "macro": [mean([each[name] for each in classes]) for name in names],
        "micro": [metrics.roc_auc_score(y, scores), metrics.average_precision_score(y, scores)],
    }


def multi_label(rng):
    """Five classes with blanks; the fourth has no positive case and the last is all blank."""
    y = (rng.random((90, 5)) < [0.5, 0.3, 0.1, 0.0, 0.5]).astype(int)
    scores = rng.integers(0, 17, size=(90, 5)) / 16
    informed = rng.random((90, 5)) < [0.4, 0.4, 0.4, 0.0, 0.0]
    scores = np.where(informed, scores / 2 + y / 2, scores)
    blank = rng.random((90, 5)) < [0.0, 0.2, 0.2, 0.2, 1.0]
    pairs = [(y[~blank[:, c], c], scores[~blank[:, c], c]) for c in range(5)]
    targets = [[None if b else int(t) for t, b in zip(*row)] for row in zip(y, blank)]
    return {"scores": scores.tolist(), "targets": targets, **of_classes(pairs)}


def single_label(rng, classes):
    labels = rng.integers(0, classes, size=80)
    scores = rng.integers(1, 5, size=(80, classes)) + 2.0 * np.eye(classes)[labels]
    scores /= scores.sum(axis=1, keepdims=True)
    predicted = scores.argmax(axis=1)
    onehot = np.eye(classes, dtype=int)[labels]
    measured = range(1 if classes == 2 else 0, classes)
    brier = metrics.brier_score_loss(labels, scores, labels=range(classes), scale_by_half=False)
    return {
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        **of_classes([(onehot[:, c], scores[:, c]) for c in measured]),
        "matrix": metrics.confusion_matrix(labels, predicted).tolist(),
        "accuracy": metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, predicted),
        "f1": metrics.f1_score(labels, predicted, average=None).tolist(),
        "f1_macro": metrics.f1_score(labels, predicted, average="macro"),
        "brier": brier,
        "calibration": calibration(scores.max(axis=1), predicted == labels),
    }


def placements(y, scores):
    positive, negative = scores[y == 1][:, None], scores[y == 0][None]
    wins = (positive > negative) + 0.5 * (positive == negative)
    return wins.mean(axis=1), wins.mean(axis=0)


def estimate(parts):
    variance = sum(part.var(ddof=1) / len(part) for part in parts)
    return float(parts[0].mean()), float(variance)


def delong_test(y, first, second):
    pairs = zip(placements(y, first), placements(y, second))
    difference, variance = estimate([a - b for a, b in pairs])
    z = difference / variance**0.5
    return {"difference": difference, "variance": variance, "z": z, "p": 2 * norm.sf(abs(z))}


def delong():
    table = np.array(DELONG.split(), dtype=float).reshape(-1, 4)
    y, tests = table[:, 3].astype(int), [table[:, 0], table[:, 1], 10 - table[:, 2]]
    reach = norm.ppf(0.975)
    found = [estimate(placements(y, scores)) for scores in tests]
    return {
        "scores": np.stack(tests, axis=1).tolist(),
        "targets": y.tolist(),
        "aurocs": found,
        "intervals": [[a - reach * v**0.5, min(1, a + reach * v**0.5)] for a, v in found],
        "tests": [delong_test(y, scores, tests[2]) for scores in tests[:2]],
    }


def mcnemar():
    pairs = [(0, 1), (3, 11), (40, 61), (500, 600), (2000, 1990)]
    return [
        {"only_first": a, "only_second": b, "p": binomtest(a, a + b).pvalue} for a, b in pairs
    ]


def chacha8(key, stream, counter):
    """A block of 16 words of 32 bits (Bernstein 2008; a counter and a stream of 64 bits each)."""
    words = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *key]
    words += [counter & 0xFFFFFFFF, counter >> 32, stream & 0xFFFFFFFF, stream >> 32]
    x = list(words)

    def step(a, b, c, turn):
        x[a] = (x[a] + x[b]) & 0xFFFFFFFF
        mixed = x[c] ^ x[a]
        x[c] = (mixed << turn | mixed >> (32 - turn)) & 0xFFFFFFFF

    for _ in range(4):
        columns = [(i, 4 + i, 8 + i, 12 + i) for i in range(4)]
        diagonals = [(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4) for i in range(4)]
        for a, b, c, d in columns + diagonals:
            step(a, b, d, 16)
            step(c, d, b, 12)
            step(a, b, d, 8)
            step(c, d, b, 7)
    return [(a + b) & 0xFFFFFFFF for a, b in zip(x, words)]


def drawn_patients(seed, draw, count):
    key = [seed & 0xFFFFFFFF, seed >> 32, 0, 0, 0, 0, 0, 0]
    words = [word for block in range(count // 8 + 1) for word in chacha8(key, draw, block)]
    numbers = [low | high << 32 for low, high in zip(words[::2], words[1::2])]
    return [number * count >> 64 for number in numbers[:count]]


def bootstrap(rng, seed=2**40 + 3, draws=200, patients=30):
    """Two tables of two classes on the same cases; the second class is rare."""
    patient = np.concatenate([np.arange(patients), rng.integers(0, patients, size=60)])
    y = (rng.random((90, 2)) < [0.4, 0.05]).astype(int)
    tables = [rng.integers(0, 9, size=(90, 2)) + bonus * y for bonus in (6, 3)]
    values = []
    for draw in range(draws):
        drawn = drawn_patients(seed, draw, patients)
        cases = np.concatenate([np.flatnonzero(patient == each) for each in drawn])
        truth = y[cases].T
        values.append([
            [
                metrics.roc_auc_score(t, table[cases, c]) if 0 < t.sum() < len(t) else np.nan
                for table in tables
            ]
            for c, t in enumerate(truth)
        ])
    values = np.array(values)  # draws, classes, tables
    difference = values[:, 0, 0] - values[:, 0, 1]

    def percentiles(of):
        return np.nanpercentile(of, [2.5, 97.5]).tolist()

    tail = min((difference <= 0).sum(), (difference >= 0).sum())
    return {
        "seed": seed,
        "draws": draws,
        "patients": [f"p{p}" for p in patient],
        "weights": [
            np.bincount(drawn_patients(seed, draw, patients), minlength=patients)[patient].tolist()
            for draw in range(2)
        ],
        "targets": y.tolist(),
        "tables": [table.tolist() for table in tables],
        "classes": [percentiles(values[:, c, 0]) for c in range(2)],
        "undefined": int(np.isnan(values[:, 1, 0]).sum()),
        "mean": percentiles(values[:, :, 0].mean(axis=1)),
        "difference": percentiles(difference),
        "p": min(1.0, 2 * (1 + int(tail)) / (1 + draws)),
    }


def main():
    rng = np.random.default_rng(11)
    golden = {
        "multi_label": multi_label(rng),
        "single_label": [single_label(rng, classes) for classes in (2, 4)],
        "delong": delong(),
        "mcnemar": mcnemar(),
        "bootstrap": bootstrap(rng),
    }
    path = Path(__file__).resolve().parents[2] / "probe" / "golden" / "metrics.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
