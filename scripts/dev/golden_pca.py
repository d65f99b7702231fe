#!/usr/bin/env python3
"""Writes probe/golden/pca.json: scikit-learn's PCA, for `probe pca` and `probe map`.

Rows are in f16 and far from 0, as tokens are. Needs the packages in requirements-test.txt.
"""

import json
import pathlib

import numpy as np
from sklearn.decomposition import PCA


def case(random, name, n, width, scales):
    x = random.normal(size=(n, width)) * scales @ np.linalg.qr(random.normal(size=(width, width)))[0]
    x = (x + 3 * random.normal(size=width)).astype(np.float16).astype(np.float64)
    pca = PCA(3, svd_solver="full").fit(x)
    return {
        "name": name,
        "x": x.tolist(),
        "components": pca.components_.tolist(),
        "variances": pca.explained_variance_.tolist(),
        "shares": pca.explained_variance_ratio_.tolist(),
        "scores": pca.transform(x).tolist(),
    }


def main():
    random = np.random.default_rng(5)
    cases = [
        case(random, "narrow", 40, 5, np.array([3, 2, 1, 0.5, 0.1])),
        case(random, "wide", 30, 80, np.geomspace(4, 0.05, 80)),
        case(random, "many rows", 100, 76, np.geomspace(2, 0.3, 76)),
    ]
    folder = pathlib.Path(__file__).resolve().parents[2] / "probe" / "golden"
    (folder / "pca.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
