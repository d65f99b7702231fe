#!/usr/bin/env python3
"""Compares a path of logistic regressions over 45 values of C with scikit-learn's, at equal loss.

Both get the same features (values of f16; scikit-learn has them in f64, as Meta's code does) and the same number of threads, and go from the
smallest C to the largest, each from the last one's weights. scikit-learn ends at the loosest of its
tolerances at which every loss is within 1e-6 of the lowest known, or at the tightest. Losses of both
are computed here, in f64. `--solver` of scikit-learn: `newton-cholesky` is for two classes. Needs the
packages in requirements-test.txt.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import benches

CS = [10 ** (-6 + 11 * k / 44) for k in range(45)]
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7)


def data(examples, width, classes):
    """A few strong directions and a long tail, far from 0, and labels that are partly noise."""
    import numpy as np

    random = np.random.default_rng(0)
    scale = 4 * (1 + np.arange(width)) ** -0.7
    turn = np.linalg.qr(random.standard_normal((width, width)))[0]
    mean = random.standard_normal(width)
    teacher = random.standard_normal((width, classes)) * np.sqrt(scale)[:, None]
    x, scores = np.empty((examples, width), np.float16), np.empty((examples, classes))
    for first in range(0, examples, 4096):
        rows = slice(first, first + 4096)
        u = random.standard_normal((len(x[rows]), width))
        x[rows] = (u * scale) @ turn.T + mean
        scores[rows] = u @ teacher
    scores *= 2 / scores.std(axis=0)
    return x, (scores + random.gumbel(size=scores.shape)).argmax(axis=1).astype(np.uint8)


def loss(x, y, weight, bias, c):
    import numpy as np

    z = x @ weight.T + bias
    if len(bias) == 1:
        z = np.hstack([np.zeros_like(z), z])
    most = z.max(axis=1, keepdims=True)
    entropy = np.log(np.exp(z - most).sum(axis=1)) + most[:, 0] - z[np.arange(len(y)), y]
    return entropy.sum() + (weight**2).sum() / (2 * c)


def theirs(x, y, solver, tolerance, iterations):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        solver=solver, tol=tolerance, max_iter=iterations, warm_start=True
    )
    seconds, fits = 0.0, []
    for c in CS:
        model.C = c
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y)
        seconds += time.perf_counter() - start
        fits.append((model.coef_.copy(), model.intercept_.copy()))
    return seconds, fits


def ours(folder, bench, solver, threads, outputs, width, cs):
    import numpy as np

    words = [str(folder), solver, str(threads), ",".join(map(repr, cs))]
    run = subprocess.run(bench + words, check=True, capture_output=True, text=True)
    fits = np.fromfile(folder / "fits").reshape(len(cs), outputs, width + 1)
    return float(run.stdout.split()[-1]), [(fit[:, :-1], fit[:, -1]) for fit in fits]


def compare(args, examples, width, bench):
    import numpy as np

    x, y = data(examples, width, args.classes)
    outputs = 1 if args.classes == 2 else args.classes
    wide = x.astype(np.float64)
    losses = lambda fits, cs=CS: np.array([loss(wide, y, *fit, c) for fit, c in zip(fits, cs)])
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        x.tofile(folder / "x")
        y.tofile(folder / "y")
        (folder / "shape").write_text(f"{examples} {width} {args.classes}")
        shape = (args.threads, outputs, width)
        rounds = [ours(folder, bench, "lbfgs", *shape, CS) for _ in range(2)]
        seconds, fits = min(rounds, key=lambda found: found[0])
        found = losses(fits)
        print(f"{examples} x {width}, {args.classes} classes, {args.threads} threads")
        for tolerance in args.tolerances:
            their_seconds, fits = theirs(wide, y, args.sklearn, tolerance, args.iterations)
            their_losses = losses(fits)
            best = np.minimum(found, their_losses)
            excess, own = (their_losses / best - 1).max(), (found / best - 1).max()
            print(
                f"  probe {seconds:.2f} s, losses up to {own:.1e} above the lowest; scikit-learn"
                f" ({args.sklearn}, tol {tolerance:.0e}) {their_seconds:.2f} s, up to {excess:.1e};"
                f" ratio {their_seconds / seconds:.1f}",
                flush=True,
            )
            if excess < 1e-6:
                break
        if args.linfa:
            alone = [ours(folder, bench, solver, *shape, [1.0]) for solver in ("lbfgs", "linfa")]
            for solver, (seconds, fits) in zip(("probe", "linfa"), alone):
                print(f"  C = 1 alone: {solver} {seconds:.2f} s, loss {losses(fits, [1.0])[0]:.6f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="5000x384,5000x1024,80000x384,80000x1024")
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sklearn", default="lbfgs", help="scikit-learn's solver")
    parser.add_argument("--iterations", type=int, default=1000, help="scikit-learn's max_iter")
    parser.add_argument("--tolerances", type=float, nargs="+", default=TOLERANCES)
    parser.add_argument("--linfa", action="store_true", help="time linfa at one C too")
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    bench = [benches.executable("logreg")]
    for size in args.sizes.split(","):
        compare(args, *map(int, size.split("x")), bench)


if __name__ == "__main__":
    sys.exit(main())
