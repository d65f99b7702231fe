"""Patch tokens and masks as a PyTorch dataset. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from slicebank._cache import Cache


class Patches(Dataset):
    """Item `i`: patch tokens `[L, P, D]` (float32) of row `rows[i]`, and its label map `[H, W]` (int64).

    Without masks in the cache the second is the number of the row. Opens files per item, so workers of a
    `DataLoader` share nothing.
    """

    def __init__(self, cache: Cache, rows: Sequence[int], layers: Sequence[int] = (1,)) -> None:
        self.cache = cache
        self.rows = list(rows)
        self.layers = list(layers)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor | int]:
        row = self.rows[item]
        layers = [self.cache.patches(row, layer)[0] for layer in self.layers]
        tokens = torch.from_numpy(np.stack(layers).astype(np.float32))
        if not self.cache.meta["has_masks"]:
            return tokens, row
        mask = self.cache.masks(row)[0]
        if mask is None:
            raise ValueError(f"row {row} has no mask; choose rows that have one")
        return tokens, torch.from_numpy(mask.astype(np.int64))
