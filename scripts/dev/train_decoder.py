#!/usr/bin/env python3
"""Trains a decoder with PyTorch on a cache, as `probe segment` does, and prints its measures.

A peer for figures and times: none of this project's Rust code takes part. Trains on `train` and `val`
with one learning rate for the epochs given, of a cosine schedule of the same length unless --schedule says
otherwise; measures `test` as the study does (all pixels at S x S) and by volume (at native resolution).
All tokens of a split are held in memory, in f16. Needs the packages in requirements-models.txt, and
polars.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch.nn import functional

import caches
from torch_decoders import Linear, UNet


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cache", type=Path)
    parser.add_argument("--decoder", choices=("linear", "unet"), default="linear")
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--schedule", type=int, help="epochs over which the learning rate falls")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--loss", choices=("dice", "dice-ce"), default="dice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    cache = Cache(arguments.cache, [1] if arguments.decoder == "linear" else [5, 4, 3, 2, 1])
    model = (Linear if arguments.decoder == "linear" else UNet)(
        cache.width, len(cache.values), cache.side
    )
    train(model, cache, arguments)
    print(json.dumps(evaluate(model, cache, arguments), indent=1))


class Cache:
    """A cache's tokens `[B, D, h, w]` and masks by row."""

    def __init__(self, path, layers):
        self.path = path
        self.meta = json.loads((path / "meta.json").read_text())
        self.side = self.meta["image_size"]
        self.columns = [f"patch_{layer}" for layer in layers]
        self.grid = self.meta["grid"]
        self.width = caches.token_shape(self.meta, self.columns[0])[1]
        self.slices = pl.read_parquet(path / "slices" / "*.parquet")
        masks = pl.read_parquet(path / "mask" / "*.parquet")["mask"]
        sizes = self.slices.select("height", "width").iter_rows()
        self.masks = [
            None if mask is None else np.frombuffer(mask, "<u2").reshape(size)
            for mask, size in zip(masks, sizes)
        ]
        found = [np.unique(mask) for mask in self.masks if mask is not None]
        self.values = np.unique(np.concatenate([[0], *found]))

    def rows(self, *splits):
        chosen = self.slices.filter(pl.col("split").is_in(splits) & (pl.col("view") == 0))
        return [row for row in chosen["row"] if self.masks[row] is not None]

    def tokens(self, rows):
        """f16 `[L, N, P, D]`."""
        wanted, out = set(rows), {}
        for shard in sorted((self.path / "patch").glob("*.parquet")):
            numbers = pl.read_parquet(shard, columns=["row"])["row"].to_list()
            if wanted.isdisjoint(numbers):
                continue
            table = pl.read_parquet(shard, columns=self.columns)
            for at, row in enumerate(numbers):
                if row in wanted:
                    out[row] = [np.frombuffer(table[name][at], "<f2") for name in self.columns]
        shape = (len(rows), math.prod(self.grid), self.width)
        return [np.stack([out[row][k] for row in rows]).reshape(shape) for k in range(len(self.columns))]

    def batch(self, tokens, at):
        maps = [torch.from_numpy(layer[at]).float() for layer in tokens]
        return [m.transpose(1, 2).reshape(len(at), self.width, *self.grid) for m in maps]

    def classes(self, row):
        return torch.from_numpy(np.searchsorted(self.values, self.masks[row]))

    def square(self, row):
        mask = self.classes(row)[None, None].float()
        return functional.interpolate(mask, (self.side,) * 2, mode="nearest-exact")[0].long()


def train(model, cache, arguments):
    rows = cache.rows("train", "val")
    tokens = cache.tokens(rows)
    masks = [cache.square(row).to(torch.uint8) for row in rows]
    loss = (DiceLoss if arguments.loss == "dice" else DiceCELoss)(softmax=True, to_onehot_y=True)
    optimiser = torch.optim.SGD(model.parameters(), lr=arguments.lr, momentum=0.9)
    steps = math.ceil(len(rows) / arguments.batch_size)
    schedule = arguments.schedule or arguments.epochs
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule * steps)
    start = time.time()
    for epoch in range(arguments.epochs):
        total = 0.0
        for at in torch.randperm(len(rows)).split(arguments.batch_size):
            truth = torch.stack([masks[i] for i in at]).long()
            value = loss(model(cache.batch(tokens, at.numpy())), truth)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            scheduler.step()
            total += value.item()
        print(f"epoch {epoch + 1}: loss {total / steps:.4f}, {time.time() - start:.0f} s", flush=True)


@torch.inference_mode()
def evaluate(model, cache, arguments):
    model.eval()
    rows, count = cache.rows("test"), len(cache.values)
    tokens = cache.tokens(rows)
    pooled = np.zeros((count, count), np.int64)
    volumes = {}
    for at in torch.arange(len(rows)).split(arguments.batch_size):
        layers = cache.batch(tokens, at.numpy())
        for k, (i, square) in enumerate(zip(at.tolist(), model(layers))):
            row = rows[i]
            pooled += confusion(cache.square(row)[0], square.argmax(0), count)
            truth = cache.classes(row)
            native = model.at([layer[k : k + 1] for layer in layers], truth.shape)
            sample = cache.slices["sample"][row]
            own = volumes.setdefault(sample, np.zeros((count, count), np.int64))
            own += confusion(truth, native[0].argmax(0), count)
    dice = [np.nanmean(d) for d in zip(*(overlaps(v)[0] for v in volumes.values()))]
    iou = [np.nanmean(d) for d in zip(*(overlaps(v)[1] for v in volumes.values()))]
    pooled_dice, _, jaccard = overlaps(pooled)
    return {
        "dice_pooled": np.nanmean(pooled_dice),
        "jaccard_pooled": np.nanmean(jaccard),
        "dice_jaccard_mean": (np.nanmean(pooled_dice) + np.nanmean(jaccard)) / 2,
        "dice_macro": np.mean(dice),
        "iou_macro": np.mean(iou),
        "volumes": len(volumes),
    }


def confusion(truth, predicted, count):
    pairs = truth.reshape(-1) * count + predicted.reshape(-1)
    return torch.bincount(pairs, minlength=count * count).reshape(count, count).numpy()


def overlaps(counts):
    """Dice, IoU and foreground Jaccard of the classes but background; NaN where undefined."""
    truth, predicted, both = counts.sum(1)[1:], counts.sum(0)[1:], counts.diagonal()[1:]
    in_foreground = predicted - counts[0, 1:]
    with np.errstate(invalid="ignore"):
        return (
            2 * both / (truth + predicted),
            both / (truth + predicted - both),
            both / (truth + in_foreground - both),
        )


if __name__ == "__main__":
    main()
