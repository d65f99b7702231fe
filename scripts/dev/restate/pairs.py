"""Which records may be compared, and by how much their macro AUROCs differ."""

import json
from itertools import combinations

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score


def pairs(records):
    """Pairs of records that differ in nothing but the backbone, by backbones and settings.

    What was chosen for a backbone may differ. Of several `k` like goes with like, and the chosen ones
    with each other.
    """
    groups = {}
    for record in records:
        if not record.get("predictions"):
            continue
        same = [of_settings(record), record["examples_sha256"], record["dataset"], record["probe"]]
        roles = [record["setting"] if record["probe"] in ("knn", "few-shot") else ""]
        if record["probe"] == "knn" and record.get("chosen"):
            roles.append("chosen")
        for role in roles:
            groups.setdefault((*same, role), {})[record["model"], record["image_size"]] = record
    found = {}
    for group in groups.values():
        for first, second in combinations(sorted(group), 2):
            pair = group[first], group[second]
            found[tuple(record["key"] + record["setting"] for record in pair)] = pair
    return list(found.values())


def of_settings(record):
    """All settings as text; intervals do not matter."""
    settings = {k: v for k, v in record["settings"].items() if k != "confidence"}
    return json.dumps(settings, sort_keys=True)


def difference(pair, runs):
    """The macro AUROCs of two records over the same cases, over classes for which they are defined."""
    tables = [pl.read_parquet(runs / record["predictions"]).sort("sample", "slice") for record in pair]
    keys = [table.select("sample", "slice").rows() for table in tables]
    assert keys[0] == keys[1]
    names = [c.removeprefix("target/") for c in tables[0].columns if c.startswith("target/")]
    exclusive = all(sum(row) == 1 for row in np.array([tables[0][f"target/{n}"] for n in names]).T if None not in row)
    if exclusive and len(names) == 2:
        names = names[1:]
    found = []
    for table in tables:
        values = []
        for name in names:
            known = table.filter(pl.col(f"target/{name}").is_not_null())
            truth = known[f"target/{name}"].to_numpy()
            if 0 < truth.sum() < len(truth):
                values.append(roc_auc_score(truth, known[f"score/{name}"].to_numpy()))
        found.append(float(np.mean(values)) if values else None)
    return found, len(keys[0])


def check(lines, records, runs, differs, tolerance):
    """Compares what `probe compare --format json` printed with the pairs found here."""
    expected = {}
    for pair in pairs(records):
        names = [(f"{r['model']}@{r['image_size']}", r["setting"]) for r in pair]
        expected[pair[0]["dataset"], pair[0]["probe"], of_settings(pair[0]), *names] = pair
    told = {
        (line["dataset"], line["probe"], of_settings(line), tuple(line["first"]), tuple(line["second"])): line
        for line in lines
    }
    if set(told) != set(expected) or len(told) != len(lines):
        raise differs(f"{len(lines)} are compared, of {set(told) ^ set(expected)} one side only")
    for name, pair in expected.items():
        aurocs, cases = difference(pair, runs)
        line = told[name]
        change = None if None in aurocs else aurocs[0] - aurocs[1]
        values = [*line["auroc_macro"], line["difference"], line["cases"]]
        for value, own in zip(values, [*aurocs, change, cases]):
            is_same = value is own if None in (value, own) else abs(value - own) <= tolerance
            if not is_same:
                raise differs(f"compared {name}: {values}, expected {aurocs}, {cases} cases")
    return len(expected)
