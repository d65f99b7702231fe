#!/usr/bin/env python3
"""Compares the training of the study's grid of 32 linear heads with PyTorch on features of the same size.

PyTorch trains as DINOv2's evaluation code does, but from features that are there: a linear layer for
each head, all in one SGD optimiser. Both run in turn, several rounds, each in a process of its own;
the medians of the rounds' ratios are printed. Needs the packages in
requirements-models.txt.
"""

import argparse
import statistics
import subprocess
import sys
import time

import benches

BATCH = 128
RATES = (0.1, 0.01, 0.05, 0.001, 0.005, 0.0001, 0.0005, 0.00001)


def torch_round(examples, width, classes, steps, threads):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    cls = [torch.randn(examples, width) for _ in range(4)]
    mean = torch.randn(examples, width)
    targets = (torch.rand(examples, classes) < 0.1).float()
    kinds = [(n, pool) for n in (1, 4) for pool in (True, False) for _ in RATES]
    layers = [torch.nn.Linear(width * (n + pool), classes) for n, pool in kinds]
    groups = [{"params": la.parameters(), "lr": lr} for la, lr in zip(layers, RATES * 4)]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=0)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    order = torch.randint(0, examples, (steps, BATCH))
    start = time.perf_counter()
    for rows in order:
        seen, target = [block[rows] for block in cls], targets[rows]
        pooled = mean[rows]
        losses = []
        for (n, pool), layer in zip(kinds, layers):
            # Every head puts its input together by itself, as DINOv2's `LinearClassifier` does.
            x = torch.cat(seen[-n:] + ([pooled] if pool else []), dim=-1)
            losses.append(loss(layer(x), target))
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
    print(f"{time.perf_counter() - start:.3f}")


def measure(command):
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(number) for number in output.stdout.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"examples": 5000, "width": 384, "classes": 14, "steps": 400, "threads": 2}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch-round", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    values = [getattr(args, name) for name in sizes]
    if args.torch_round:
        return torch_round(*values)
    words = [str(value) for value in values]
    ours = [benches.executable("linear")]
    pairs = [word for name, word in zip(sizes, words) for word in (f"--{name}", word)]
    theirs = [sys.executable, __file__, "--torch-round", *pairs]
    ratios, bare = [], []
    for _ in range(args.rounds):
        (seconds, products, _), (their_seconds,) = measure(ours + words), measure(theirs)
        ratios.append(their_seconds / seconds)
        bare.append(seconds / products)
        print(
            f"probe {seconds:.3f} s, its products {products:.3f} s, PyTorch {their_seconds:.3f} s"
        )
    print(f"PyTorch takes {statistics.median(ratios):.2f} times as long (median of {args.rounds})")
    print(f"probe takes {statistics.median(bare):.2f} times as long as its bare products")


if __name__ == "__main__":
    main()
