#!/usr/bin/env python3
"""Writes `onnx_models/tiny-vit.safetensors`: seeded random weights of a ViT, for tests.

Needs Python 3.11 and the packages in requirements-export.txt.
"""

from safetensors.numpy import save_file

import random_weights
import wheels


def main():
    target = random_weights.MODELS / "tiny-vit.safetensors"
    save_file(dict(random_weights.tensors(random_weights.read_card("tiny-vit"))), target)
    print(f"{wheels.sha256(target)}  {target}")


if __name__ == "__main__":
    wheels.run(main)
