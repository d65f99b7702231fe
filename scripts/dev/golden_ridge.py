#!/usr/bin/env python3
"""Writes probe/golden/ridge.json: decision values of scikit-learn's RidgeClassifier, for `probe ridge`.

Features are in f16, of unlike scale and far from 0, as tokens are. Each label with blanks is fitted by
itself, on the examples that have it. Needs the packages in requirements-test.txt.
"""

import json
import pathlib

import numpy as np
from sklearn.linear_model import RidgeClassifier

EVALUATED = 20
ALPHAS = [0.01, 1.0, 100.0]


def features(random, n, width):
    x = random.normal(size=(n, width)) * np.geomspace(0.05, 4, width) + random.normal(size=width)
    return x.astype(np.float16).astype(np.float64)


def decisions(x, y, alpha):
    """Of the last examples, [N, O]."""
    model = RidgeClassifier(alpha=alpha).fit(x[:-EVALUATED], y)
    found = model.decision_function(x[-EVALUATED:])
    return found[:, None] if found.ndim == 1 else found


def label_by_label(x, y, alpha):
    known = [~np.isnan(label) for label in y.T]
    columns = [
        decisions(np.vstack([x[: len(y)][has], x[-EVALUATED:]]), label[has], alpha)
        for has, label in zip(known, y.T)
    ]
    return np.hstack(columns)


def case(name, x, y, found):
    state = lambda value: None if np.isnan(value) else int(value)
    targets = [[state(v) for v in row] if y.ndim == 2 else state(row) for row in y]
    return {
        "name": name,
        "classes": y.shape[1] if y.ndim == 2 else int(y.max()) + 1,
        "x": x.tolist(),
        "targets": targets,
        "decisions": [found(x, y, alpha).tolist() for alpha in ALPHAS],
    }


def main():
    random = np.random.default_rng(3)
    cases = []
    for shape, n, width in [("many examples", 150, 12), ("few examples", 25, 40)]:
        x = features(random, n + EVALUATED, width)
        z = (x - x.mean(0)) / x.std(0)
        scores = (z @ random.normal(size=(width, 3)))[:n] + random.normal(size=(n, 3))
        labels = (scores > 0.3).astype(float)
        blank = np.where(random.random((n, 3)) < [0, 0.2, 0.5], np.nan, labels)
        cases += [
            case(f"{shape}, two classes", x, (scores[:, 0] > 0).astype(float), decisions),
            case(f"{shape}, three classes", x, scores.argmax(1).astype(float), decisions),
            case(f"{shape}, labels", x, labels, decisions),
            case(f"{shape}, labels with blanks", x, blank, label_by_label),
        ]
    golden = {"alphas": ALPHAS, "cases": cases}
    folder = pathlib.Path(__file__).resolve().parents[2] / "probe" / "golden"
    (folder / "ridge.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
