#!/usr/bin/env python3
"""Times the way of patch tokens through `extract`: from ONNX Runtime to the writer, and to the disk.

The backbone is a stand-in: a graph that gives ready tokens of ViT-L/14 at 224 pixels, 5 layers in f16, by
the real ONNX Runtime on two threads. Writing takes turns with a plain, sequential write of the same bytes
to the same disk, both until the disk has them; `extract` also hashes. Prints each round and the medians.
Needs requirements-test.txt, and Rust to build the benchmark.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import benches
import wheels

LAYERS, PATCHES, WIDTH, SIDE = 5, 256, 1024, 224
CARD = f"""name = "ready-tokens"
title = "a graph that gives ready tokens"
parameters = 1
width = {WIDTH}
depth = {LAYERS}
heads = 16
patch_size = 14
native_size = {SIDE}
image_size = {SIDE}
layers = {LAYERS}
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
licence = "MIT"
access = "open"
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="on the disk to write to (default: temporary)")
    parser.add_argument("--slices", type=int, default=800, help="of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    arguments = parser.parse_args()
    bench = benches.executable("tokens")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        model, card = Path(folder) / "ready.onnx", Path(folder) / "ready.toml"
        model.write_bytes(graph().SerializeToString())
        card.write_text(CARD)
        rates, ratios = [], []
        for _ in range(arguments.rounds):
            command = [bench, model, card, Path(folder), str(arguments.slices)]
            found = json.loads(subprocess.check_output(command, text=True))
            rates.append(found["embedded"])
            ratios.append(found["written"] / found["plain"])
            print(
                f"embed: {found['embedded']:.0f} slices/s; writing: {found['written']:.2f} GB/s, "
                f"plain {found['plain']:.2f} GB/s; hashing alone {found['hashed']:.2f} GB/s",
                flush=True,
            )
        print(
            f"medians: {statistics.median(rates):.0f} slices/s through `embed`, "
            f"{statistics.median(ratios):.2f} of the speed of a plain write"
        )


def graph():
    """Ready tokens of one slice, as many times as there are slices in `pixels`."""
    draw = np.random.default_rng(7)
    constants = []
    nodes, outputs = [helper.make_node("Shape", ["pixels"], ["batch"], start=0, end=1)], []
    for layer in range(1, LAYERS + 1):
        for kind, shape in [("cls", [WIDTH]), ("mean", [WIDTH]), ("patch", [PATCHES, WIDTH])]:
            name = f"{kind}_{layer}"
            ready = draw.standard_normal([1, *shape]).astype(np.float16)
            constants += [
                numpy_helper.from_array(ready, f"{name}_ready"),
                numpy_helper.from_array(np.array(shape, np.int64), f"{name}_shape"),
            ]
            whole = [f"{name}_whole"]
            nodes += [
                helper.make_node("Concat", ["batch", f"{name}_shape"], whole, axis=0),
                helper.make_node("Expand", [f"{name}_ready", *whole], [name]),
            ]
            outputs.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["batch", *shape])
            )
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])
    made = helper.make_graph(nodes, "ready", [pixels], outputs, constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


if __name__ == "__main__":
    wheels.run(main)
