"""Writes `tests/golden/eva/`: a folder of embeddings as eva 0.4 writes it, for `extract import-tokens`.

Row `i` of all is `i + k / 8` for `k` in `0..6`. The files hold what eva's writer saves (a list of tensors), and what
others do: a tensor, half precision, bfloat16, and a tensor that is a view. Needs PyTorch: requirements-models.txt.
"""

import csv
from pathlib import Path

import torch

WIDTH = 6
folder = Path(__file__).resolve().parents[2] / "tests/golden/eva"


def rows(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count)[:, None] + torch.arange(WIDTH) / 8


files: dict[str, object] = {
    "a/0": [rows(0, 1)[0]],
    "a/1": rows(1, 1).half(),
    "b/2": [rows(2, 1)[0], rows(3, 1)[0], rows(4, 1)[0]],
    "b/3": rows(4, 2)[1],
    "b/4": [rows(6, 1)[0].bfloat16()],
}
splits = ["train", "train", "val", "val", "test"]
folder.mkdir(parents=True, exist_ok=True)
with (folder / "manifest.csv").open("w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["origin", "embeddings", "target", "split"])
    for number, (name, saved) in enumerate(files.items()):
        path = folder / f"{name}.pt"
        path.parent.mkdir(exist_ok=True)
        torch.save(saved, path)
        writer.writerow([f"{name}.png", f"{name}.pt", number % 2, splits[number]])
