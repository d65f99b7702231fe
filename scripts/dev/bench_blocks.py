#!/usr/bin/env python3
"""Times a training step of the last blocks of a ViT here and in PyTorch with PEFT, in turns, and prints the ratio.

Needs the packages in requirements-models.txt: bench_blocks.py [METHOD WIDTH HEADS TOKENS BLOCKS BATCH
THREADS ROUNDS]. METHOD is lora, bitfit or full. Each side is a process of its own; a round is one step
of each. Printed are the medians, the median of the rounds' ratios, each side's peak of memory, and the
machine's load.
"""

import os
import statistics
import subprocess
import sys
import time

from bench_decoders import memory

import benches

CASE = "lora 384 6 257 4 32 2 7"


def worker(method, width, heads, tokens, count, batch, threads):
    import torch
    from peft import LoraConfig, get_peft_model
    from timm.models.vision_transformer import Block

    torch.set_num_threads(threads)
    layers = [Block(width, heads, qkv_bias=True, init_values=1.0) for _ in range(count)]
    model = torch.nn.Sequential(*layers, torch.nn.LayerNorm(width, eps=1e-6))
    head = torch.nn.Linear(width, 8)
    if method == "lora":
        options = dict(r=48, lora_alpha=16, lora_dropout=0.1)
        model = get_peft_model(model, LoraConfig(target_modules=["qkv", "fc1", "fc2"], **options))
    elif method == "bitfit":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith("bias"))
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [{"params": trained, "lr": 2e-4}, {"params": head.parameters(), "lr": 5e-3}]
    optimiser = torch.optim.AdamW(groups)
    x, labels = torch.rand(batch, tokens, width) * 2 - 1, torch.arange(batch) % 8
    loss = torch.nn.CrossEntropyLoss()
    before = memory("VmRSS")
    for line in sys.stdin:
        if not line.strip():
            break
        start = time.perf_counter()
        optimiser.zero_grad()
        loss(head(model(x)[:, 0]), labels).backward()
        optimiser.step()
        print(time.perf_counter() - start, flush=True)
    print(before, memory("VmHWM"), flush=True)


def run(case, ours):
    *arguments, rounds = case.split()
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    commands = {
        "ours": [ours, *arguments],
        "PyTorch": [sys.executable, __file__, "worker", *arguments],
    }
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
            if turn > 0:
                times[name].append(seconds)
    ratios = [theirs / own for own, theirs in zip(times["ours"], times["PyTorch"])]
    print(case)
    for name, seconds in times.items():
        before, peak = ask(name, "")
        median = statistics.median(seconds)
        print(f"  {name:8} {median:.3f} s ({min(seconds):.3f} to {max(seconds):.3f}), {peak:.0f} MiB")
    print(f"  ratio {statistics.median(ratios):.2f}, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        executable = os.environ.get("BLOCKS") or benches.executable("blocks")
        run(" ".join(sys.argv[1:]) or CASE, executable)
