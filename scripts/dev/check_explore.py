#!/usr/bin/env python3
"""Computes what `probe pca`, `nearest`, `map` and `retrieve` recorded again, from the cache alone.

Usage: check_explore.py CACHE RUNS, the folders of one cache and of the records of slices in it. PCA is
scikit-learn's, average precision too; neighbours come from NumPy's product of all features. Prints a line per
record; exits with 1 if a value differs.
"""

import argparse
import io
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.metrics import average_precision_score

# Similarities that differ by less are equal up to rounding in f32.
TIE = 1e-6
PANEL, GAP, SPLITS = 224, 4, {"test": ("train", "val"), "val": ("train",)}


class Cache:
    def __init__(self, folder):
        self.folder, self.meta = folder, json.loads((folder / "meta.json").read_text())
        self.slices = self.table("slices")
        samples = self.slices["sample"].to_list()
        places = zip(samples, self.slices["slice"])
        self.names = [f"{s}:{n}" if samples.count(s) > 1 else s for s, n in places]
        self.who = [p or s for p, s in zip(self.slices["patient"], self.slices["sample"])]

    def table(self, name):
        return pl.read_parquet(sorted((self.folder / name).glob("*.parquet"))).sort("row")

    def patches(self, layer, rows):
        values = self.table("patch")[f"patch_{layer}"]
        width = self.meta["width"]
        return np.stack([np.frombuffer(values[r], "<f2").reshape(-1, width) for r in rows]).astype(float)

    def features(self, tokens):
        names = [("cls", layer) for layer in tokens["cls"]] + [("mean", layer) for layer in tokens["mean"]]
        parts = [np.stack([np.frombuffer(v, "<f2") for v in self.table(t)[f"{t}_{n}"]]) for t, n in names]
        x = np.hstack(parts).astype(np.float64)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def states(self):
        """Classes of each slice: 1, 0 or NaN, and whether anything is known."""
        classes = self.meta["classes"]
        if self.meta["task"] == "single-label":
            labels = self.slices["label"].to_list()
            return np.array([[float(v == c) for c in range(len(classes))] for v in labels]), \
                np.array([v is not None for v in labels])
        rows = list(zip(*(self.slices[f"label_{name}"].to_list() for name in classes)))
        value = {None: 0.0, 0: 0.0, 1: 1.0, -1: np.nan}
        return np.array([[value[v] for v in row] for row in rows]), \
            np.array([any(v is not None for v in row) for row in rows])


def near(found, expected, what, tolerance=1e-6):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    if found.shape != expected.shape or not np.allclose(found, expected, rtol=tolerance, atol=tolerance):
        raise ValueError(f"{what}: {found}, expected {expected}")


def otsu(scores):
    """The middle between two values that leaves the greatest variance between the parts, by trying all."""
    values = np.unique(scores)
    best = max(zip(values, values[1:]), key=lambda pair: between(scores, sum(pair) / 2))
    return sum(best) / 2


def between(scores, at):
    low, high = scores[scores <= at], scores[scores > at]
    return len(low) * len(high) * (low.mean() - high.mean()) ** 2


def pca(cache, record, runs):
    params, metrics = record["params"], record["metrics"]
    rows = [cache.names.index(name) for name in params["images"]]
    tokens = cache.patches(params["layer"], rows)
    flat = tokens.reshape(-1, tokens.shape[2])
    first = PCA(3, svd_solver="full").fit(flat)
    near(metrics["explained_variance_ratio_of_all"], first.explained_variance_ratio_, "shares of all")
    kept = np.ones(len(flat), bool)
    if params["cut"] != "none":
        scores = first.transform(flat)[:, 0]
        inside = np.zeros(params["grid"], bool)
        inside[1:-1, 1:-1] = True
        inside = np.tile(inside.ravel(), len(rows))
        if (scores[~inside].mean() > scores[inside].mean()) != params["flip"]:
            scores = -scores
        if params["cut"] == "otsu":
            near(metrics["threshold"], otsu(scores), "threshold")
        kept = scores > metrics["threshold"]
        near(params["foreground_of_images"], kept.reshape(len(rows), -1).mean(1), "foreground")
    second = PCA(3, svd_solver="full").fit(flat[kept])
    near(metrics["explained_variance_ratio"], second.explained_variance_ratio_, "shares")
    colours = np.zeros((len(flat), 3))
    deviations = second.transform(flat[kept]) / np.sqrt(second.explained_variance_)
    colours[kept] = np.clip(np.rint((deviations / 2 + 1) / 2 * 255), 0, 255)
    colours = colours.reshape(len(rows), *params["grid"], 3)
    sheet = np.asarray(Image.open(runs / record["pictures"][0]).convert("RGB")).astype(float)
    compare_sheet(cache, rows, colours, sheet)


def compare_sheet(cache, rows, colours, sheet):
    """The colours of images without orientation: whole-number enlargements of nearest pixels, two panels each."""
    side = cache.meta["image_size"]
    columns = int(np.ceil(np.sqrt(len(rows))))
    scale = -(-PANEL // side)
    for n, row in enumerate(rows):
        slice_ = cache.slices.row(row, named=True)
        lengths = np.array([slice_["height"] * (slice_["spacing_row_mm"] or 1),
                            slice_["width"] * (slice_["spacing_column_mm"] or 1)])
        height, width = np.maximum(np.floor(side * lengths / lengths.max() + 0.5).astype(int), 1)
        y = (2 * np.arange(height) + 1) * side // (2 * height) * colours.shape[1] // side
        x = (2 * np.arange(width) + 1) * side // (2 * width) * colours.shape[2] // side
        expected = colours[n][np.repeat(y, scale)][:, np.repeat(x, scale)]
        cell = 2 * width * scale + GAP
        left = n % columns * (cell + GAP) + width * scale + GAP
        top = n // columns * (height * scale + GAP)
        found = sheet[top : top + height * scale, left : left + width * scale]
        if found.shape != expected.shape or np.abs(found - expected).max() > 1:
            raise ValueError(f"colours of image {n} differ")


def nearest(cache, record, _):
    params = record["params"]
    x = cache.features(params["features"])
    for query, neighbours in zip(params["queries"], record["metrics"]["neighbours"]):
        q = cache.names.index(query)
        out = {n for n in range(len(x)) if n == q or params["other_patients"] and cache.who[n] == cache.who[q]}
        distance = 1 - x @ x[q]
        order = [n for n in np.argsort(distance, kind="stable") if n not in out][: params["k"]]
        near([n["distance"] for n in neighbours], distance[order], f"distances of {query}", 1e-5)
        found = [cache.names.index(n["case"]) for n in neighbours]
        near(distance[found], distance[order], f"neighbours of {query}", 1e-6)
        same = [cache.who[n] == cache.who[q] for n in found]
        near([n["same_patient"] for n in neighbours], same, f"patients of {query}")


def retrieve(cache, record, _):
    params, metrics = record["params"], record["metrics"]
    x, (states, known) = cache.features(params["features"]), cache.states()
    split = cache.slices["split"].to_list()
    everything = [n for n in range(len(x)) if known[n]]
    queries = everything if record["split"] == "all" else [n for n in everything if split[n] == record["split"]]
    searched = everything if record["split"] == "all" else \
        [n for n in everything if split[n] in SPLITS[record["split"]]]
    micro, classes = [], [[] for _ in cache.meta["classes"]]
    for q in queries:
        others = [n for n in searched if cache.who[n] != cache.who[q]]
        similarity = x[others] @ x[q]
        order = np.argsort(-similarity, kind="stable")
        others = [others[n] for n in order]
        ties = np.cumsum(np.r_[0, np.diff(-similarity[order]) > TIE])
        share = ((states[others] == 1) & (states[q] == 1)).any(axis=1)
        micro += measures(share, ties, params["ks"])
        for c, answers in enumerate(classes):
            if states[q, c] == 1:
                known_of = ~np.isnan(states[others, c])
                answers += measures(states[others, c][known_of] == 1, ties[known_of], params["ks"])
    near(record["n_test"], len(micro), "queries")
    means = [np.mean(answers, axis=0) for answers in classes if answers]
    for at, name in enumerate(names(params["ks"])):
        within(metrics[f"{name}_micro"], np.mean(micro, axis=0)[:, at], f"{name}_micro")
        within(metrics[f"{name}_macro"], np.mean(means, axis=0)[:, at], f"{name}_macro")
    found = [v for v in metrics["map_per_class"].values() if v is not None]
    for value, mean in zip(found, means, strict=True):
        within(value, mean[:, 0], "map_per_class")


def within(found, bounds, what):
    low, high = bounds
    if not low - 1e-6 <= found <= high + 1e-6:
        raise ValueError(f"{what}: {found}, expected {low} to {high}")


def names(ks):
    return ["map", "chance"] + [f"{name}_at_{k}" for k in ks for name in ("precision", "recall", "hit")]


def measures(relevant, ties, ks):
    """Measures if relevant items come last, and first, among those whose similarities differ by rounding alone."""
    if not relevant.any():
        return []
    orders = [np.lexsort((relevant, ties)), np.lexsort((~relevant, ties))]
    return [[measured(relevant[order], ks) for order in orders]]


def measured(relevant, ks):
    found = [average_precision_score(relevant, -np.arange(len(relevant))), relevant.mean()]
    for k in ks:
        hits = relevant[:k].sum()
        found += [hits / k, hits / relevant.sum(), min(hits, 1)]
    return found


def map_(cache, record, runs):
    """Neighbours, principal components, and the share of neighbours that a map keeps."""
    params, x = record["params"], cache.features(record["params"]["features"])
    table = pl.read_parquet(runs / params["table"])
    if table["case"].to_list() != cache.names:
        raise ValueError("cases differ")
    places = table.select("projection_x", "projection_y").to_numpy().astype(float)
    distance = 1 - x @ x.T
    np.fill_diagonal(distance, np.inf)
    ids = np.array(table["neighbors"].struct.field("ids").to_list())
    nearest_of_all = np.sort(distance, axis=1)[:, : ids.shape[1]]
    near(np.take_along_axis(distance, ids, 1), nearest_of_all, "neighbours")
    near(table["neighbors"].struct.field("distances").to_list(), nearest_of_all, "distances", 1e-5)
    if params["perplexity"] is None:
        components = PCA(2, svd_solver="full").fit(x)
        near(record["metrics"]["explained_variance_ratio"], components.explained_variance_ratio_, "shares")
        near(places, components.transform(x), "components", 1e-5)
    on_map = ((places[:, None] - places[None]) ** 2).sum(2)
    np.fill_diagonal(on_map, np.inf)
    there = np.argsort(on_map, axis=1, kind="stable")[:, : ids.shape[1]]
    kept = np.mean([len(set(a) & set(b)) / ids.shape[1] for a, b in zip(ids, there)])
    near(record["metrics"]["neighbours_kept"], kept, "neighbours kept", 0.01)
    if cache.meta["has_pictures"]:
        for picture, name in zip(table["picture"], cache.names):
            if picture["path"] != name or max(Image.open(io.BytesIO(picture["bytes"])).size) > 128:
                raise ValueError(f"picture of {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("runs", type=Path)
    args = parser.parse_args()
    cache, failed = Cache(args.cache), False
    for name, check in {"pca": pca, "nearest": nearest, "map": map_, "retrieve": retrieve}.items():
        path = args.runs / f"{name}.jsonl"
        for line in path.read_text().splitlines() if path.exists() else []:
            record = json.loads(line)
            try:
                check(cache, record, args.runs)
                print(f"the same: {record['probe']} {record['setting']}")
            except ValueError as error:
                failed = True
                print(f"differs: {record['probe']} {record['setting']}: {error}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
