#!/usr/bin/env python3
"""Writes probe/golden/logreg.json and logreg_path.json: logistic regressions, for `probe logreg`.

logreg.json holds losses and probabilities of scikit-learn, of weights that Newton's method found in f64
(`newton-cg` for three classes), far past the tolerance at which they are compared. logreg_path.json
holds the lowest losses of separable and nearly separable data for DINOv2's 45 values of C, by a damped
Newton's method with the whole Hessian in f64 (NumPy), since scikit-learn stops early there. Needs the
packages in requirements-test.txt.
"""

import json
import pathlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

N, F = 200, 12
CS = [1e-6, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e5]
PATH = (10 ** np.linspace(-6, 5, 45)).tolist()


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


def cross_entropy(z, y):
    """Of logits [N, K] and classes [N]: losses by example, residuals and probabilities [N, K]."""
    own = z[np.arange(len(y)), y]
    relative = np.exp(z - own[:, None])
    relative[np.arange(len(y)), y] = 0
    others = relative.sum(axis=1)  # exp(loss) - 1, without the rounding of 1 + others
    residuals = relative / (1 + others[:, None])
    residuals[np.arange(len(y)), y] = -others / (1 + others)
    shares = residuals.copy()
    shares[np.arange(len(y)), y] = 1 / (1 + others)
    return np.log1p(others), residuals, shares


def minimum(x, y, c, w):
    """The minimum of sum(cross entropy) + |W|^2 / (2 C) over W [F + 1, K], whose last row is the bias.

    Two classes have one column: the logits of the first class are 0.
    """
    n, features = x.shape
    wide = np.hstack([x, np.ones((n, 1))])
    penalty = np.r_[np.full(features, 1 / c), 0.0]
    columns = w.shape[1]

    def logits(w):
        z = wide @ w
        return np.hstack([np.zeros((n, 1)), z]) if columns == 1 else z

    def value(w):
        return cross_entropy(logits(w), y)[0].sum() + (penalty[:, None] * w**2).sum() / 2

    for _ in range(500):
        _, residuals, shares = cross_entropy(logits(w), y)
        residuals, shares = residuals[:, -columns:], shares[:, -columns:]
        gradient = wide.T @ residuals + penalty[:, None] * w
        hessian = np.zeros((columns, features + 1, columns, features + 1))
        for a in range(columns):
            for b in range(columns):
                if columns == 1:
                    # p (1 - p) of the residual's size, since 1 - p rounds to 0.
                    curvature = np.abs(residuals[:, 0]) * (1 - np.abs(residuals[:, 0]))
                else:
                    curvature = shares[:, a] * ((a == b) - shares[:, b])
                hessian[a, :, b] = (wide * curvature[:, None]).T @ wide
            hessian[a, :, a] += np.diag(penalty)
        size = columns * (features + 1)
        step = np.linalg.lstsq(hessian.reshape(size, size), gradient.T.ravel(), rcond=1e-15)[0]
        step = step.reshape(columns, features + 1).T
        decrement, before, t = (gradient * step).sum(), value(w), 1.0
        if decrement < 1e-13 * before:
            return w, before
        while value(w - t * step) > before - 1e-4 * t * decrement and t > 1e-12:
            t /= 2
        w = w - t * step
    raise ValueError(f"no minimum at C = {c}")


def path(name, x, y):
    """The lowest losses for all C, of one classifier, or of a column of labels by itself each."""
    losses = np.zeros(len(PATH))
    for target in y.T if y.ndim == 2 else [y]:
        classes = len(np.unique(target))
        w = np.zeros((x.shape[1] + 1, 1 if classes == 2 else classes))
        for k, c in enumerate(PATH):
            w, loss = minimum(x, target, c, w)
            losses[k] += loss
            if classes == 2 and k % 11 == 0:
                model = fitted(x, target, c)
                z = x @ model.coef_.T + model.intercept_
                entropy = cross_entropy(np.hstack([0 * z, z]), target)[0].sum()
                theirs = entropy + (model.coef_**2).sum() / (2 * c)
                assert loss <= theirs * (1 + 1e-12), (name, c, loss, theirs)
                print(f"{name}, C = {c:.1e}: {loss:.9g}, scikit-learn {theirs / loss - 1:.1e} above")
    return {
        "name": name,
        "classes": y.shape[1] if y.ndim == 2 else int(y.max()) + 1,
        "x": x.tolist(),
        "targets": y.tolist(),
        "losses": losses.tolist(),
    }


def paths():
    random = np.random.default_rng(1)

    def features(n, width, centre):
        x = random.normal(size=(n, width)) * np.geomspace(4, 0.05, width) + centre
        return x.astype(np.float16).astype(np.float64)

    def scores(x, columns):
        z = (x - x.mean(0)) / x.std(0)
        return z @ random.normal(size=(x.shape[1], columns)) / np.sqrt(x.shape[1])

    few = features(30, 70, random.normal(size=70))
    # Two examples of the same features, and a feature that never varies.
    few[7] = few[3]
    few[:, 5] = 2.0
    wide, many = features(40, 25, 1.0), features(160, 10, random.normal(size=10) * 5)
    few_labels = np.arange(30) % 2
    few_labels[7] = few_labels[3]
    nearly = scores(many, 1)[:, 0]
    nearly = (nearly + 0.02 * random.normal(size=160) > 0).astype(int)
    cases = [
        path("fewer examples than features", few, few_labels),
        path("fewer examples than features, three classes", few, np.r_[few_labels[:20], np.full(10, 2)]),
        path("separable", wide, (scores(wide, 1)[:, 0] > 0.2).astype(int)),
        path("separable, three classes", many, scores(many, 3).argmax(1)),
        path("nearly separable", many, nearly),
        path("rare labels", many, (scores(many, 3) > [0, 1.2, 1.6]).astype(int)),
    ]
    return {"cs": PATH, "cases": cases}


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
    folder = pathlib.Path(__file__).resolve().parents[2] / "probe" / "golden"
    (folder / "logreg.json").write_text(json.dumps(golden) + "\n")
    (folder / "logreg_path.json").write_text(json.dumps(paths()) + "\n")


if __name__ == "__main__":
    main()
