#!/usr/bin/env python3
"""Prints how many slices of 224 pixels PyTorch embeds in a second: torch_rates NAME BATCH

A vision transformer of the card's sizes with random weights, in f16 by autocast, with PyTorch's fused
attention. Needs a GPU, Python 3.11 and PyTorch.
"""

import argparse
import sys
import time
import tomllib
from pathlib import Path

import torch
from torch import nn

MODELS = Path(__file__).resolve().parent.parent / "onnx_models"
SIZE = 224
SECONDS = 2.0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a model with a table [vit] on its card")
    parser.add_argument("batch", type=int, help="slices of a batch")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("this PyTorch finds no GPU that it can use")
    card = tomllib.loads((MODELS / f"{arguments.name}.toml").read_text(encoding="utf-8"))
    model = Model(card).cuda().eval()
    print(f"{rate(model, arguments.batch):.2f}")


class Block(nn.Module):
    def __init__(self, width, heads, gated):
        super().__init__()
        self.heads, self.gated = heads, gated
        hidden = -(-(8 * width // 3) // 8) * 8 if gated else 4 * width
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.packed, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Linear(width, 2 * hidden if gated else hidden)
        self.narrow = nn.Linear(hidden, width)

    def forward(self, tokens):
        batch, count, width = tokens.shape
        packed = self.packed(self.norms[0](tokens))
        packed = packed.reshape(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*packed)
        tokens = tokens + self.projection(attended.transpose(1, 2).reshape(batch, count, width))
        wide = self.wide(self.norms[1](tokens))
        if self.gated:
            gate, value = wide.chunk(2, dim=-1)
            return tokens + self.narrow(nn.functional.silu(gate) * value)
        return tokens + self.narrow(nn.functional.gelu(wide))


class Model(nn.Module):
    def __init__(self, card):
        super().__init__()
        width, patch = card["width"], card["patch_size"]
        gated = card["vit"]["activation"] == "swiglu"
        self.stem = nn.Conv2d(3, width, patch, patch)
        self.table = nn.Parameter(torch.randn(1, 1 + (SIZE // patch) ** 2, width) / 50)
        blocks = (Block(width, card["heads"], gated) for _ in range(card["depth"]))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, pixels):
        patches = self.stem(pixels).flatten(2).transpose(1, 2)
        tokens = nn.functional.pad(patches, (0, 0, 1, 0)) + self.table
        return self.blocks(tokens)[:, 0]


@torch.no_grad()
def rate(model, batch):
    pixels = torch.randn(batch, 3, SIZE, SIZE, device="cuda")

    def seconds(times):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        with torch.autocast("cuda", torch.float16):
            for _ in range(times):
                model(pixels)
        torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds(3)
    times = max(2, round(SECONDS / (seconds(2) / 2)))
    return batch * times / seconds(times)


if __name__ == "__main__":
    main()
