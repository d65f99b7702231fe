#!/usr/bin/env python3
"""Exports a backbone by way of PyTorch: those whose cards have a table `[python]`.

The card and the weights make an ONNX file for one size of input, as docs/model-cards.md
describes; its weights lie beside it in `FILE.onnx.data` where they are large. Needs Python 3.11 and
the packages in requirements-models.txt, with whose versions the same weights give the same bytes.
"""

import argparse
import logging
import os
import tomllib
import warnings
from pathlib import Path

import convert_weights
import onnx_ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass

import originals
import wheels

OPSET = 20
# Above it the weights lie beside the graph: a file of protobuf cannot be larger than 2 GB.
LARGE = 1_500_000_000


def main():
    arguments = parse_arguments()
    card = read_card(arguments.card)
    size = arguments.image_size or card["image_size"]
    check_size(card, size)
    weights = find(arguments.weights)
    original = originals.build(card, convert_weights.read(weights))
    about = {
        "slicebank.model": card["name"],
        "slicebank.image_size": str(size),
        "slicebank.weights_sha256": wheels.sha256(weights),
        "slicebank.made_by": arguments.made_by,
    }
    write(export(card, original, size, about), arguments.out)
    print(f"{wheels.sha256(arguments.out)}  {arguments.out}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("card", type=Path, help="the model's card, a .toml file")
    parser.add_argument("--weights", type=Path, required=True, help="a file, or a folder with one")
    parser.add_argument("--image-size", type=int, help="pixels a side (default: the card's)")
    parser.add_argument("--out", type=Path, required=True, help="the .onnx file to write")
    parser.add_argument(
        "--made-by",
        default="",
        help="what `extract` knows the graph again by: one without it is exported anew",
    )
    return parser.parse_args()


def read_card(path):
    try:
        card = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise wheels.Failed(f"{path}: could not read the card: {error}") from error
    if "python" not in card:
        raise wheels.Failed(
            f"{path}: the card has no table `[python]`\nhint: use `extract export {path.stem}`"
        )
    return card


def check_size(card, size):
    if size <= 0 or size % card["patch_size"]:
        raise wheels.Failed(
            f"{card['name']}: found an image size of `{size}`, expected a multiple of "
            f"`{card['patch_size']}`"
        )


def find(weights):
    """`weights` itself, or the file of weights in that folder."""
    if not weights.is_dir():
        return weights
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (weights / name).is_file():
            return weights / name
    raise wheels.Failed(f"{weights}: found no `model.safetensors` and no `pytorch_model.bin`")


def export(card, original, size, about):
    """The graph of `original`, which is changed for inputs of `size` pixels; `about` goes into its
    metadata."""
    originals.fix_size(original, size)
    program = trace(originals.Tokens(original, card["layers"]), size)
    model = program.model
    ClearMetadataAndDocStringPass()(model)
    model.graph.name = card["name"]
    model.producer_name, model.producer_version = "", ""
    model.metadata_props.clear()
    model.metadata_props.update(about)
    return model


def trace(tokens, size):
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with torch.no_grad():
        return torch.onnx.export(
            tokens.eval(),
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=originals.output_names(tokens.layers),
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
        )


def write(model, path):
    """Writes `path` atomically; `path.data` before it if the weights are large, as half of them
    without a graph are nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = model.graph.initializers.values()
    large = sum(value.const_value.nbytes for value in values) > LARGE
    partial = path.with_suffix(f".{os.getpid()}.partial")
    if large:
        # A stop must not leave the graph of before with the weights of now.
        path.unlink(missing_ok=True)
    try:
        onnx_ir.save(model, partial, external_data=f"{path.name}.data" if large else None)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    wheels.run(main)
