"""Computes the results of `probe` anew and compares them with what it recorded.

    python scripts/dev/restate CACHES RUNS [--compared FILE]

CACHES and RUNS are the folders of `extract --cache` and `probe --runs`. Every record of a probe, a few-shot
run or a saved head that was applied (`predict`) is computed from the cache alone, with NumPy, SciPy and
scikit-learn: draws, votes, heads, choices, thresholds, scores, measures, intervals and negative controls. FILE is the output of `probe compare --runs RUNS --format
json`: its pairs, differences, intervals and tests are computed from the records. Learning curves are fitted
again, without their intervals. Prints a line per record; exits with 1
if a value differs by more than its tolerance. Ranks of scores that differ by less than the tolerance
are undefined, so AUROC and average precision may take any value that breaking such ties can give.
Records of an approximate index, of linfa, of decoders and of probes that evaluations.py lacks are listed as
not restated. Saved heads are
found by the paths in the records: run it where `predict` ran.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import curves
import evaluations
import intervals
import numpy as np
import pairs
import polars as pl
from measures import bounds_of_ranks, macro_auroc, mean, measured

from caches import Cache

# Scores and measures: both sides round in f32 on the way. Heads are trained in f32.
TOLERANCE = 1e-6
# Votes by distance weigh by 1 / (1 - product), of products near 1 in f32.
BY_DISTANCE = 1e-5


class Differs(Exception):
    """A value that is not the recorded one."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("caches", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--compared", type=Path)
    args = parser.parse_args()
    caches = {
        hashlib.sha256(meta.read_bytes()).hexdigest(): meta.parent
        for meta in args.caches.glob("*/*/meta.json")
    }
    counts = {"the same": 0, "differs": 0, "not restated": 0}
    all_records = list(records(args.runs))
    for record in all_records:
        what = f"{record['probe']} {record['protocol']} {record['setting']}"
        reason = left_out(record)
        if reason is None:
            try:
                if record["probe"] == "curve":
                    most = curves.compare(record, all_records, compare_values)
                    counts["the same"] += 1
                    print(f"{what}: the same: largest difference {most:.1e}")
                    continue
                together = [r["params"]["k"] for r in all_records
                            if r["probe"] == "knn" and r["key"] == record["key"]]
                cache = Cache(caches[record["cache_sha256"]], record["protocol"])
                most = compare(cache, record, args.runs, together)
                outcome, reason = "the same", f"largest difference {most:.1e}"
            except Differs as difference:
                outcome, reason = "differs", str(difference)
        else:
            outcome = "not restated"
        counts[outcome] += 1
        print(f"{what}: {outcome}: {reason}")
    if args.compared:
        lines = list(map(json.loads, args.compared.read_text(encoding="utf-8").splitlines()))
        try:
            count = pairs.check(lines, all_records, args.runs, Differs, TOLERANCE)
            counts["the same"] += count
            print(f"{count} pairs: the same")
        except Differs as difference:
            counts["differs"] += 1
            print(f"pairs: differs: {difference}")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    sys.exit(1 if counts["differs"] or not counts["the same"] else 0)


def records(runs):
    for file in sorted(runs.glob("*.jsonl")):
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def left_out(record):
    if record["probe"] == "segment" or "label_maps" in record["params"]:
        return "a decoder"
    if record["probe"] == "curve":
        return None
    if record["probe"] != "predict" and evaluations.method_of(record) is None:
        return "a probe without a method in `Evaluation`"
    for key, value in {"index": "hnsw", "solver": "linfa"}.items():
        if record["params"].get(key) == value:
            return value
    return None


def compare(cache, record, runs, ks):
    """The largest difference between what is recorded and what comes out here."""
    results = evaluations.restated(cache, record, ks)
    most = 0.0
    by_distance = record["params"].get("vote") == "distance"
    tolerance = BY_DISTANCE if by_distance else TOLERANCE
    if record.get("control") == "shuffled-labels":
        aurocs = [mean([macro_auroc(draw.cases, record["protocol"]) for draw in draws_of(result)])
                  for result in results]
        results = results[1:]
        # Equal but for rounding is as good.
        as_good = sum(auroc >= aurocs[0] - 1e-12 for auroc in aurocs[1:])
        found = {"true_labels_auroc_macro": aurocs[0], "p_permutation": (1 + as_good) / len(aurocs)}
        for name, value in found.items():
            most = max(most, compare_values(value, record["metrics"][name], name))
    if record.get("spread"):
        for name, of in record["spread"].items():
            most = max(most, compare_values(float(np.mean(of["draws"])), record["metrics"][name], name))
            most = max(most, compare_values(float(np.std(of["draws"], ddof=1)), of["sd"], f"sd {name}"))
    for number, result in enumerate(results):
        found, ties = {}, {}
        if record.get("spread"):
            expected = {k: v["draws"][number] for k, v in record["spread"].items()}
            draws = draws_of(result)
            each = [measures_of(draw, record, cache.classes) for draw in draws]
            found = {k: mean([values.get(k) for values in each]) for k in expected}
            each = [bounds_of_ranks(draw.cases, record["protocol"], cache.classes, tolerance) for draw in draws]
            ties = {k: tuple(mean([values[k][side] for values in each if k in values]) for side in (0, 1))
                    for k in each[0] if k in expected}
            if record.get("control") != "shuffled-labels":
                sizes = record["params"].get("train_per_draw", [record["n_train"]] * len(results))
                check(result.n_train, sizes[number], "n_train")
        else:
            cases = result.scored or result.cases
            if result.cases:
                found = measures_of(result, record, cache.classes)
                ties = bounds_of_ranks(result.cases, record["protocol"], cache.classes, tolerance)
            expected = record["metrics"]
            check(len(result.cases.scores) if result.cases else 0, record["n_test"], "n_test")
            check(result.n_train, record["n_train"], "n_train")
            path = runs / record["predictions"]
            most = max(most, compare_scores(cases, path, cache.classes, tolerance))
            if record.get("ci"):
                ci = intervals.restated(result.cases, record["ci"], record["protocol"], cache.classes)
                most = max(most, compare_values(ci, record["ci"], "ci"))
        # Thresholds are scores.
        for part in ("thresholds", "brier", "ece"):
            if part in found and part in expected:
                most = max(most, compare_values(found.pop(part), expected[part], part, tolerance))
                expected = {k: v for k, v in expected.items() if k != part}
        expected = dict(expected)
        for part, bounds in ties.items():
            if part in expected and is_within(expected[part], bounds):
                del expected[part], found[part]
        most = max(most, compare_values(found, expected, ""))
        for name, value in getattr(result, "params", {}).items():
            most = max(most, compare_values(value, record["params"].get(name), name))
    return most


def draws_of(result):
    """Draws of one order of the labels: few-shot runs have several."""
    return result if isinstance(result, list) else [result]


def measures_of(result, record, classes):
    found = measured(result.cases, result.thresholds, record["protocol"], classes)
    if "thresholds" in found:
        found["threshold_rule"] = result.rule
    return found


def is_within(value, bounds):
    """Whether a number, or each of a map, lies between its bounds."""
    if isinstance(value, dict):
        return set(value) == set(bounds) and all(is_within(value[k], bounds[k]) for k in value)
    return bounds[0] - TOLERANCE <= value <= bounds[1] + TOLERANCE


def check(found, expected, what):
    if found != expected:
        raise Differs(f"{what} is {found}, recorded {expected}")


def compare_values(found, expected, name, tolerance=TOLERANCE):
    """Numbers, or maps and bounds of them; what is recorded and not known here is an error too."""
    if isinstance(expected, dict):
        if set(found) != set(expected):
            raise Differs(f"{name}: {sorted(found)}, recorded {sorted(expected)}")
        each = [compare_values(found[k], expected[k], f"{name} {k}", tolerance) for k in expected]
        return max(each, default=0)
    if isinstance(expected, list) and all(isinstance(value, float) for value in expected):
        check(len(found), len(expected), name)
        return max(compare_values(*pair, name, tolerance) for pair in zip(found, expected))
    if not isinstance(expected, float) or isinstance(found, str):
        check(found, expected, name)
        return 0.0
    if not abs(found - expected) <= tolerance * max(1.0, abs(expected)):
        raise Differs(f"{name} is {found}, recorded {expected}")
    return abs(found - expected) / max(1.0, abs(expected))


def compare_scores(cases, path, classes, tolerance):
    table = pl.read_parquet(path)
    keys = list(zip(table["sample"], table["slice"]))
    place = {key: at for at, key in enumerate(keys)}
    order = [place[case.sample, case.slice] for case in cases.of]
    check(sorted(order), list(range(len(keys))), "the cases")
    columns = lambda kind: np.stack([table[f"{kind}/{name}"].to_numpy() for name in classes], 1)
    scores = columns("score")[order]
    truth = np.array([[np.nan if v is None else float(v) for v in table[f"target/{n}"]] for n in classes])
    if not np.array_equal(truth.T[order], cases.truth, equal_nan=True):
        raise Differs("targets differ")
    difference = np.abs(scores - cases.scores).max()
    if not difference <= tolerance:
        raise Differs(f"a score differs by {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
