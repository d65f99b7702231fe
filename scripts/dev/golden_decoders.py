#!/usr/bin/env python3
"""Writes probe/nn/golden/decoders.json: what PyTorch, torchvision and MONAI compute for small decoders.

Needs the packages in requirements-models.txt. Inputs and initial weights come from a generator
that the test repeats, so only results are stored.
"""

import json
import pathlib

import numpy
import torch
from monai.losses import DiceCELoss, DiceLoss
from numbers_of_tests import Numbers
from torch.nn import functional

from torch_decoders import Linear, UNet

torch.set_num_threads(1)
IGNORE = 65535


def loss_of(kind, logits, masks):
    if (masks != IGNORE).all():
        loss = DiceLoss if kind == "dice" else DiceCELoss
        return loss(softmax=True, to_onehot_y=True)(logits, masks[:, None])
    counted = (masks != IGNORE)[:, None].float()
    clean = torch.where(masks == IGNORE, 0, masks)
    labels = functional.one_hot(clean, logits.shape[1]).permute(0, 3, 1, 2) * counted
    probability = logits.softmax(1) * counted
    sums = [(x).sum((2, 3)) for x in (probability * labels, probability, labels)]
    loss = (1 - (2 * sums[0] + 1e-5) / (sums[1] + sums[2] + 1e-5)).mean()
    if kind == "dice_ce":
        target = torch.where(masks == IGNORE, -100, masks)
        loss = loss + functional.cross_entropy(logits, target, ignore_index=-100)
    return loss


def masks_of(batch, size, classes, ignored, step):
    image, y, x = numpy.indices((batch, size, size))
    masks = (x // 7 + y // 9 * (image + 1) + step) % classes
    if ignored:
        masks[(x + 2 * y) % 11 == 0] = IGNORE
    return torch.from_numpy(masks.astype(numpy.int64))


def tokens_of(batch, grid, width, layers, step):
    shape = (batch, *grid, width)
    result = []
    for layer in range(layers):
        numbers = Numbers(1000 * step + layer).take(numpy.prod(shape))
        result.append(torch.from_numpy(numbers.reshape(shape)).permute(0, 3, 1, 2))
    return result


def some(tensor, count):
    flat = tensor.detach().double().flatten()
    step = max(1, len(flat) // count)
    return [float(f"{x:.7g}") for x in flat[::step]]


def case(kind, width, classes, grid, size, batch, loss, ignored, rate):
    torch.manual_seed(0)
    layers = 1 if kind == "linear" else 5
    model = (Linear if kind == "linear" else UNet)(width, classes, size)
    for index, parameter in enumerate(model.parameters()):
        values = Numbers(7 + index).take(parameter.numel()).reshape(parameter.shape)
        scale = 0.3 if parameter.dim() == 1 else 2 / parameter[0].numel() ** 0.5
        offset = 0.5 if parameter.dim() == 1 else 0.0
        parameter.data = torch.from_numpy(values * numpy.float32(scale) + numpy.float32(offset))
    optimiser = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    result = dict(kind=kind, width=width, classes=classes, grid=grid, size=size, batch=batch)
    result.update(loss=loss, ignored=ignored, rate=rate)
    result["scales"] = {
        name: [
            0.3 if p.dim() == 1 else float(numpy.float32(2 / p[0].numel() ** 0.5)),
            0.5 if p.dim() == 1 else 0.0,
        ]
        for name, p in model.named_parameters()
    }

    def evaluated():
        model.eval()
        tokens = tokens_of(batch, grid, width, layers, 0)
        with torch.no_grad():
            square = some(model(tokens), 200)
            other = some(model.at(tokens, (37, 75)), 200)
        model.train()
        return dict(square=square, other=other)

    result["before"] = evaluated()
    curve = []
    for step in range(50):
        turn = step % 3
        # The last batch is smaller, as at the end of an epoch.
        count = batch - 1 if turn == 2 else batch
        tokens = tokens_of(count, grid, width, layers, turn)
        masks = masks_of(count, size, classes, ignored, turn)
        value = loss_of(loss, model(tokens), masks)
        optimiser.zero_grad()
        value.backward()
        if step == 0:
            result["gradients"] = {
                name: some(p.grad, 60) for name, p in model.named_parameters()
            }
        optimiser.step()
        curve.append(float(f"{value.item():.8g}"))
    result["curve"] = curve
    result["after"] = evaluated()
    result["state"] = {
        name: some(x, 12) for name, x in model.state_dict().items() if "num_batches" not in name
    }
    return result


cases = [
    case("linear", 16, 3, (4, 4), 60, 3, "dice", False, 0.5),
    case("linear", 12, 4, (5, 3), 33, 2, "dice_ce", True, 0.1),
    case("linear", 12, 2, (4, 4), 40, 2, "dice_ce", False, 0.1),
    case("unet", 16, 3, (4, 4), 60, 3, "dice", False, 0.02),
    case("unet", 24, 5, (3, 5), 50, 2, "dice_ce", True, 0.02),
    case("unet", 16, 2, (4, 4), 64, 2, "dice_ce", False, 0.02),
]
path = pathlib.Path(__file__).resolve().parents[2] / "probe/nn/golden/decoders.json"
path.write_text(json.dumps({"torch": torch.__version__, "cases": cases}))
