#!/usr/bin/env python3
"""Computes results of `probe knn --vote distance` and `probe logreg` again with the Python package and scikit-learn.

The cache is single-label, with masks, pictures and patch tokens; the folder of records holds a run of each
probe on it. Exits with 1 at the first figure that differs.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))
import slicebank


def main():
    parser = argparse.ArgumentParser(description="the Python package against probe and scikit-learn")
    parser.add_argument("cache", help="a cache: the folder with meta.json")
    parser.add_argument("runs", help="folder of run records")
    arguments = parser.parse_args()
    cache = slicebank.open(arguments.cache)
    runs = slicebank.runs(arguments.runs)
    for probe, fitted in (("knn", nearest), ("logreg", logistic)):
        for run in runs.rows(named=True):
            if run["probe"] == probe:
                check(cache, run, fitted)
    check_tensors(cache)


def nearest(run, x, y):
    return KNeighborsClassifier(
        n_neighbors=run["params.k"], weights="distance", metric="cosine", algorithm="brute"
    ).fit(x, y)


def logistic(run, x, y):
    return LogisticRegression(C=run["params.C"], tol=1e-10, max_iter=100_000).fit(x, y)


def check(cache, run, fitted):
    """The scores and the AUROC of a run."""
    x, y, groups, split = cache.features(layer=1, tokens="cls")
    x = x.astype(np.float64)
    model = fitted(run, x[split != "test"], y[split != "test"])
    scores = model.predict_proba(x[split == "test"])
    truth = y[split == "test"]
    saved = slicebank.predictions(run)
    assert set(groups[split == "test"]) == set(saved["patient"])
    for number, name in enumerate(cache.classes):
        found = saved[f"score/{name}"].to_numpy()
        np.testing.assert_allclose(found, scores[:, number], atol=1e-4, err_msg=run["probe"])
        assert (saved[f"target/{name}"].to_numpy() == (truth == number)).all()
    auroc = roc_auc_score(truth, scores[:, 1])
    np.testing.assert_allclose(run["metrics.auroc_macro"], auroc, atol=1e-6)
    print(f"{run['probe']} {run['setting']}: AUROC {auroc:.4f} in both")


def check_tensors(cache):
    """Patch tokens in any order, their means, masks and pictures."""
    rows = np.arange(len(cache))
    patches = cache.patches(rows)
    assert patches.shape == (len(cache), np.prod(cache.grid()), cache.meta["width"])
    means = cache.tokens("mean").astype(np.float32)
    np.testing.assert_allclose(patches.astype(np.float32).mean(axis=1), means, atol=5e-3)
    for order in (rows[::-1], rows[::3], [2, 0, 2], 1, slice(3, 1)):
        assert (cache.patches(order) == patches[np.atleast_1d(rows[order])]).all()
    sizes = cache.slices.select("height", "width").rows()
    for mask, size in zip(cache.masks(rows), sizes):
        assert mask is None or mask.shape == size
    pictures = cache.pictures(rows)
    assert pictures.shape == (len(cache), *(cache.meta["image_size"],) * 2)
    cache.verify()
    print(f"{len(cache)} rows of patch tokens, masks and pictures")


if __name__ == "__main__":
    main()
