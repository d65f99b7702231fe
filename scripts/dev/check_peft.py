"""Adapters of `probe adapt` in Hugging Face PEFT, for each family of models of transformers, on random weights.

    scripts/dev/run check_peft.py

Makes small models of each family with random weights, extracts residual tokens of made-up images, adapts two blocks by
`probe adapt`, loads the adapters by PEFT into the model that `AutoModel` gives, computes these blocks there from the tokens
of the cache, and compares the probabilities of the test images with those of the record. Environment:
requirements-finetune.txt. Needs `extract` and `probe` in target/release, or in the folder PROGRAMS.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = pathlib.Path(os.environ.get("PROGRAMS", ROOT / "target/release"))
BLOCKS, TOLERANCE = 2, 5e-6
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 56, "patch_size": 14}
CARD = """
name = "{name}"
title = "random weights"
parameters = {parameters}
width = 32
depth = 3
heads = 2
patch_size = 14
native_size = 56
image_size = 56
layers = 3
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
licence = "MIT"
access = "open"
notes = "random weights"

[[source]]
kind = "local"
file = "onnx_models/{name}.safetensors"

[vit]
tensors = "{tensors}"
activation = "{activation}"
epsilon = {epsilon}
positions = "hf"
final_norm = {final_norm}
registers = {registers}
cls = "{cls}"
"""
# Parts of tensors' names that are not of the encoder.
UNCOUNTED = ("pooler", "mask_token", "head.", "decoder")
# Classes of the configuration and the model, options, and the card. `final_norm` is that of our cards.
VIT = {"tensors": "vit", "activation": "gelu", "epsilon": 1e-12, "final_norm": "false"}
DINOV2 = {"tensors": "dinov2", "activation": "gelu", "epsilon": 1e-6, "final_norm": "true"}
WIDE = {"intermediate_size": 64}
DECODER = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_intermediate_size": 64, "decoder_num_attention_heads": 2}
FAMILIES = {
    "vit": ("ViTConfig", "ViTModel", WIDE, VIT),
    "vit-task": ("ViTConfig", "ViTForImageClassification", WIDE, VIT),
    "mae": ("ViTMAEConfig", "ViTMAEForPreTraining", WIDE | DECODER | {"mask_ratio": 0.0}, VIT),
    "msn": ("ViTMSNConfig", "ViTMSNModel", WIDE, VIT | {"epsilon": 1e-6}),
    "dinov2": ("Dinov2Config", "Dinov2Model", {}, DINOV2),
    "dinov2-swiglu": ("Dinov2Config", "Dinov2Model", {"use_swiglu_ffn": True}, DINOV2 | {"activation": "swiglu"}),
    "dinov2-task": ("Dinov2Config", "Dinov2ForImageClassification", {}, DINOV2),
    "dinov2-reg": ("Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", {"num_register_tokens": 4}, DINOV2 | {"registers": 4}),
    "clip": ("CLIPConfig", "CLIPModel", WIDE, {"tensors": "clip", "activation": "quick-gelu", "epsilon": 1e-5, "final_norm": "false"}),
    "siglip": (
        "SiglipConfig",
        "SiglipModel",
        WIDE | {"hidden_act": "gelu_pytorch_tanh"},
        {"tensors": "siglip", "activation": "gelu-tanh", "epsilon": 1e-6, "final_norm": "false", "cls": "mean"},
    ),
}


def run(*words, home):
    """Runs a program in the project `home`."""
    environment = os.environ | {"SLICEBANK_HOME": str(home)}
    done = subprocess.run([PROGRAMS / words[0], *words[1:]], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{words}\n{done.stdout}{done.stderr}")


def make(name, home):
    """Saves a random model and its card."""
    config, model, options, card = FAMILIES[name]
    sizes = SIZES | options
    if name in ("clip", "siglip"):
        text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}
        sizes = {"vision_config": sizes, "text_config": text, "projection_dim": 32}
    torch.manual_seed(len(name))
    model = getattr(transformers, model)(getattr(transformers, config)(**sizes))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.05 * torch.randn_like(tensor))
    model.save_pretrained(home / name)
    encoder = transformers.AutoModel.from_pretrained(home / name)
    encoder = getattr(encoder, "vision_model", encoder).named_parameters()
    count = sum(tensor.numel() for key, tensor in encoder if not any(part in key for part in UNCOUNTED))
    card = {"name": name, "registers": 0, "cls": "token", "parameters": count} | card
    folder = home / "onnx_models"
    (folder / f"{name}.toml").write_text(CARD.format(**card))
    (folder / f"{name}.safetensors").write_bytes((home / name / "model.safetensors").read_bytes())
    return card


def images(folder):
    """60 images of two classes: a bright square on the left or on the right."""
    rows = ["image,label,patient,split"]
    for i in range(60):
        pixels = np.random.default_rng(i).integers(0, 60, (32, 40)).astype("uint8")
        pixels[8:24, slice(8, 16) if i % 2 else slice(24, 32)] = 200
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},p{i},{['train', 'val', 'test'][i % 3]}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")


def blocks(model):
    """The list of blocks and the last LayerNorm."""
    model = getattr(model, "vision_model", model)
    encoder = getattr(model, "encoder", model)
    layers = getattr(encoder, "layer", None) or encoder.layers
    return layers, getattr(model, "layernorm", None)


@torch.no_grad()
def check(name, home, cache, runs):
    """The greatest difference of a probability."""
    card = make(name, home)
    run("extract", "--model", name, "--dataset", "manifest", "--name", "images", "--root", str(home / "manifest.csv"),
        "--tokens", "residual", "--cache", str(cache), home=home)
    run("probe", "adapt", "--cache", str(cache), "--model", name, "--runs", str(runs), "--blocks", str(BLOCKS), "--rank", "4",
        "--lr", "0.01", "--epochs", "3", "--models", str(home / "onnx_models"), home=home)
    record = json.loads((runs / "adapt.jsonl").read_text().splitlines()[-1])
    folder = runs / record["params"]["adapter"]
    model = transformers.AutoModel.from_pretrained(home / name)
    adapted = PeftModel.from_pretrained(model, folder)
    keys = set(load_file(folder / "adapter_model.safetensors"))
    own = {key for key, value in adapted.state_dict().items() if "lora_" in key and value.abs().sum() > 0}
    assert {key.replace(".default", "") for key in own} == keys, f"{name}: not all adapters were loaded"
    adapted.eval()
    layers, norm = blocks(adapted.base_model.model)
    reader = pq.read_table(cache / f"images/{name}@56/residual/00000.parquet")
    tokens = np.stack([np.frombuffer(row, "<f2") for row in reader[f"residual_{BLOCKS + 1}"].to_pylist()])
    splits = pq.read_table(cache / f"images/{name}@56/slices/00000.parquet")["split"].to_pylist()
    test = [row for row, split in enumerate(splits) if split == "test"]
    states = torch.from_numpy(tokens[test].astype(np.float32)).view(len(test), -1, 32)
    for layer in layers[-BLOCKS:]:
        states = layer(states, None) if "siglip" in name or "clip" in name else layer(states)
        states = states[0] if isinstance(states, tuple) else states
    if card["final_norm"] == "true":
        states = norm(states)
    features = states[:, 0] if card["cls"] == "token" else states.mean(1)
    head = load_file(folder / "head.safetensors")
    found = torch.sigmoid(features @ head["weight"].T + head["bias"])[:, 0].numpy()
    scores = pq.read_table(runs / record["predictions"])["score/b"].to_numpy()
    return float(np.abs(found - scores).max()), float(scores.std())


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        (home / "onnx_models").mkdir()
        (home / "runtime").symlink_to(ROOT / "runtime")
        images(home)
        for name in FAMILIES:
            difference, spread = check(name, home, home / "cache", home / "runs")
            print(f"{name:14} largest difference of a probability {difference:.1e}, standard deviation {spread:.3f}")
            worst = max(worst, difference)
    print(f"transformers {transformers.__version__}, largest difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    raise SystemExit(worst > TOLERANCE)


if __name__ == "__main__":
    main()
