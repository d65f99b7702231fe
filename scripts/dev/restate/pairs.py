"""Which records may be compared, and whether `probe compare` found what it must."""

import json
from itertools import combinations

from compared import compared, holm, is_comparable


def pairs(records):
    """Pairs of records that differ in nothing but the backbone, by backbones and settings.

    What was chosen for a backbone may differ. Of several `k` like goes with like, and the chosen ones
    with each other.
    """
    groups = {}
    for record in records:
        if not is_comparable(record):
            continue
        same = [of_settings(record), record["examples_sha256"], record["dataset"], record["probe"]]
        roles = [record["setting"] if record["probe"] in ("knn", "few-shot") else ""]
        if record["probe"] == "segment":
            roles = [record["params"]["shots"]]
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
    for name, line in told.items():
        found = compared(expected[name], runs, line["confidence"])
        for key, own in found.items():
            if not is_same(line[key], own, tolerance):
                raise differs(f"compared {name}: {key} is {line[key]}, expected {own}")
    corrected = holm([line["p"] for line in lines])
    if not is_same([line["p_holm"] for line in lines], corrected, tolerance):
        raise differs("compared: p_holm is not Holm's correction of p")
    return len(expected)


def is_same(value, own, tolerance):
    if isinstance(own, list) and isinstance(value, list):
        return len(value) == len(own) and all(is_same(*of, tolerance) for of in zip(value, own))
    return value is own if None in (value, own) else abs(value - own) <= tolerance
