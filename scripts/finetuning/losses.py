"""Losses, scores and the measures by which the epoch is chosen. `probe score` computes those that are recorded."""

import numpy as np
import torch
from torch.nn import functional

from finetuning.data import IGNORE

SMOOTH = 1e-5


def of_images(data, logits, targets):
    """The loss of each image, `[B]`: that of `probe linear` or `probe segment`."""
    logits = logits.float()
    if data.is_segmentation:
        return dice_loss(logits, targets)
    if data.is_single and logits.shape[1] == 1:
        return functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float(), reduction="none")
    if data.is_single:
        return functional.cross_entropy(logits, targets, reduction="none")
    known = ~targets.isnan()
    each = functional.binary_cross_entropy_with_logits(logits, targets.nan_to_num(), reduction="none")
    return (each * known).mean(1)


def dice_loss(logits, targets):
    """Soft Dice of each image, the mean over classes; ignored pixels do not count."""
    known = (targets != IGNORE)[:, None]
    probabilities = logits.softmax(1) * known
    truth = functional.one_hot(targets.clamp_min(0), logits.shape[1]).movedim(-1, 1) * known
    both = (probabilities * truth).sum((2, 3))
    total = probabilities.sum((2, 3)) + truth.sum((2, 3))
    return (1 - (2 * both + SMOOTH) / (total + SMOOTH)).mean(1)


def scores(data, protocol, logits):
    """Probabilities `[N, C]` of logits `[N, O]`, as `probe linear` has them."""
    logits = torch.from_numpy(logits.astype(np.float64))
    if data.is_single and logits.shape[1] == 1:
        return torch.cat([-logits, logits], 1).sigmoid().numpy()
    if data.is_single and protocol == "strict":
        return logits.softmax(1).numpy()
    return logits.sigmoid().numpy()


def auroc_macro(data, protocol, found, targets):
    """The mean AUROC of the classes; `None` if none has one."""
    if data.is_single:
        targets = np.eye(len(data.classes))[targets]
    values = []
    for scores, truth in zip(found.T, targets.T):
        positive, negative = scores[truth == 1], np.sort(scores[truth == 0])
        if len(positive) and len(negative):
            below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
            values.append(below.mean() / 2 / len(negative))
        elif protocol == "paper":
            values.append(0.0)
    return float(np.mean(values)) if values else None


def overlap(classes, predicted, targets):
    """Pixels of each class that are right, predicted and true, `[3, C]`."""
    known = targets != IGNORE
    predicted, targets = predicted[known], targets[known]
    counts = [torch.bincount(of, minlength=classes) for of in (targets[predicted == targets], predicted, targets)]
    return torch.stack(counts).cpu().numpy()


def dice(counts):
    """The mean Dice coefficient of the structures, of all pixels together; `None` without any."""
    right, predicted, true = counts[:, 1:]
    there = predicted + true > 0
    return float((2 * right[there] / (predicted + true)[there]).mean()) if there.any() else None
