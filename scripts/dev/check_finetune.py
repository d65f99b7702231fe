"""Checks the networks of scripts/finetuning, with requirements-finetune.txt.

Networks from scratch have as many parameters as those of the study. Small encoders of every naming scheme, with random
weights, give the same tokens after they were saved and loaded, and with new low-rank adapters, saved or not.
"""

import argparse
import tempfile
import tomllib
from pathlib import Path

import torch
import transformers

import vit_originals
from finetuning import methods, models, scratch

ROOT = Path(__file__).resolve().parents[2]
CARDS = ("biomedclip", "clip-l14", "siglip2-b16", "mae-l16", "dinov2-s14", "dinov2-s14-reg", "dinov2-g14")
# Of one class, in millions (table 6).
MILLIONS = {"unet": 31, "transunet": 324}


def check_scratch():
    for name, expected in MILLIONS.items():
        with torch.device("meta"):
            network = scratch.NETWORKS[name](1, 224)
        found = sum(parameter.numel() for parameter in network.parameters())
        assert round(found / 1e6) == expected, (name, found)
        print(f"{name}: {found} parameters")


def check_encoder(name, folder):
    card = tomllib.loads((ROOT / f"onnx_models/{name}.toml").read_text(encoding="utf-8"))
    card |= {"depth": 2, "width": 64, "heads": 2, "native_size": 4 * card["patch_size"]}
    model = vit_originals.build(card)
    with torch.no_grad():
        vit_originals.randomise(model, 0)
    encoder = models.Encoder(card, model.eval())
    methods.save_encoder(encoder, folder)
    images = torch.randn(2, 3, card["native_size"], card["native_size"])
    expected = tokens(encoder, images)

    args = argparse.Namespace(start=None, method="lora", rank=4, alpha=16, dropout=0.1)
    loaded = load(card, folder)
    assert torch.equal(tokens(loaded, images), expected), f"{name}: other tokens after loading"
    methods.adapt(args, loaded)
    assert torch.equal(tokens(loaded, images), expected), f"{name}: new adapters change tokens"
    adapters = {n: p for n, p in loaded.model.named_parameters() if "lora_B" in n}
    assert len(adapters) == len(methods.targets(encoder)), f"{name}: {sorted(adapters)}"
    with torch.no_grad():
        for values in adapters.values():
            values.normal_()
    changed = tokens(loaded, images)
    assert not torch.equal(changed, expected), f"{name}: adapters do nothing"
    loaded.model.save_pretrained(folder, save_embedding_layers=False)
    again = load(card, folder)
    args.start = folder
    methods.adapt(args, again)
    assert torch.equal(tokens(again, images), changed), f"{name}: other tokens with loaded adapters"
    print(f"{name}: {len(adapters)} adapters")


def load(card, folder):
    return models.Encoder(card, vit_originals.load(card, folder / methods.MODEL))


def tokens(encoder, images):
    encoder.eval()
    with torch.no_grad():
        return torch.cat([part.flatten(1) for part in encoder(images)[0]], 1)


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    check_scratch()
    for name in CARDS:
        with tempfile.TemporaryDirectory() as folder:
            check_encoder(name, Path(folder))
