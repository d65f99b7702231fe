#!/usr/bin/env python3
"""Times a training step of a decoder here and in PyTorch, in turns, and prints the ratio.

Needs the packages in requirements-models.txt: bench_decoders.py [KIND WIDTH CLASSES H W SIZE BATCH
HEADS THREADS ROUNDS]. Each side is a process of its own; a round is one step of each. Printed are
the medians, the median of the rounds' ratios, and each side's peak of memory.
"""

import pathlib
import statistics
import subprocess
import sys
import time

import benches

CASES = [
    "linear 384 2 16 16 224 16 1 1 30",
    "linear 384 2 16 16 224 16 13 1 10",
    "unet 384 2 16 16 224 16 1 1 5",
    "unet 384 16 16 16 224 16 1 1 5",
]


def memory(field):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024


def worker(kind, width, classes, height, across, size, batch, heads, threads, layout):
    import torch
    from monai.losses import DiceCELoss

    from torch_decoders import Linear, UNet

    torch.set_num_threads(threads)

    models = [(Linear if kind == "linear" else UNet)(width, classes, size) for _ in range(heads)]
    layers = 1 if kind == "linear" else 5
    tokens = [torch.rand(batch, height, across, width).permute(0, 3, 1, 2) for _ in range(layers)]
    if layout == "planes":
        tokens = [x.contiguous() for x in tokens]
    else:
        models = [model.to(memory_format=torch.channels_last) for model in models]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    masks = ((x // 9 + y // 7) % classes).expand(batch, 1, size, size).contiguous()
    loss = DiceCELoss(softmax=True, to_onehot_y=True)
    optimisers = [torch.optim.SGD(model.parameters(), 0.01, momentum=0.9) for model in models]
    before = memory("VmRSS")
    for line in sys.stdin:
        if not line.strip():
            break
        start = time.perf_counter()
        for model, optimiser in zip(models, optimisers):
            optimiser.zero_grad()
            loss(model(tokens), masks).backward()
            optimiser.step()
        print(time.perf_counter() - start, flush=True)
    print(before, memory("VmHWM"), flush=True)


def run(case, ours):
    *arguments, rounds = case.split()
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    commands = {"ours": [ours, *arguments]}
    for layout in ("planes", "channels-last"):
        commands[layout] = [sys.executable, __file__, "worker", *arguments, layout]
    processes = {name: subprocess.Popen(command, **pipes) for name, command in commands.items()}

    def ask(name, line):
        processes[name].stdin.write(line + "\n")
        processes[name].stdin.flush()
        return [float(x) for x in processes[name].stdout.readline().split()]

    times = {name: [] for name in processes}
    for turn in range(int(rounds) + 1):
        for name in processes:
            seconds = ask(name, "step")[0]
            # The first step warms up.
            if turn:
                times[name].append(seconds)
    print(case)
    for name, some in times.items():
        before, peak = ask(name, "")
        ratio = statistics.median(x / y for x, y in zip(some, times["ours"]))
        print(
            f"  {name:14} {statistics.median(some):8.4f} s/step, {ratio:5.2f} times ours, "
            f"peak {peak:6.0f} MiB of which {before:6.0f} before the first step",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        kind, *numbers, layout = sys.argv[2:]
        worker(kind, *map(int, numbers), layout)
    else:
        ours = benches.executable("decoders")
        for case in [" ".join(sys.argv[1:])] if sys.argv[1:] else CASES:
            run(case, ours)
