#!/usr/bin/env python3
"""Writes probe/golden/ranks.json: tables of scores and what rank statistics of them must be.

Ranks, Friedman's, Wilcoxon's and Student's tests, the studentized range and fits of curves are SciPy's, Nemenyi's test
and the corrected tests of all pairs scikit-posthocs', Friedman's test and groups by Nemenyi's test also
aeon's. Draws (with ChaCha8) are restated. Needs the packages in requirements-ranks.txt.
"""

import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import scikit_posthocs
from aeon.benchmarking.stats import check_friedman
from aeon.visualisation.results._critical_difference import _build_cliques
from pandas import DataFrame
from scikit_posthocs._plotting import _find_maximal_cliques
from scipy import stats
from scipy.optimize import curve_fit
from statsmodels.stats.multitest import multipletests

from golden_metrics import drawn_patients

ALPHAS = [0.01, 0.05, 0.1]
SEED, DRAWS = 5, 200


def friedman(scores, ranks):
    n, k = scores.shape
    if k == 2:  # SciPy and aeon need three.
        return None
    chi_square, p = stats.friedmanchisquare(*scores.T)
    assert np.isclose(p, check_friedman(ranks), rtol=1e-9)
    rest = n * (k - 1) - chi_square
    found = {"chi_square": chi_square, "p": p}
    if n > 1 and rest > 1e-6:
        f = (n - 1) * chi_square / rest
        found |= {"f": f, "p_f": stats.f.sf(f, k - 1, (k - 1) * (n - 1))}
    return found


def wilcoxon(differences):
    test, t = stats.wilcoxon(differences), stats.ttest_1samp(differences, 0)
    ranks = stats.rankdata(np.abs(differences[differences != 0]))
    signs = np.sign(differences[differences != 0])
    return {
        "differences": differences.tolist(),
        "statistic": test.statistic,
        "p": test.pvalue,
        "rank_biserial": float((signs * ranks).sum() / ranks.sum()),
        "t_p": t.pvalue,
        "t_interval": list(t.confidence_interval(0.9)),
    }


def pairs(scores, complete):
    """Tests of all pairs; of complete tables also by scikit-posthocs."""
    found = []
    for i, j in itertools.combinations(range(scores.shape[1]), 2):
        differences = scores[:, i] - scores[:, j]
        found.append(stats.wilcoxon(differences[~np.isnan(differences)]).pvalue)
    adjusted = multipletests(found, method="holm")[1]
    if complete:
        at = np.triu_indices(scores.shape[1], 1)
        columns = scikit_posthocs.posthoc_wilcoxon(list(scores.T), p_adjust="holm").to_numpy()
        assert np.allclose(columns[at], adjusted, rtol=1e-12)
    return found, adjusted.tolist()


def groups_of(p, models):
    """Maximal groups of models without a pair below 0.05."""
    alike = np.ones((models, models), dtype=bool)
    for (i, j), value in zip(itertools.combinations(range(models), 2), p):
        alike[i, j] = alike[j, i] = value > 0.05
    groups = _find_maximal_cliques(DataFrame(alike))
    return sorted(sorted(map(int, group)) for group in groups if len(group) > 1)


def groups_by_nemenyi(mean, critical):
    """aeon's groups, by the critical difference of SciPy.

    `nemenyi_test` of aeon 1.6.0 takes its critical value for one model more than there are (`qalpha` starts
    with one model, not with none).
    """
    order = np.argsort(mean, kind="stable")
    apart = mean[order][None] - mean[order][:, None]
    masks = _build_cliques((apart >= 0) & (apart < critical))
    return sorted(sorted(int(order[at]) for at in np.flatnonzero(mask)) for mask in masks)


def borda(ranks):
    """Percentiles of mean ranks and of places over draws of datasets, and shares of the first place."""
    n = len(ranks)
    means = [ranks[drawn_patients(SEED, draw, n)].mean(axis=0) for draw in range(DRAWS)]
    places = stats.rankdata(means, axis=1)
    first = np.array(means) == np.min(means, axis=1, keepdims=True)
    return {
        "mean_rank": np.percentile(means, [2.5, 97.5], axis=0).T.tolist(),
        "place": np.percentile(places, [2.5, 97.5], axis=0).T.tolist(),
        "first": (first / first.sum(axis=1, keepdims=True)).mean(axis=0).tolist(),
    }


def table(scores):
    used = np.flatnonzero(~np.isnan(scores).any(axis=1))
    whole = scores[used]
    n, k = whole.shape
    ranks = stats.rankdata(-whole, axis=1)
    p, p_holm = pairs(scores, len(used) == len(scores))
    mean = ranks.mean(axis=0)
    unit = np.sqrt(k * (k + 1) / 12 / n)
    critical = [stats.studentized_range.ppf(1 - alpha, k, np.inf) * unit for alpha in ALPHAS]
    return {
        "scores": [[None if np.isnan(cell) else cell for cell in row] for row in scores],
        "used": used.tolist(),
        "mean": mean.tolist(),
        "friedman": friedman(whole, ranks),
        "nemenyi": scikit_posthocs.posthoc_nemenyi_friedman(whole).to_numpy().tolist(),
        "critical": critical,
        "nemenyi_groups": groups_by_nemenyi(mean, critical[ALPHAS.index(0.05)]),
        "wilcoxon": p,
        "holm": p_holm,
        "holm_groups": groups_of(p_holm, k),
        "borda": borda(ranks),
    }


def tables(rng):
    def scores(n, k, gap=0.02, noise=0.05):
        base = rng.uniform(0.6, 0.9, size=(n, 1))
        return base + gap * np.arange(k)[::-1] + rng.normal(0, noise, size=(n, k))

    holes = scores(12, 4)
    holes[[2, 7, 7, 9], [0, 1, 3, 2]] = np.nan
    return [
        scores(9, 13),
        scores(9, 13, 0.03, 0.01),
        np.round(scores(30, 5), 1),
        np.round(scores(9, 6), 2),
        scores(2, 3),
        scores(7, 2),
        np.tile([0.9, 0.8, 0.7, 0.6], (4, 1)) + rng.uniform(0, 0.05, size=(4, 1)),
        holes,
        scores(60, 8, 0.015),
    ]


def differences(rng):
    plain = [rng.normal(0.3, 1, size=n) for n in (5, 13, 14, 30, 50, 51)]
    tied = [np.round(rng.normal(0.4, 1, size=n), 1) for n in (8, 13, 14, 40, 90)]
    tied += [rng.choice([-2.0, -1, 1, 2, 3], size=n) for n in (6, 13, 20)]
    return plain + tied


def law(n, floor, scale, exponent):
    return floor + scale * n**-exponent


def curve(n, errors):
    """A fit with the rules of `stats::curve`; the bounds hold or are those of `floor`."""
    means = [float(np.mean(of)) for of in errors]
    spreads = [np.std(of, ddof=1) if len(of) > 1 else 0 for of in errors]
    least = min(spread for spread in spreads if spread > 0)
    sigma = [(spread or least) / len(of) ** 0.5 for spread, of in zip(spreads, errors)]
    options = {"sigma": sigma, "absolute_sigma": True, "ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15}
    found, _ = curve_fit(law, n, means, p0=[0.05, 0.3, 0.5], maxfev=100_000, **options)
    if found[0] < 0:
        without = lambda n, scale, exponent: law(n, 0, scale, exponent)
        rest, _ = curve_fit(without, n, means, p0=[0.3, 0.5], maxfev=100_000, **options)
        found = [0.0, *rest]
    return {"n": n, "errors": [list(of) for of in errors], "curve": list(map(float, found))}


def curves(rng):
    found = []
    for floor, scale, exponent, last in [
        (0.1, 0.3, 0.7, 60), (0.02, 0.4, 0.4, 200), (0.0, 0.35, 0.3, 100), (0.2, 0.2, 1.5, 30),
    ]:  # fmt: skip
        n = [1.0, 2.0, 4.0, 8.0, 16.0, float(last)]
        errors = [
            law(size, floor, scale, exponent) + rng.normal(0, 0.02 / size**0.5, size=1 if size == last else 5)
            for size in n
        ]
        found.append(curve(n, errors))
    return found


def main():
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(20)
    ranges = [
        [q, k, stats.studentized_range.sf(q, k, np.inf)]
        for q in (0.3, 1.0, 2.5, 4.0, 6.0)
        for k in (2, 3, 13, 60)
    ]
    golden = {
        "alphas": ALPHAS,
        "seed": SEED,
        "draws": DRAWS,
        "studentized_range": ranges,
        "tables": [table(scores) for scores in tables(rng)],
        "wilcoxon": [wilcoxon(of) for of in differences(rng)],
        "curves": curves(rng),
    }
    path = Path(__file__).resolve().parents[2] / "probe" / "golden" / "ranks.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
