"""Examples of a cache: features, targets and parts, as `docs/cache-format.md` and `docs/probes.md` describe them."""

import functools
import json
from collections import defaultdict
from dataclasses import dataclass, field

import controls
import numpy as np
import polars as pl
from chacha import Random

NIH = (
    "Atelectasis Cardiomegaly Consolidation Edema Effusion Emphysema Fibrosis Hernia Infiltration Mass "
    "Nodule Pleural_Thickening Pneumonia Pneumothorax"
).split()
CHEXPERT = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"]
NO_FINDING, UNCERTAIN = "No Finding", "Uncertain"


@dataclass(frozen=True)
class Case:
    sample: str
    slice: int | None
    patient: str | None

    @property
    def cluster(self):
        return self.sample if self.patient is None else self.patient


class Cache:
    """A cache by the rules of a protocol: the study's code adds a class to two datasets' own."""

    def __init__(self, folder, protocol):
        self.folder, self.protocol = folder, protocol
        self.meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self.classes = self.meta["classes"]
        self.single = self.meta["task"] == "single-label"
        self.made = None
        if protocol == "paper" and not self.single:
            made = {tuple(NIH): NO_FINDING, tuple(CHEXPERT): UNCERTAIN}
            self.made = made.get(tuple(sorted(self.classes)))
        self.own, self.classes = self.classes, self.classes + [self.made] * bool(self.made)
        self.slices = pl.read_parquet(sorted((folder / "slices").glob("*.parquet"))).sort("row")

    def tokens(self, kind, layer):
        column = f"{kind}_{layer}"
        table = pl.read_parquet(sorted((self.folder / kind).glob("*.parquet")), columns=["row", column])
        rows = table.sort("row")[column].to_list()
        return np.stack([np.frombuffer(row, "<f2") for row in rows]).astype(np.float32)

    def states(self):
        """What is true of each slice and class: 1, 0, or NaN; and whether anything is known."""
        if self.single:
            labels = self.slices["label"].to_list()
            states = np.array([[float(label == c) for c in range(len(self.classes))] for label in labels])
            return states, np.array([label is not None for label in labels])
        columns = [self.slices[f"label_{name}"].to_list() for name in self.own]
        known = np.array([any(v is not None for v in row) for row in zip(*columns)])
        # A blank beside known labels is absent; an uncertain label is absent in the study, else unknown.
        value = {None: 0.0, 0: 0.0, 1: 1.0, -1: 0.0 if self.protocol == "paper" else np.nan}
        rows = list(zip(*columns))
        states = [[value[v] for v in row] for row in rows]
        if self.made:
            is_made = {NO_FINDING: lambda row: 1 not in row, UNCERTAIN: lambda row: -1 in row}[self.made]
            states = [own + [float(is_made(row))] for own, row in zip(states, rows)]
        return np.array(states), known


def merged(states):
    """A group's state: present if any is, else unknown if any is, else absent. [M, C] to [C]."""
    present, unknown = (states == 1).any(axis=0), np.isnan(states).any(axis=0)
    return np.where(present, 1.0, np.where(unknown, np.nan, 0.0))


@dataclass
class Examples:
    """Of N examples: what they are, and the numbers of their plain and augmented rows of features."""

    cases: list
    split: list
    truth: np.ndarray
    plain: list
    views: list
    single: bool
    # Whether they are labelled.
    known: list = field(default_factory=list)
    width: dict = field(default_factory=dict)
    tokens: dict = field(default_factory=dict)

    def of(self, *splits):
        return [n for n, split in enumerate(self.split) if split in splits]

    def features(self, names, rows):
        return np.hstack([self.tokens[name][rows] for name in names])

    def normalised(self, names, examples):
        x = self.features(names, [self.plain[n] for n in examples])
        length = np.sqrt((x.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
        return x / np.maximum(length, np.float32(1e-12))[:, None]

    def labels(self, examples):
        return self.truth[examples].argmax(axis=1)


def read(cache, record, names, labelled=True):
    """The examples of a record: slices, or volumes whose tokens are pooled; of those without labels,
    which are left out if `labelled`, nothing is known.
    """
    params, slices = record["params"], cache.slices
    states, known = cache.states()
    volumes = params["unit"] == "volume"
    rows = defaultdict(list)
    for row, (sample, number, view) in enumerate(zip(slices["sample"], slices["slice"], slices["view"])):
        rows[sample, None if volumes else number, view].append(row)
    states[~known] = np.nan
    rows = {key: members for key, members in rows.items() if known[members].any() or not labelled}
    split = named_split(cache, record) or slices["split"].to_list()
    examples = Examples([], [], None, [], [], cache.single)
    truth, place, members_of = [], {}, list(rows.values())
    for number, ((sample, at, view), members) in enumerate(rows.items()):
        if (sample, at) not in place:
            place[sample, at] = len(examples.cases)
            examples.cases.append(Case(sample, at, slices["patient"][members[0]]))
            examples.split.append(split[members[0]])
            examples.plain.append(None)
            examples.views.append([])
            examples.known.append(bool(known[members].any()))
            truth.append(None)
        n = place[sample, at]
        if view == 0:
            examples.plain[n] = number
            truth[n] = merged(states[[row for row in members if known[row]] or members])
        else:
            examples.views[n].append((view, number))
    examples.truth = np.array(truth)
    for n, views in enumerate(examples.views):
        examples.views[n] = [number for _, number in sorted(views)] or [examples.plain[n]]
    for kind, layer in names:
        tokens = cache.tokens(kind, layer)
        pool = functools.partial(pooled, tokens, params["pool"])
        examples.tokens[kind, layer] = np.stack([pool(members) for members in members_of])
    if record.get("control") == "metadata-only":
        controls.metadata(examples, names, slices, members_of)
    if record.get("control") == "random-features":
        controls.random_features(examples, names, record["seed"])
    held = params.get("val_from_train")
    if held:
        hold_out(examples, held, record["seed"])
    return examples


def pooled(tokens, pool, rows):
    """In f32, one after another; kept in half precision."""
    joined = functools.reduce(np.add if pool == "mean" else np.maximum, tokens[rows])
    if pool == "mean" and len(rows) > 1:
        joined = joined / np.float32(len(rows))
    return joined.astype(np.float16).astype(np.float32)


def named_split(cache, record):
    if not record.get("split_name"):
        return None
    table = pl.read_parquet(cache.folder / "splits" / f"{record['split_name']}.parquet")
    split = dict(zip(table["sample"], table["split"]))
    return [split[sample] for sample in cache.slices["sample"]]


def hold_out(examples, held, seed):
    """A share of the patients in `train` becomes `val`, of each set of classes in proportion."""
    kinds = defaultdict(set)
    for n in examples.of("train"):
        kinds[examples.cases[n].cluster] |= set(np.flatnonzero(examples.truth[n] == 1))
    order = Random(seed).shuffle(sorted(kinds))
    order.sort(key=lambda patient: sorted(kinds[patient]))
    count = len(order)
    # Halves go away from 0.
    taken = min(max(int(held["share"] * count + 0.5), 1), count - 1)
    drawn = {order[(2 * k + 1) * count // (2 * taken)] for k in range(taken)}
    word = "patients" if any(case.patient is not None for case in examples.cases) else "samples"
    assert (taken, count) == (held[word], held["of"])
    for n in examples.of("train"):
        if examples.cases[n].cluster in drawn:
            examples.split[n] = "val"
