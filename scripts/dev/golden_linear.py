#!/usr/bin/env python3
"""Writes probe/golden/linear.json: heads that PyTorch trains as DINOv2's evaluation code does.

Every head has a linear layer of its own on its own features, all in one SGD optimiser with momentum
and a cosine schedule. Needs Python 3.11 and the packages in requirements-models.txt.
"""

import json

import numpy as np
import torch

import wheels

WIDTHS, MEAN = (6, 6, 6, 6), 5
EXAMPLES, BATCH, STEPS, EVALUATED = 60, 16, 12, 40
RATES = (0.05, 0.5)
TASKS = {"single3": 3, "single2": 2, "multi_sum": 4, "multi_mean": 4}


def main():
    draw = np.random.RandomState(11)
    width = sum(WIDTHS) + MEAN
    x = draw.standard_normal((EXAMPLES + EVALUATED, width)).astype(np.float16)
    order = [draw.randint(0, EXAMPLES, BATCH).tolist() for _ in range(STEPS)]
    cases = [case(draw, name, classes, x, order) for name, classes in TASKS.items()]
    result = {"widths": WIDTHS, "mean": MEAN, "x": rows(x), "batches": order, "cases": cases}
    target = wheels.ROOT / "probe" / "golden" / "linear.json"
    target.write_text(json.dumps(result) + "\n")


def case(draw, name, classes, x, order):
    directions = draw.standard_normal((x.shape[1], classes))
    logits = x.astype(np.float64) @ directions + draw.standard_normal((len(x), classes))
    multi = name.startswith("multi")
    targets = (logits > 0.5).astype(int) if multi else logits.argmax(1)
    outputs = 1 if classes == 2 else classes
    heads = [
        {"blocks": blocks, "mean": mean, "rate": rate}
        for blocks in (1, 4)
        for mean in (True, False)
        for rate in RATES
    ]
    for head in heads:
        first, end = columns(head)
        head["weight"] = rows(0.01 * draw.standard_normal((outputs, end - first)))
    train(name, heads, x, targets, order)
    return {"name": name, "classes": classes, "targets": targets.tolist(), "heads": heads}


def columns(head):
    end = sum(WIDTHS)
    first = end - sum(WIDTHS[-head["blocks"] :])
    return first, end + (MEAN if head["mean"] else 0)


def train(name, heads, x, targets, order):
    """Adds `trained_weight`, `trained_bias` and `logits` of the evaluated rows to each head."""
    x = torch.tensor(x.astype(np.float32))
    layers = []
    for head in heads:
        weight = torch.tensor(head["weight"])
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.weight.data, layer.bias.data = weight, torch.zeros(weight.shape[0])
        layers.append(layer)
    groups = [{"params": la.parameters(), "lr": h["rate"]} for la, h in zip(layers, heads)]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(order), eta_min=0)
    for batch in order:
        losses = [
            loss(name, layer(x[batch, slice(*columns(head))]), torch.tensor(targets[batch]))
            for layer, head in zip(layers, heads)
        ]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
    for layer, head in zip(layers, heads):
        head["trained_weight"] = rows(layer.weight.detach().numpy())
        head["trained_bias"] = layer.bias.detach().numpy().tolist()
        evaluated = x[EXAMPLES:, slice(*columns(head))]
        head["logits"] = rows(layer(evaluated).detach().numpy())


def loss(name, logits, targets):
    functional = torch.nn.functional
    if name == "single3":
        return functional.cross_entropy(logits, targets)
    if name == "single2":
        return functional.binary_cross_entropy_with_logits(logits[:, 0], targets.float())
    if name == "multi_mean":
        return functional.binary_cross_entropy_with_logits(logits, targets.float())
    # The study's: every pair's loss, the sum divided by the number of classes.
    total = functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="sum")
    return total / logits.shape[1]


def rows(array):
    return np.asarray(array, np.float32).tolist()


if __name__ == "__main__":
    main()
