#!/usr/bin/env python3
"""Turns a file of weights into safetensors with the same names of tensors: convert_weights IN OUT.

Reads PyTorch's `.bin`, `.pth`, `.pt` and `.pth.tar`, of which no code is run; the files that a
`.bin.index.json` names; and `.safetensors`. Needs Python 3.11, safetensors and PyTorch.
"""

import argparse
import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np

import wheels

# Where training scripts put the tensors in what they save, and what they put before the names.
NESTS = ("state_dict", "model", "target_encoder", "teacher")
PREFIX = "module."


def main():
    arguments = parse_arguments()
    write(read(arguments.source), arguments.target)
    print(f"{wheels.sha256(arguments.target)}  {arguments.target}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help=".bin, .bin.index.json, .pth, .pt or .pth.tar")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    return parser.parse_args()


def read(path):
    """The tensors in `path` by name."""
    endings = [ending for ending in READERS if path.name.lower().endswith(ending)]
    if not endings:
        known = ", ".join(f"`{name}`" for name in READERS)
        raise wheels.Failed(f"{path}: found `{path.suffix}`, expected one of {known}")
    try:
        return READERS[endings[0]](path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise wheels.Failed(f"{path}: could not read weights from it: {error}") from error


def write(tensors, path):
    """Writes `path` atomically; tensors that share memory get copies of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    if all(isinstance(tensor, np.ndarray) for tensor in tensors.values()):
        from safetensors.numpy import save_file

        copies = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    else:
        from safetensors.torch import save_file

        copies = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(copies, partial, {"format": "pt"})
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


# PyTorch and safetensors.


def read_torch(path):
    import torch

    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError) as error:
        raise ValueError(
            "it is no PyTorch file that holds tensors and plain values only"
        ) from error
    tensors = {n: t for n, t in unnest(saved).items() if isinstance(t, torch.Tensor)}
    if not tensors:
        raise ValueError("it holds no tensors by name")
    if all(name.startswith(PREFIX) for name in tensors):
        tensors = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    return tensors


def unnest(saved):
    """The dictionary of tensors within what was saved."""
    if not isinstance(saved, dict):
        raise ValueError(f"it holds a `{type(saved).__name__}`, expected a dictionary")
    nests = [name for name in NESTS if isinstance(saved.get(name), dict)]
    if not nests:
        return saved
    names = "`, `".join(wheels.shown(repr(name)[1:-1]) for name in saved)
    print(f"taking `{nests[0]}` of `{names}`", file=sys.stderr)
    return unnest(saved[nests[0]])


def read_shards(path):
    """The tensors of all files that an index names."""
    files = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    outside = [name for name in files if Path(name).name != name]
    if outside:
        raise ValueError(f"`{outside[0]}` is no name of a file beside it")
    tensors = {}
    for name in files:
        tensors |= read_torch(path.with_name(name))
    return tensors


def read_safetensors(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


READERS = {
    ".safetensors": read_safetensors,
    ".bin.index.json": read_shards,
    ".bin": read_torch,
    ".pth": read_torch,
    ".pt": read_torch,
    ".tar": read_torch,
}


if __name__ == "__main__":
    wheels.run(main)
