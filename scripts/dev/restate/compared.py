"""What `probe compare` must find for a pair of records: differences, intervals, effects and tests."""

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from chacha import Random
from intervals import interval
from measures import area
from scipy import stats

# With fewer patients there is no interval and no p-value.
FEWEST_UNITS = 6
TESTS = ("ci", "p", "p_wilcoxon", "rank_biserial", "rank_biserial_ci", "accuracy_ci")
OVERLAPS = ("dice_macro", "dice_pooled")


def measure_of(record):
    return next((name for name in OVERLAPS if name in record["metrics"]), "auroc_macro")


def is_comparable(record):
    """Whether a record has scores, Dice coefficients, or the measures of several draws."""
    if record.get("predictions"):
        return measure_of(record) in OVERLAPS or "label_maps" not in record["params"]
    draws = record.get("spread", {}).get(measure_of(record), {}).get("draws", [])
    return len(draws) > 1 and not record.get("control")


def compared(pair, runs, confidence):
    """The numbers of a pair by the names that `compare` prints."""
    measure = measure_of(pair[0])
    if not pair[0].get("predictions"):
        found = by_draws([record["spread"][measure]["draws"] for record in pair], confidence)
        found["cases"] = pair[0]["n_test"]
    else:
        files = [runs / record["predictions"] for record in pair]
        tables = [pl.read_parquet(file) for file in files]
        if measure == "auroc_macro":
            found = by_scores(tables, all(map(is_single, files)), confidence)
        else:
            found = by_volumes(tables, measure, confidence)
    if pair[0].get("predictions") and found["units"] < FEWEST_UNITS:
        found |= dict.fromkeys(set(TESTS) & set(found))
    return found | {"recorded": [record["metrics"].get(measure) for record in pair]}


def by_draws(draws, confidence):
    differences = np.subtract(*draws)
    found = {"units": len(differences), "values": [float(np.mean(of)) for of in draws]}
    found["difference"] = float(differences.mean())
    if np.ptp(differences) == 0:
        # The same examples in each draw.
        return found | dict.fromkeys(("ci", "p", "p_wilcoxon", "rank_biserial"))
    test = stats.ttest_1samp(differences, 0)
    found |= {"ci": list(test.confidence_interval(confidence["level"])), "p": float(test.pvalue)}
    return found | {"p_wilcoxon": wilcoxon(differences), "rank_biserial": rank_biserial(differences)}


def is_single(file):
    """Whether the file says that each case is of one class; `predict` does not."""
    return pq.read_metadata(file).metadata.get(b"slicebank.task") == b"single-label"


def by_scores(tables, single, confidence):
    first = tables[0]
    keys = [table.select("sample", "slice").rows() for table in tables]
    assert sorted(keys[0], key=str) == sorted(keys[1], key=str)
    place = {key: at for at, key in enumerate(keys[1])}
    tables = [first, tables[1][[place[key] for key in keys[0]]]]
    names = [c.removeprefix("target/") for c in first.columns if c.startswith("target/")]
    truth = first.select(pl.col(f"target/{name}").cast(pl.Float64) for name in names).to_numpy()
    scores = [table.select(f"score/{name}" for name in names).to_numpy() for table in tables]
    exclusive = not np.isnan(truth).any() and (truth.sum(axis=1) == 1).all()
    columns = [1] if exclusive and len(names) == 2 else range(len(names))

    def aurocs(rows, of):
        known = {c: rows[~np.isnan(truth[rows, c])] for c in columns}
        return {c: area(truth[known[c], c], scores[of][known[c], c]) for c in columns}

    everything = np.arange(len(truth))
    defined = [c for c, value in aurocs(everything, 0).items() if value is not None]

    def mean(rows, of):
        found = aurocs(rows, of)
        values = [found[c] for c in defined]
        return float(np.mean(values)) if values and None not in values else None

    patients = clusters(first)
    found = {"cases": len(truth), "units": len(set(patients))}
    found |= by_patients(patients, mean, confidence)
    if single and len(set(patients)) > 1:
        right = [of.argmax(axis=1) == truth.argmax(axis=1) for of in scores]
        accuracy = by_patients(patients, lambda rows, of: float(right[of][rows].mean()), confidence)
        found |= {"accuracy_difference": accuracy["difference"], "accuracy_ci": accuracy["ci"]}
    if single and len(set(patients)) == len(patients):
        right = [of.argmax(axis=1) == truth.argmax(axis=1) for of in scores]
        only = [int((right[of] & ~right[1 - of]).sum()) for of in (0, 1)]
        found["p_mcnemar"] = float(stats.binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0
    return found


def by_volumes(tables, measure, confidence):
    """`tables` have a row per volume and class; the volumes of the first give the order."""
    classes = list(dict.fromkeys(tables[0]["class"]))
    samples = list(dict.fromkeys(tables[0]["sample"]))
    order = {sample: n for n, sample in enumerate(samples)}
    tables = [table.sort(pl.col("sample").replace_strict(order), maintain_order=True) for table in tables]
    shape = (len(samples), len(classes))
    dice = [table["dice"].to_numpy().astype(float).reshape(shape) for table in tables]
    sizes = [(t["true_pixels"] + t["predicted_pixels"]).to_numpy().reshape(shape) for t in tables]

    def mean(rows, of):
        d, s = dice[of][rows], sizes[of][rows]
        if measure == "dice_pooled":
            values = np.nansum(d * s, axis=0)[s.sum(axis=0) > 0] / s.sum(axis=0)[s.sum(axis=0) > 0]
        else:
            values = [np.nanmean(d[:, c]) for c in range(shape[1]) if not np.isnan(d[:, c]).all()]
        return float(np.mean(values)) if len(values) else None

    patients = clusters(tables[0].unique("sample", keep="first", maintain_order=True))
    found = {"cases": shape[0], "units": len(set(patients))} | by_patients(patients, mean, confidence)
    with np.errstate(all="ignore"):
        each = [np.array([of[~np.isnan(of)].mean() for of in d]) for d in dice]
    gaps = [(who, gap) for who, gap in zip(patients, each[0] - each[1]) if not np.isnan(gap)]
    named = sorted({who: None for who, _ in gaps}, key=[who for who, _ in gaps].index)
    differences = np.array([np.mean([gap for who, gap in gaps if who == name]) for name in named])
    if found["units"] > 1:
        found |= {"p_wilcoxon": wilcoxon(differences), "rank_biserial": rank_biserial(differences)}
    if len(differences) > 1:
        drawn = [rank_biserial(differences[rows]) for rows in draws_of(range(len(named)), confidence)]
        found["rank_biserial_ci"] = interval(drawn, confidence["level"], 1.0)
    return found


def by_patients(patients, mean, confidence):
    """The measure of both, their difference, and its interval and p-value by draws of patients."""
    everything = np.arange(len(patients))
    values = [mean(everything, of) for of in (0, 1)]
    found = {"values": values, "difference": None, "ci": None, "p": None}
    if len(set(patients)) < 2 or None in values:
        return found
    drawn = []
    for rows in draws_of(patients, confidence):
        each = [mean(rows, of) for of in (0, 1)]
        drawn.append(None if None in each else each[0] - each[1])
    defined = [value for value in drawn if value is not None]
    ci = interval(drawn, confidence["level"], 1.0)
    tail = min(sum(value <= 0 for value in defined), sum(value >= 0 for value in defined))
    p = min(1.0, 2 * (1 + tail) / (1 + len(defined))) if ci else None
    return found | {"difference": values[0] - values[1], "ci": ci, "p": p}


def draws_of(patients, confidence):
    """The rows of the cases in each draw of patients, who are numbered as they appear."""
    number = {patient: n for n, patient in enumerate(dict.fromkeys(patients))}
    of = np.array([number[patient] for patient in patients])
    for draw in range(confidence["draws"]):
        random = Random.of_key(confidence["seed"], draw)
        drawn = [random.u64() * len(number) >> 64 for _ in number]
        yield np.repeat(np.arange(len(of)), np.bincount(drawn, minlength=len(number))[of])


def clusters(table):
    rows = zip(table["patient"], table["sample"])
    return [sample if patient is None else patient for patient, sample in rows]


def wilcoxon(differences):
    return float(stats.wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def rank_biserial(differences):
    kept = differences[differences != 0]
    ranks = stats.rankdata(np.abs(kept))
    return float((np.sign(kept) * ranks).sum() / ranks.sum()) if len(kept) else None


def holm(p):
    """p-values after Holm's correction; those that are `None` do not count."""
    known = sorted((value, at) for at, value in enumerate(p) if value is not None)
    found, least = [None] * len(p), 0.0
    for before, (value, at) in enumerate(known):
        least = min(1.0, max(least, value * (len(known) - before)))
        found[at] = least
    return found
