"""The study's augmentation, on images that were resized and normalised already.

Every draw follows from the seed, the epoch and the row, so that a training that was stopped goes on with the same images.
"""

import math

import numpy as np
import torch
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

AREA = (0.75, 1.0)
RATIO = (3 / 4, 4 / 3)
FLIP = 0.25
DEGREES = 90


class Augment:
    """Crops and flips for classification, flips and rotations for segmentation, and the recipe's rescaling."""

    def __init__(self, preprocess, seed):
        self.mean = torch.tensor(preprocess["mean"]).view(3, 1, 1)
        self.std = torch.tensor(preprocess["std"]).view(3, 1, 1)
        self.by_bounds = preprocess["rescale"] == "bounds"
        self.seed = seed

    def crop_flip(self, image, epoch, row):
        """A crop of `image` `[3, S, S]`, resized to its size, maybe flipped from left to right."""
        draw = np.random.default_rng([self.seed, epoch, row])
        side = image.shape[-1]
        top, left, height, width = crop(draw, side)
        part = image[:, top : top + height, left : left + width]
        out = functional.interpolate(part[None], (side, side), mode="bicubic")[0]
        out = out.flip(-1) if draw.random() < 0.5 else out
        return self.rescaled(out)

    def flip_rotate(self, image, mask, epoch, row):
        """`image` `[3, S, S]` and `mask` `[S, S]`, flipped and rotated together; corners become background."""
        draw = np.random.default_rng([self.seed, epoch, row])
        for axis in (-2, -1):
            if draw.random() < FLIP:
                image, mask = image.flip(axis), mask.flip(axis)
        angle = draw.uniform(-DEGREES, DEGREES)
        least = -self.mean / self.std
        nearest = InterpolationMode.NEAREST
        image = vision.rotate(image - least, angle, nearest) + least
        mask = vision.rotate(mask[None], angle, nearest)[0]
        return self.rescaled(image), mask

    def rescaled(self, image):
        """Intensities over the whole range again, as the recipe has them after the augmentation."""
        if self.by_bounds:
            unit = (image * self.std + self.mean).clamp(0, 1)
        else:
            low, high = image.amin((1, 2), keepdim=True), image.amax((1, 2), keepdim=True)
            span = high - low
            unit = torch.where(span > 0, (image - low) / span.clamp_min(1e-12), 0)
        return (unit - self.mean) / self.std


def crop(draw, side):
    """Top, left, height and width of a crop of a square."""
    for _ in range(10):
        area = side * side * draw.uniform(*AREA)
        ratio = math.exp(draw.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= side and 0 < height <= side:
            top, left = draw.integers(0, side - height + 1), draw.integers(0, side - width + 1)
            return int(top), int(left), height, width
    return 0, 0, side, side
