#!/usr/bin/env python3
"""Writes probe/golden/knn.json: random data with ties and what the probes must make of it.

The softmax vote and ML-kNN are restated in NumPy from their definitions; the other votes, AUROC
and accuracy are scikit-learn's. Features are whole quarters, so that inner products are exact and
many are equal; for the votes of scikit-learn, which orders equals as it likes, they are random
directions, of which some occur twice.
Needs numpy and scikit-learn.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

TEMPERATURE = 0.07
CLASSES = 5


def features(rng, rows, width=8):
    return rng.integers(-2, 3, size=(rows, width)) / 4


def nearest(keys, queries):
    """Row numbers of all keys, most similar first, then by number."""
    return np.argsort(-(queries @ keys.T), axis=1, kind="stable")


def softmax_vote(train, labels, test, ks):
    order = nearest(train, test)[:, : max(ks)]
    similarity = np.take_along_axis(test @ train.T, order, axis=1)
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) / TEMPERATURE)
    weights /= weights.sum(axis=1, keepdims=True)
    votes = weights[:, :, None] * np.eye(CLASSES)[labels[order]]
    return [votes[:, :k].sum(axis=1) for k in ks]


def ml_knn(train, targets, test, k, count_self, s=1.0):
    """Zhang and Zhou (2007), Figure 1, example by example."""
    rows, classes = targets.shape
    prior = (s + targets.sum(axis=0)) / (2 * s + rows)
    members, others = np.zeros((classes, k + 1)), np.zeros((classes, k + 1))
    for row, order in enumerate(nearest(train, train)):
        found = order[:k] if count_self else [key for key in order if key != row][:k]
        for label in range(classes):
            delta = sum(targets[key, label] for key in found)
            (members if targets[row, label] else others)[label, delta] += 1
    scores = np.zeros((len(test), classes))
    for row, order in enumerate(nearest(train, test)):
        for label in range(classes):
            delta = sum(targets[key, label] for key in order[:k])
            yes = (s + members[label, delta]) / (s * (k + 1) + members[label].sum())
            no = (s + others[label, delta]) / (s * (k + 1) + others[label].sum())
            yes, no = prior[label] * yes, (1 - prior[label]) * no
            scores[row, label] = yes / (yes + no)
    return scores


def aurocs(scores, targets):
    defined = [0 < column.sum() < len(column) for column in targets.T]
    return [
        float(roc_auc_score(targets[:, i], scores[:, i])) if known else None
        for i, known in enumerate(defined)
    ]


def single_label(rng):
    train, test, ks = features(rng, 120), features(rng, 60), [1, 5, 20, 50]
    labels = rng.integers(0, CLASSES, size=120)
    test_labels = rng.integers(0, CLASSES - 1, size=60)  # the last class is not in the test set
    scores = softmax_vote(train, labels, test, ks)
    return {
        "train": train.tolist(),
        "test": test.tolist(),
        "labels": labels.tolist(),
        "test_labels": test_labels.tolist(),
        "ks": ks,
        "scores": [values.tolist() for values in scores],
        "auroc": [aurocs(values, np.eye(CLASSES, dtype=int)[test_labels]) for values in scores],
        "accuracy": [accuracy_score(test_labels, values.argmax(axis=1)) for values in scores],
    }


def multi_label(rng):
    train, test, ks = features(rng, 100), features(rng, 50), [1, 5, 30]
    targets = (rng.random((100, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(int)
    test_targets = (rng.random((50, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(int)
    result = {
        "train": train.tolist(),
        "test": test.tolist(),
        "targets": targets.tolist(),
        "test_targets": test_targets.tolist(),
        "ks": ks,
    }
    for name, count_self in [("with_self", True), ("without_self", False)]:
        scores = [ml_knn(train, targets, test, k, count_self) for k in ks]
        result[name] = {
            "scores": [values.tolist() for values in scores],
            "auroc": [aurocs(values, test_targets) for values in scores],
            "accuracy": [
                accuracy_score(test_targets.ravel(), values.ravel() >= 0.5) for values in scores
            ],
        }
    return result


def directions(rng, rows, width=24):
    values = rng.standard_normal((rows, width))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values.astype(np.float32).astype(float)


def votes(rng):
    """Shares of the classes among the neighbours, with one and with several classes a row."""
    train, ks = directions(rng, 90), [1, 4, 30]
    test = np.concatenate([directions(rng, 30), train[:4]])
    labels, targets = rng.integers(0, CLASSES, size=90), (rng.random((90, 3)) < 0.4).astype(int)
    result = {
        "train": train.tolist(),
        "test": test.tolist(),
        "labels": labels.tolist(),
        "targets": targets.tolist(),
        "ks": ks,
    }
    for name, weights in [("majority", "uniform"), ("distance", "distance")]:
        for kind, model, known in [
            ("single", KNeighborsClassifier, labels),
            ("multi", KNeighborsRegressor, targets),
        ]:
            result[f"{name}_{kind}"] = []
            for k in ks:
                fitted = model(k, metric="cosine", algorithm="brute", weights=weights)
                fitted.fit(train, known)
                predict = getattr(fitted, "predict_proba", fitted.predict)
                result[f"{name}_{kind}"].append(np.asarray(predict(test), dtype=float).tolist())
    return result


def main():
    rng = np.random.default_rng(7)
    golden = {"single_label": single_label(rng), "multi_label": multi_label(rng)}
    golden["votes"] = votes(rng)
    path = Path(__file__).resolve().parents[2] / "probe" / "golden" / "knn.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
