#!/usr/bin/env python3
"""Writes probe/golden/segment.json: MONAI's measures of small label maps, and the study's.

Dice, IoU and Hausdorff's distance are MONAI's; the foreground-only Jaccard index restates torchmetrics
1.0.3 with `ignore_index=0`: pixels that are truly background are dropped first. Needs the packages in
requirements-models.txt.
"""

import json
import pathlib

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou

CLASSES = 4
SHAPES = [(1, 9, 8), (4, 7, 6), (3, 10, 10), (5, 6, 9)]
SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.7, 0.9), (2.5, 1.0, 1.0), (0.5, 1.2, 0.8)]


def blobs(shape, numbers):
    """Boxes of the classes, the later on top, with some noise."""
    labels = np.zeros(shape, int)
    for label in range(1, CLASSES):
        low = [numbers.integers(0, max(1, n // 2)) for n in shape]
        high = [l + 1 + numbers.integers(0, n - l) for l, n in zip(low, shape)]
        labels[tuple(slice(l, h) for l, h in zip(low, high))] = label
    noise = numbers.random(shape) < 0.1
    labels[noise] = numbers.integers(0, CLASSES, noise.sum())
    return labels


def one_hot(labels):
    return torch.stack([torch.from_numpy(labels == c) for c in range(CLASSES)])[None].float()


def number(value):
    value = float(value)
    return value if np.isfinite(value) else None


def main():
    numbers, cases = np.random.default_rng(7), []
    for shape, spacing in zip(SHAPES, SPACINGS):
        truth, predicted = blobs(shape, numbers), blobs(shape, numbers)
        y, p = one_hot(truth), one_hot(predicted)
        flat = shape[0] == 1
        surfaces = compute_hausdorff_distance(
            p[:, :, 0] if flat else p,
            y[:, :, 0] if flat else y,
            include_background=False,
            percentile=95,
            spacing=list(spacing[1:] if flat else spacing),
        )[0]
        inside = truth > 0
        jaccard = [
            ((truth == c) & (predicted == c)).sum()
            / max(1, (((truth == c) | (predicted == c)) & inside).sum())
            for c in range(1, CLASSES)
        ]
        cases.append(
            {
                "shape": shape,
                "spacing_mm": spacing,
                "truth": truth.ravel().tolist(),
                "predicted": predicted.ravel().tolist(),
                "dice": [number(v) for v in compute_dice(p, y, include_background=False)[0]],
                "iou": [number(v) for v in compute_iou(p, y, include_background=False)[0]],
                "hd95_mm": [number(v) for v in surfaces],
                "foreground_jaccard": [float(v) for v in jaccard],
            }
        )
    path = pathlib.Path(__file__).resolve().parents[2] / "probe/golden/segment.json"
    path.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
