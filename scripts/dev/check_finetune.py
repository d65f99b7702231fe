"""Checks the networks of scripts/finetuning, with requirements-finetune.txt.

Networks from scratch have as many parameters as those of the study. Small encoders of every naming scheme, with random
weights, give the same tokens after they were saved and loaded, and with new low-rank adapters, saved or not. Those of
torchvision are of their own size, and have no adapters; their gradients reach the first layer.
"""

import argparse
import tempfile
import tomllib
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from safetensors.torch import load_file

import originals
import vit_originals
from finetuning import encoders, methods, scratch

ROOT = Path(__file__).resolve().parents[2]
CARDS = ("biomedclip", "clip-l14", "siglip2-b16", "mae-l16", "dinov2-s14", "dinov2-s14-reg", "dinov2-g14")
CARDS += ("dinov3-s16", "sam-l16", "resnet152", "vgg19")
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
    if card["heads"]:
        card |= {"depth": 2, "width": 64, "heads": 2, "native_size": 4 * card["patch_size"]}
    encoder = encoders.Encoder(card, new(card, folder))
    methods.save_encoder(encoder, folder)
    side = (4 if card["heads"] else 2) * card["patch_size"]
    images = torch.randn(2, 3, side, side)
    expected = tokens(encoder, images)
    loaded = load(card, folder)
    assert torch.equal(tokens(loaded, images), expected), f"{name}: other tokens after loading"
    if card["heads"]:
        check_adapters(card, loaded, images, folder)
    else:
        check_gradients(card, loaded, images)


def check_adapters(card, loaded, images, folder):
    name, expected, targets = card["name"], tokens(loaded, images), methods.targets(loaded)
    args = argparse.Namespace(start=None, method="lora", rank=4, alpha=16, dropout=0.1)
    methods.adapt(args, loaded)
    assert torch.equal(tokens(loaded, images), expected), f"{name}: new adapters change tokens"
    adapters = {n: p for n, p in loaded.model.named_parameters() if "lora_B" in n}
    assert len(adapters) == len(targets), f"{name}: {sorted(adapters)}"
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


def check_gradients(card, encoder, images):
    encoder.train()
    encoder(images)[0][0].sum().backward()
    without = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert not without, f"{card['name']}: no gradient of {without}"
    assert next(encoder.parameters()).grad.abs().sum() > 0
    print(f"{card['name']}: {sum(p.numel() for p in encoder.parameters())} parameters with gradients")


def new(card, folder):
    """A network with random weights, and where its layers are."""
    if "vit" in card:
        model = vit_originals.build(card)
        with torch.no_grad():
            vit_originals.randomise(model, 0)
        return encoders.of_vit(card, model.eval())
    library, kind = card["python"]["library"], card["python"]["model"]
    if library == "torchvision":
        tensors = torchvision.models.get_model(kind, weights=None).state_dict()
    elif library == "timm":
        card["python"] |= {"embed_dim": card["width"], "num_heads": card["heads"]}
        sizes = {"img_size": card["native_size"], "depth": card["depth"]}
        tensors = timm.create_model(kind, num_classes=0, **sizes | originals.keywords(card)).state_dict()
    else:
        sizes = {"hidden_size": card["width"], "intermediate_size": 4 * card["width"]}
        sizes |= {"num_hidden_layers": card["depth"], "num_attention_heads": card["heads"]}
        model = getattr(transformers, kind)
        model(model.config_class(**sizes | originals.keywords(card))).save_pretrained(folder)
        tensors = load_file(folder / methods.MODEL)
    return originals.build(card, tensors)


def load(card, folder):
    path = folder / methods.MODEL
    if "vit" in card:
        return encoders.Encoder(card, encoders.of_vit(card, vit_originals.load(card, path)))
    return encoders.Encoder(card, originals.build(card, load_file(path)))


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
