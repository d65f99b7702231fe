"""Learning curves through few-shot results, by SciPy's `curve_fit`."""

import numpy as np
from scipy.optimize import curve_fit


def law(n, floor, scale, exponent):
    return floor + scale * n**-exponent


def points(results, unit):
    """The number of patients or examples and the macro AUROC of each draw, from the fewest."""
    name = "train_per_draw" if unit == "example" else "patients_per_draw"
    found = []
    for result in results:
        drawn = result.get("spread", {}).get("auroc_macro", {}).get("draws")
        values = drawn or [result["metrics"]["auroc_macro"]]
        found.append(
            {"n": float(np.mean(result["params"][name])), "mean": float(np.mean(values)), "draws": values}
        )
    return sorted(found, key=lambda point: point["n"])


def fitted(found):
    """Floor, scale and exponent of the error; a number of draws without a spread has the least of the others."""
    n, errors = [point["n"] for point in found], [1 - point["mean"] for point in found]
    spreads = [np.std(point["draws"], ddof=1) if len(point["draws"]) > 1 else 0.0 for point in found]
    least = min(spread for spread in spreads if spread > 0)
    sigma = [(s or least) / len(point["draws"]) ** 0.5 for s, point in zip(spreads, found)]
    best = None
    for floor in (False, True):
        free = law if floor else lambda n, scale, exponent: law(n, 0, scale, exponent)
        start = [min(errors) / 2] * floor + [max(errors), 0.5]
        bounds = (0, [np.inf] * (1 + floor) + [10])
        values, _ = curve_fit(
            free, n, errors, start, sigma, bounds=bounds, xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
        rest = float(np.sum(((free(np.array(n), *values) - errors) / sigma) ** 2))
        if best is None or rest < best[0]:
            best = rest, values if floor else [0, *values]
    return dict(zip(["floor", "scale", "exponent"], map(float, best[1])))


def compare(record, records, compare_values):
    """The largest difference between a recorded curve and the one that is fitted here."""
    params = record["params"]
    key = params["few_shot_key"]
    results = {r["setting"]: r for r in records if r["probe"] == "few-shot" and r["key"] == key}
    found = points(results.values(), params["unit"])
    most = 0.0
    for own, point in zip(found, params["points"], strict=True):
        most = max(most, compare_values(own, point, "point"))
    if "refused" in params:
        return most
    curve = fitted(found)
    # The minimum is flat, so that the parameters are less certain than the errors.
    errors = [law(point["n"], **curve) for point in found]
    told = [law(point["n"], **params["curve"]) for point in found]
    most = max(most, compare_values(errors, told, "errors", 1e-4))
    for target in params["targets"]:
        above = 1 - target["target"] - params["curve"]["floor"]
        if "patients" in target:
            needed = (params["curve"]["scale"] / above) ** (1 / params["curve"]["exponent"])
            most = max(most, compare_values(needed, target["patients"], "patients"))
    return most
