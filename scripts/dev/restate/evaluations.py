"""What a record says that was done, done again."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import probes
from chacha import Random
from controls import shuffled
from measures import Cases, accuracy, best_thresholds, can_choose, macro_auroc

from caches import NIH, NO_FINDING, read


@dataclass
class Result:
    """What came out of one draw."""

    cases: Cases
    # One per measured class, and where they come from.
    thresholds: list
    rule: str
    n_train: int
    # Parameters of the record that were found here.
    params: dict = field(default_factory=dict)
    # What has scores, where some of it is not measured.
    scored: Cases = None


@dataclass
class Parts:
    """Numbers of examples: fitted on to choose, chosen on, fitted on to be evaluated, evaluated."""

    train: list
    val: list
    fit: list
    test: list
    chosen_on: str


class Evaluation:
    """A record, its examples, and one draw of them."""

    def __init__(self, cache, record, examples, parts, seed):
        self.cache, self.record, self.params = cache, record, record["params"]
        self.examples, self.parts, self.seed = examples, parts, seed
        self.paper = record["protocol"] == "paper"

    def cases(self, part, scores):
        of = [self.examples.cases[n] for n in part]
        decision = self.params.get("head", self.record["probe"]) == "ridge"
        cases = Cases(of, scores, self.examples.truth[part], self.cache.single, decision)
        return cases.per_patient() if self.record["per_patient"] else cases

    def good(self, part, scores):
        """By what settings are chosen."""
        cases = self.cases(part, scores)
        if self.params.get("select") == "accuracy":
            return accuracy(cases)
        return macro_auroc(cases, self.record["protocol"])

    def result(self, score, params):
        """`score(keys, queries)` gives the scores of a part by a fit to another."""
        parts = self.parts
        cases = self.cases(parts.test, score(parts.fit, parts.test))
        thresholds, rule = [cases.threshold() for _ in cases.columns()], default_rule(cases)
        if parts.chosen_on == "val" and parts.val and self.params.get("head") != "centroid":
            on_val = self.cases(parts.val, score(parts.train, parts.val))
            rule = "val-f1" if can_choose(on_val) else default_rule(cases)
            thresholds = best_thresholds(on_val)
        return Result(cases, thresholds, rule, len(parts.fit), params)

    def knn(self, names, ks):
        scores = lambda k: lambda keys, queries: self.votes(names, k, keys, queries)
        params = self.params
        if len(ks) > 1:
            part = self.parts.val if self.parts.chosen_on == "val" else self.parts.test
            keys = self.parts.train if self.parts.chosen_on == "val" else self.parts.fit
            goods = [self.good(part, scores(k)(keys, part)) for k in ks]
            best = None if set(goods) == {None} else ks[first_best(goods)]
            is_best = None if best is None else best == params["k"]
            assert is_best == self.record.get("chosen"), (best, goods)
        return self.result(scores(params["k"]), {})

    def votes(self, names, k, keys, queries):
        x, examples = self.examples, self.params
        excludes = examples.get("exclude_self", False)
        k = min(k, len(keys) - excludes)
        vectors = [x.normalised(names, part) for part in (keys, queries)]
        if examples["vote"] == "ml-knn":
            return probes.ml_knn(vectors[0], x.truth[keys], vectors[1], k, excludes)
        return probes.votes(vectors[0], x.truth[keys], vectors[1], k, examples)

    def centroid(self, names):
        def scores(keys, queries):
            vectors = [self.examples.normalised(names, part) for part in (keys, queries)]
            truth = self.examples.truth[keys]
            return probes.centroid(vectors[0], truth, vectors[1], self.cache.single)

        return self.result(scores, {})

    def logreg(self, names):
        def scores(c):
            def of(keys, queries):
                x = [self.examples.features(names, [self.examples.plain[n] for n in part])
                     for part in (keys, queries)]
                fit = probes.logreg(
                    x[0].astype(np.float64), self.examples.truth[keys], self.cache.single, c)
                # Heads are kept in f32.
                weight, bias = (values.astype(np.float32).astype(np.float64) for values in fit)
                return probes.probabilities(x[1] @ weight.T + bias, self.cache.single, False)

            return of

        parts, cs = self.parts, self.params["grid_C"]
        goods = [self.good(parts.val, scores(c)(parts.train, parts.val)) for c in cs]
        best = first_best(goods)
        measure = "accuracy" if self.params.get("select") == "accuracy" else "auroc_macro"
        return self.result(scores(cs[best]), {"C": cs[best], f"val_{measure}": goods[best]})

    def ridge(self, names):
        def scores(alpha):
            def of(keys, queries):
                x = [self.examples.features(names, [self.examples.plain[n] for n in part]).astype(np.float64)
                     for part in (keys, queries)]
                weight, bias = probes.ridge(x[0], self.examples.truth[keys], self.cache.single, alpha)
                return probes.decisions(x[1] @ weight.T + bias, self.cache.single)

            return of

        parts, alphas = self.parts, self.params["grid_alpha"]
        goods = [self.good(parts.val, scores(alpha)(parts.train, parts.val)) for alpha in alphas]
        best = first_best(goods)
        return self.result(scores(alphas[best]), {"alpha": alphas[best], "val_auroc_macro": goods[best]})

    def linear(self):
        examples, parts, params = self.examples, self.parts, self.params
        truth = row_truth(examples)
        grid = [(blocks, mean, rate) for blocks in params["grid_blocks"]
                for mean in (True, False) for rate in params["grid_learning_rates"]]

        def scores(stream):
            blocks, mean, rate = grid[stream]
            names = linear_names(blocks, mean)
            rows = max(max(r) for r in examples.views + [examples.plain]) + 1
            x = examples.features(names, list(range(rows))).astype(np.float64)

            def of(keys, queries):
                weight, bias = probes.linear(
                    x, truth, self.cache.single, [examples.views[n] for n in keys],
                    (np.float32(rate).astype(float), stream), params, self.seed)
                logits = x[[examples.plain[n] for n in queries]] @ weight.T + bias
                return probes.probabilities(logits, self.cache.single, self.paper)

            return of

        goods = [self.good(parts.val, scores(n)(parts.train, parts.val)) for n in range(len(grid))]
        best = first_best(goods)
        blocks, mean, rate = grid[best]
        measure = "accuracy" if params.get("select") == "accuracy" else "auroc_macro"
        found = {"blocks": blocks, "mean": mean, "learning_rate": rate, f"val_{measure}": goods[best]}
        return self.result(scores(best), found)


def default_rule(cases):
    return "0" if cases.decision else "0.5"


def first_best(values):
    """Of values that rounding alone tells apart the first."""
    values = [-np.inf if v is None else v for v in values]
    return next(n for n, v in enumerate(values) if v >= max(values) - 1e-12)


def row_truth(examples):
    """The truth of each row of features."""
    rows = {row: n for n in range(len(examples.cases))
            for row in [examples.plain[n], *examples.views[n]]}
    return examples.truth[[rows[row] for row in range(len(rows))]]


def linear_names(blocks, mean):
    """CLS tokens of the last blocks, oldest first, and the last mean patch token."""
    return [("cls", layer) for layer in range(blocks, 0, -1)] + [("mean", 1)] * mean


def names_of(params, probe):
    if probe == "linear":
        return linear_names(max(params["grid_blocks"]), True)
    kinds = {"cls": ["cls"], "mean-patch": ["mean"], "cls+mean-patch": ["cls", "mean"]}
    return [(kind, params["layer"]) for kind in kinds[params["features"]]]


def restated(cache, record, ks):
    """A result for each draw of a record; `ks` are those of the records of its evaluation."""
    params, seed = record["params"], record["seed"]
    if record["probe"] == "predict":
        return [predicted(cache, record)]
    probe = params.get("head", record["probe"])
    names = names_of(params, probe)
    examples = read(cache, record, names)
    if record.get("control") == "shuffled-labels":
        # The true labels first.
        orders = [examples, *(shuffled(examples, seed, n) for n in range(params["permutations"]))]
        if record["probe"] == "few-shot":
            return [few_shots(cache, record, probe, names, of) for of in orders]
        results = [evaluated(cache, of_order(record, n - 1), probe, names, of, [], seed)
                   for n, of in enumerate(orders)]
        for result in results:
            result.params = {}
        return results
    if record["probe"] == "few-shot":
        return few_shots(cache, record, probe, names, examples)
    return [evaluated(cache, record, probe, names, examples, ks, seed)]


def few_shots(cache, record, probe, names, examples):
    """A result for each draw of training examples."""
    params, seed = record["params"], record["seed"]
    draws, results = params.get("draws", 1), []
    for draw in range(draws):
        parts = few_shot_parts(examples, record, cache.classes, seed + draw)
        own = {}
        if probe == "knn":
            own["k"] = int(params["setting_per_draw"][draw].split("=")[1])
        record_of_draw = {**record, "params": {**params, **own}}
        evaluation = Evaluation(cache, record_of_draw, examples, parts, seed + draw)
        result = fitted(evaluation, probe, names, [])
        if draws > 1:
            result.params = {}
        results.append(result)
    return results


def of_order(record, number):
    """A record of one order of the labels; of the true ones, before all others, the record itself."""
    params = record["params"]
    if record["probe"] != "knn" or number < 0:
        return record
    k = int(params["setting_per_permutation"][number].split("=")[1])
    whole = params["normalised_over"] if record["protocol"] == "paper" else k
    return {**record, "params": {**params, "k": k, "normalised_over": whole}}


def evaluated(cache, record, probe, names, examples, ks, seed):
    parts = whole_parts(examples, record)
    return fitted(Evaluation(cache, record, examples, parts, seed), probe, names, ks)


def fitted(evaluation, probe, names, ks):
    if probe == "knn":
        return evaluation.knn(names, ks)
    if probe == "linear":
        return evaluation.linear()
    return method_of(evaluation.record)(evaluation, names)


def method_of(record):
    """The method of `Evaluation` that has the name of the probe, with `_` for `-`."""
    probe = record["params"].get("head", record["probe"])
    return getattr(Evaluation, probe.replace("-", "_"), None)


def whole_parts(examples, record):
    test = examples.of(record["split"])
    val = examples.of("val") if record["split"] == "test" else []
    fit = examples.of(*record["params"]["train"].split("+"))
    on = record.get("chosen_on") or "val"
    if record["protocol"] == "paper" and (record["probe"] == "knn" or not val) and record["split"] == "test":
        on = "test"
    return Parts(examples.of("train"), test if on == "test" else val, fit, test, on)


def few_shot_parts(examples, record, classes, seed):
    shots, test = record["params"]["shots"], examples.of("test")
    if record["protocol"] == "paper":
        # The study's code numbers `train`, then `val`.
        pool = examples.of("train") + examples.of("val")
        drawn = pool if shots is None else study_draw(examples, pool, classes, shots)
        return Parts(drawn, test, drawn, test, "test")
    pool = examples.of("train")
    drawn = pool if shots is None else random_draw(examples, pool, record["params"], shots, seed)
    return Parts(drawn, examples.of("val"), drawn, test, "val")


def random_draw(examples, pool, params, shots, seed):
    """Of each class so many patients (with all examples) or examples, in a seeded order."""
    one = lambda n: n if params.get("draw_of") == "examples" else examples.cases[n].cluster
    taken = set()
    for c in range(examples.truth.shape[1]):
        having = sorted({one(n) for n in pool if examples.truth[n, c] == 1})
        taken |= set(Random(seed, c).shuffle(having)[:shots])
    return [n for n in pool if one(n) in taken]


def study_draw(examples, pool, classes, shots):
    """Examples at equal distances; of NIH ChestX-ray14 the first patients of each class."""
    patients = {}
    for n in pool:
        patients.setdefault(examples.cases[n].patient, []).append(n)
    if set(classes) != {*NIH, NO_FINDING} or None in patients:
        count = len(pool)
        at = np.arange(0, count, count / min(shots, count)).round().astype(int)
        return [pool[k] for k in at[: min(shots, count)]]
    taken = set()
    for c in np.argsort(classes):
        having = [p for p in sorted(patients) if (examples.truth[patients[p], c] == 1).all()]
        taken |= set(having[:shots])
    return sorted(n for n in pool if examples.cases[n].patient in taken)


def predicted(cache, record):
    """A saved head, applied. What is labelled is measured."""
    head, weight, bias = saved_head(Path(record["params"]["head"]))
    names = [("cls", layer) for layer in head["tokens"]["cls"]]
    names += [("mean", layer) for layer in head["tokens"]["mean"]]
    examples = read(cache, record, names, labelled=False)
    part = list(range(len(examples.cases))) if record["split"] == "all" else examples.of(record["split"])
    x = examples.features(names, [examples.plain[n] for n in part])
    single = head["is_single_label"]
    logits, decision = x.astype(np.float64) @ weight.T + bias, head.get("scores") == "decision-value"
    if decision:
        scores = probes.decisions(logits, single)
    else:
        scores = probes.probabilities(logits, single, head["by_sigmoid"])
    truth = examples.truth[part]
    if head["classes"] != cache.classes:
        truth = np.full(scores.shape, np.nan)
    own_classes, cache.classes = cache.classes, head["classes"]
    cases = Cases([examples.cases[n] for n in part], scores, truth, single, decision)
    known = np.array(examples.known)[part] & (head["classes"] == own_classes)
    if single:
        known &= (truth == 1).sum(axis=1) == 1
    measured = cases.part(np.flatnonzero(known)) if known.any() else None
    if record["per_patient"]:
        # A patient of whom a case is labelled is scored by those that are.
        patients = {case.cluster for case, is_known in zip(cases.of, known) if is_known}
        scored = [k or case.cluster not in patients for case, k in zip(cases.of, known)]
        cases = cases.part(np.flatnonzero(scored)).per_patient()
        measured = measured and measured.per_patient()
    thresholds = head["thresholds"] or [cases.threshold() for _ in cases.columns()]
    rule = "val-f1" if head["thresholds"] else default_rule(cases)
    return Result(measured, thresholds, rule, 0, {"scored": len(cases.of)}, scored=cases)


def saved_head(path):
    """What a head is for, its weight [O, F] and bias [O], out of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])

    def tensor(name):
        first, last = header[name]["data_offsets"]
        values = np.frombuffer(
            data[8 + length + first : 8 + length + last], {"F32": "<f4", "F64": "<f8"}[header[name]["dtype"]])
        return values.reshape(header[name]["shape"]).astype(np.float64)

    return json.loads(header["__metadata__"]["slicebank"]), tensor("weight"), tensor("bias")
