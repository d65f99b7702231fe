"""Measures of scores, by scikit-learn where it has them."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from caches import merged


@dataclass
class Cases:
    """What is measured: N cases with scores and truth [N, C]."""

    of: list
    scores: np.ndarray
    truth: np.ndarray
    single: bool
    # Whether scores are decision values, and not probabilities.
    decision: bool = False

    def part(self, rows):
        return Cases([self.of[n] for n in rows], self.scores[rows], self.truth[rows], self.single, self.decision)

    def threshold(self):
        return 0.0 if self.decision else 0.5

    def per_patient(self):
        """The mean of a patient's scores; a class is present if it is in any case."""
        from caches import Case

        groups = {}
        for n, case in enumerate(self.of):
            groups.setdefault(case.cluster, []).append(n)
        groups = [groups[patient] for patient in sorted(groups)]
        firsts = [self.of[group[0]] for group in groups]
        return Cases(
            [Case(case.sample, None, case.patient) for case in firsts],
            np.stack([self.scores[group].mean(axis=0) for group in groups]),
            np.stack([merged(self.truth[group]) for group in groups]),
            self.single,
            self.decision,
        )

    def columns(self):
        """Numbers of the measured classes: the second alone of two exclusive ones."""
        return [1] if self.single and self.truth.shape[1] == 2 else range(self.truth.shape[1])


def known(cases, c):
    rows = ~np.isnan(cases.truth[:, c])
    return cases.truth[rows, c], cases.scores[rows, c]


def area(y, s):
    """The area under the ROC curve, by the ranks of the positives (Mann and Whitney)."""
    positives = int((y == 1).sum())
    negatives = len(y) - positives
    if not positives or not negatives:
        return None
    ranks = rankdata(s)[y == 1].sum()
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(y, s):
    return average_precision_score(y, s) if len(set(y)) == 2 else None


def auroc(cases, c):
    return area(*known(cases, c))


def macro_auroc(cases, protocol):
    """Classes without positives or negatives are left out, or count 0 in the study."""
    values = [auroc(cases, c) for c in cases.columns()]
    defined = [v for v in values if v is not None]
    if not defined:
        return None
    return sum(defined) / (len(values) if protocol == "paper" else len(defined))


def accuracy(cases):
    return (cases.scores.argmax(axis=1) == cases.truth.argmax(axis=1)).mean()


def accuracy_of(cases):
    """Of exclusive classes the share of right ones, else that of right answers at the default threshold."""
    if cases.single:
        return float(accuracy(cases))
    pairs = [known(cases, c) for c in cases.columns()]
    return share(sum(int(((s >= cases.threshold()) == y).sum()) for y, s in pairs), sum(len(y) for y, _ in pairs))


def can_choose(cases):
    """Whether any class has a positive case, by which a threshold is chosen."""
    return any((known(cases, c)[0] == 1).any() for c in cases.columns())


def best_thresholds(cases):
    """Of each class the score with the highest F1, of several the highest; the default without positives."""
    found = []
    for c in cases.columns():
        y, s = known(cases, c)
        best, at = 0.0, cases.threshold()
        for threshold in sorted(set(s), reverse=True):
            taken = s >= threshold
            f1 = 2 * (taken & (y == 1)).sum() / (y.sum() + taken.sum())
            if f1 > best:
                best, at = f1, threshold
        found.append(at)
    return found


def are_probabilities(scores):
    return ((scores >= -1e-6) & (scores <= 1 + 1e-6)).all()


def answers_by_highest(cases):
    """Of more than two exclusive classes the highest score is the answer, else scores from a threshold
    up; and where scores of exclusive classes do not add up to 1."""
    add_up = are_probabilities(cases.scores) and (abs(cases.scores.sum(axis=1) - 1) <= 1e-6).all()
    add_up = add_up and not cases.decision
    return cases.single and (cases.truth.shape[1] > 2 or not add_up)


def answers(cases, thresholds):
    """Of each class the counts of true and false positives and negatives."""
    found = []
    for c, threshold in zip(cases.columns(), thresholds):
        y, s = known(cases, c)
        taken = cases.scores.argmax(axis=1) == c if answers_by_highest(cases) else s >= threshold
        pairs = [(taken & (y == 1)), (taken & (y == 0)), (~taken & (y == 0)), (~taken & (y == 1))]
        found.append([int(pair.sum()) for pair in pairs])
    return found


def share(part, whole):
    return part / whole if whole else None


def mean(values):
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


def expected_error(score, right):
    """How far scores are from the share that is right, in 15 bins that hold their upper edge."""
    if not are_probabilities(score):
        return None
    bins = np.clip(np.ceil(score * 15 - 1e-9), 1, 15)
    gaps = [abs((score - right)[bins == b].sum()) for b in set(bins)]
    return sum(gaps) / len(score)


def calibration(cases):
    """Brier score and expected calibration error; decision values have none."""
    if cases.decision:
        return None, None
    if answers_by_highest(cases):
        if not (abs(cases.scores.sum(axis=1) - 1) <= 1e-6).all():
            return None, None
        brier = ((cases.scores - cases.truth) ** 2).sum(axis=1).mean()
        right = cases.scores.argmax(axis=1) == cases.truth.argmax(axis=1)
        return brier, expected_error(cases.scores.max(axis=1), right)
    pairs = [known(cases, c) for c in cases.columns()]
    pairs = [(y, s) for y, s in pairs if len(y)]
    return mean([((s - y) ** 2).mean() for y, s in pairs]), mean([expected_error(s, y) for y, s in pairs])


def bounds_of_ranks(cases, protocol, names, tolerance):
    """Least and greatest AUROC and average precision by the names of the records, if scores that
    differ by at most twice `tolerance` may be ranked either way."""
    sides = []
    for sign in (-1, 1):
        shift = sign * tolerance * np.where(cases.truth == 1, 1, -1)
        moved = Cases(cases.of, cases.scores + shift, cases.truth, cases.single)
        pairs = [known(moved, c) for c in moved.columns()]
        y, s = (np.concatenate(side) for side in zip(*pairs))
        precisions = [average_precision(*pair) for pair in pairs]
        of_class = {"auroc": [area(*pair) for pair in pairs], "average_precision": precisions}
        sides.append({
            "auroc_macro": macro_auroc(moved, protocol),
            "auroc_micro": area(y, s) if len(pairs) > 1 else None,
            "average_precision_macro": mean(precisions),
        })
        for name, values in of_class.items():
            for c, value in zip(moved.columns(), values):
                sides[-1][f"{name}_per_class", names[c]] = value
    found = {}
    for name, low in sides[0].items():
        if low is None:
            continue
        bounds = low, sides[1][name]
        if isinstance(name, tuple):
            found.setdefault(name[0], {})[name[1]] = bounds
        else:
            found[name] = bounds
    return found


def measured(cases, thresholds, protocol, names):
    """All measures by the names of the records; what is not defined is left out."""
    columns = list(cases.columns())
    of_class = {"auroc": [auroc(cases, c) for c in columns]}
    pairs = [known(cases, c) for c in columns]
    of_class["average_precision"] = [average_precision(*pair) for pair in pairs]
    counts = answers(cases, thresholds)
    of_class["f1"] = [share(2 * tp, 2 * tp + fp + fn) for tp, fp, tn, fn in counts]
    of_class["sensitivity"] = [share(tp, tp + fn) for tp, fp, tn, fn in counts]
    of_class["specificity"] = [share(tn, tn + fp) for tp, fp, tn, fn in counts]
    balanced = [
        (a + b) / 2 if a is not None and b is not None else None
        for a, b in zip(of_class["sensitivity"], of_class["specificity"])
    ]
    if cases.single and len(columns) > 1:
        occurring = [v for v in of_class["sensitivity"] if v is not None]
        balanced = occurring if len(occurring) > 1 else []
    y, s = (np.concatenate(side) for side in zip(*pairs))
    brier, ece = calibration(cases)
    values = {
        "auroc_macro": macro_auroc(cases, protocol),
        "auroc_micro": area(y, s) if len(columns) > 1 else None,
        "average_precision_macro": mean(of_class["average_precision"]),
        "accuracy": accuracy_of(cases),
        "balanced_accuracy": mean(balanced),
        "f1_macro": mean(of_class["f1"]),
        "brier": brier,
        "ece": ece,
    }
    values = {name: float(value) for name, value in values.items() if value is not None}
    undefined = [names[c] for c, value in zip(columns, of_class["auroc"]) if value is None]
    if undefined:
        values["auroc_undefined"] = undefined
    values["positives"] = {names[c]: int((y == 1).sum()) for c, (y, _) in zip(columns, pairs)}
    for name, found in of_class.items():
        defined = [(names[c], float(v)) for c, v in zip(columns, found) if v is not None]
        values[f"{name}_per_class"] = dict(defined)
    if not answers_by_highest(cases):
        values["thresholds"] = {names[c]: float(t) for c, t in zip(columns, thresholds)}
    return values
