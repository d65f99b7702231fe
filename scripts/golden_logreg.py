#!/usr/bin/env python3
"""Writes tests/golden/logreg.json: logistic regressions by scikit-learn, for `probe logreg`.

Losses are of weights that Newton's method found in f64 (`newton-cg` for three classes), far past the
tolerance at which they are compared. Needs the packages in requirements-test.txt.
"""

import json
import pathlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

N, F = 200, 12
CS = [1e-6, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e5]


def fitted(x, y, c):
    solver = "newton-cholesky" if len(np.unique(y)) == 2 else "newton-cg"
    with warnings.catch_warnings():
        # newton-cg says that it cannot do better.
        warnings.simplefilter("ignore")
        return LogisticRegression(C=c, solver=solver, tol=1e-10, max_iter=20000).fit(x, y)


def loss(model, x, y, c):
    p = model.predict_log_proba(x)[np.arange(len(y)), y.astype(int)]
    return -p.sum() + (model.coef_**2).sum() / (2 * c)


def single(name, x, y):
    models = [fitted(x, y, c) for c in CS]
    return {
        "name": name,
        "classes": int(y.max()) + 1,
        "targets": y.tolist(),
        "losses": [loss(model, x, y, c) for model, c in zip(models, CS)],
        "probabilities": [model.predict_proba(x[:20]).round(9).tolist() for model in models],
    }


def multi(name, x, y):
    """Each label by itself, on the examples that have it."""
    losses, probabilities = np.zeros(len(CS)), np.zeros((len(CS), 20, y.shape[1]))
    for label in range(y.shape[1]):
        known = ~np.isnan(y[:, label])
        seen, target = x[known], y[known, label]
        for k, c in enumerate(CS):
            model = fitted(seen, target, c)
            losses[k] += loss(model, seen, target, c)
            probabilities[k, :, label] = model.predict_proba(x[:20])[:, 1]
    return {
        "name": name,
        "classes": y.shape[1],
        "targets": [[None if np.isnan(v) else int(v) for v in row] for row in y],
        "losses": losses.tolist(),
        "probabilities": probabilities.round(9).tolist(),
    }


def main():
    random = np.random.default_rng(0)
    # Unlike in scale and far from 0, as tokens are, and in f16.
    x = random.normal(size=(N, F)) * np.geomspace(0.05, 4, F) + random.normal(size=F)
    x = x.astype(np.float16).astype(np.float64)
    z = (x - x.mean(0)) / x.std(0)
    scores = 1.5 * z @ random.normal(size=(F, 3)) / np.sqrt(F)
    noisy = scores + random.gumbel(size=(N, 3))
    labels = (scores - 0.5 + random.logistic(size=(N, 3)) > 0).astype(float)
    labels[random.random((N, 3)) < [0, 0.2, 0.5]] = np.nan
    golden = {
        "x": x.tolist(),
        "cs": CS,
        "cases": [
            single("two classes", x, (noisy[:, 1] > noisy[:, 0]).astype(int)),
            single("three classes", x, (noisy + [0, 0.5, -1]).argmax(1)),
            multi("labels with blanks", x, labels),
        ],
    }
    path = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "logreg.json"
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
