#!/usr/bin/env python3
"""Writes probe/nn/golden/blocks.json: what PyTorch computes for small blocks of vision transformers.

Needs the packages in requirements-models.txt. Tokens and initial weights come from a generator that
the test repeats, so only results are stored. Adapters are restated by their formula (Hu et al. 2021);
bench_blocks.py checks that formula against Hugging Face PEFT.
"""

import json
import pathlib

import torch
from numbers_of_tests import Numbers
from torch.nn import functional

torch.set_num_threads(1)
WIDTH, HEADS, HIDDEN, TOKENS, BATCH, CLASSES = 24, 3, 40, 9, 6, 4
RANK, ALPHA = 4, 6.0


class Block:
    """Tensors of a block, by timm's names."""

    def __init__(self, activation, take):
        wide = 2 * HIDDEN if activation == "swiglu" else HIDDEN
        self.activation = activation

        def matrix(rows, columns):
            return take(rows * columns, 1.5 / columns**0.5, 0.0).reshape(rows, columns)

        self.tensors = {
            "norm1.weight": take(WIDTH, 0.2, 1.0),
            "norm1.bias": take(WIDTH, 0.2, 0.0),
            "attn.qkv.weight": matrix(3 * WIDTH, WIDTH),
            "attn.qkv.bias": take(3 * WIDTH, 0.2, 0.0),
            "attn.proj.weight": matrix(WIDTH, WIDTH),
            "attn.proj.bias": take(WIDTH, 0.2, 0.0),
            "norm2.weight": take(WIDTH, 0.2, 1.0),
            "norm2.bias": take(WIDTH, 0.2, 0.0),
            "mlp.fc1.weight": matrix(wide, WIDTH),
            "mlp.fc1.bias": take(wide, 0.2, 0.0),
            "mlp.fc2.weight": matrix(WIDTH, HIDDEN),
            "mlp.fc2.bias": take(WIDTH, 0.2, 0.0),
            "ls1.gamma": take(WIDTH, 0.3, 0.5),
            "ls2.gamma": take(WIDTH, 0.3, 0.5),
        }

    def linear(self, name, x):
        out = functional.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])
        adapters = [key for key in self.tensors if key.startswith(name) and key.endswith("lora_A")]
        if adapters:
            down_up = [(key, key.replace("lora_A", "lora_B")) for key in adapters]
            parts = [x @ self.tensors[a].T @ self.tensors[b].T for a, b in down_up]
            out = out + ALPHA / RANK * torch.cat(parts, -1)
        return out

    def norm(self, name, x):
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return functional.layer_norm(x, (WIDTH,), weight, bias, 1e-6)

    def active(self, x):
        match self.activation:
            case "gelu":
                return functional.gelu(x)
            case "gelu-tanh":
                return functional.gelu(x, approximate="tanh")
            case "quick-gelu":
                return x * torch.sigmoid(1.702 * x)
        gate, value = x.chunk(2, -1)
        return functional.silu(gate) * value

    def __call__(self, x):
        images = len(x)
        qkv = self.linear("attn.qkv", self.norm("norm1", x))
        qkv = qkv.reshape(images, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*qkv)
        attended = attended.transpose(1, 2).reshape(images, TOKENS, WIDTH)
        x = x + self.tensors["ls1.gamma"] * self.linear("attn.proj", attended)
        wide = self.linear("mlp.fc1", self.norm("norm2", x))
        return x + self.tensors["ls2.gamma"] * self.linear("mlp.fc2", self.active(wide))


def some(tensor, count):
    flat = tensor.detach().double().flatten()
    return [float(f"{x:.7g}") for x in flat[:: max(1, len(flat) // count)]]


def case(method, activation, pooling, split, optimiser, rate):
    seed = iter(range(7, 1000))

    def take(count, scale, offset):
        values = torch.from_numpy(Numbers(next(seed)).take(count))
        return values * scale + offset

    blocks = [Block(activation, take) for _ in range(2)]
    last = {"norm.weight": take(WIDTH, 0.2, 1.0), "norm.bias": take(WIDTH, 0.2, 0.0)}
    if method == "lora":
        for block in blocks:
            for name, groups in [("attn.qkv", 3 if split else 1), ("mlp.fc1", 1), ("mlp.fc2", 1)]:
                outputs, inputs = block.tensors[f"{name}.weight"].shape
                for group in range(groups):
                    own = f"{name}.{group}" if groups > 1 else name
                    down = take(RANK * inputs, 0.3, 0.0).reshape(RANK, inputs)
                    block.tensors[f"{own}.lora_A"] = down
                    up = take(outputs // groups * RANK, 0.3, 0.0).reshape(-1, RANK)
                    block.tensors[f"{own}.lora_B"] = up
    head = take(CLASSES * WIDTH, 0.3, 0.0).reshape(CLASSES, WIDTH)
    last |= {"head.weight": head, "head.bias": take(CLASSES, 0.2, 0.0)}
    named = {f"blocks.{n}.{k}": x for n, block in enumerate(blocks) for k, x in block.tensors.items()}
    trained = {}
    for name, tensor in (named | last).items():
        is_own = {"lora": "lora_" in name, "bitfit": name.endswith("bias"), "full": True}[method]
        if is_own or name.startswith("head."):
            trained[name] = tensor.requires_grad_()
    heads = [x for name, x in trained.items() if name.startswith("head.")]
    others = [x for name, x in trained.items() if not name.startswith("head.")]
    groups = [{"params": others, "lr": rate}, {"params": heads, "lr": 10 * rate}]
    if optimiser == "adamw":
        steps = torch.optim.AdamW(groups, weight_decay=0.01)
    else:
        steps = torch.optim.SGD(groups, momentum=0.9)

    def features(x):
        for block in blocks:
            x = block(x)
        x = functional.layer_norm(x, (WIDTH,), last["norm.weight"], last["norm.bias"], 1e-6)
        return x[:, 0] if pooling == "first" else x.mean(1)

    result = dict(method=method, activation=activation, pooling=pooling, split=split)
    result |= dict(optimiser=optimiser, rate=rate)
    curve = []
    for step in range(50):
        turn = step % 3
        # The last batch is smaller, as at the end of an epoch.
        count = BATCH - 1 if turn == 2 else BATCH
        tokens = torch.from_numpy(Numbers(5000 + turn).take(count * TOKENS * WIDTH))
        labels = (torch.arange(count) * 3 + turn) % CLASSES
        found = features(tokens.reshape(count, TOKENS, WIDTH))
        loss = functional.cross_entropy(functional.linear(found, head, last["head.bias"]), labels)
        steps.zero_grad()
        loss.backward()
        if step == 0:
            result["features"] = some(found, 60)
            result["gradients"] = {name: some(x.grad, 30) for name, x in trained.items()}
        steps.step()
        curve.append(float(f"{loss.item():.8g}"))
    result["curve"] = curve
    result["state"] = {name: some(x, 12) for name, x in trained.items()}
    return result


cases = [
    case("lora", "gelu", "first", False, "adamw", 1e-3),
    case("lora", "gelu-tanh", "mean", True, "sgd", 3e-3),
    case("bitfit", "quick-gelu", "first", False, "adamw", 1e-3),
    case("full", "swiglu", "first", False, "sgd", 3e-3),
    case("full", "gelu", "mean", False, "adamw", 3e-4),
]
path = pathlib.Path(__file__).resolve().parents[2] / "probe/nn/golden/blocks.json"
path.write_text(json.dumps({"torch": torch.__version__, "cases": cases}))
