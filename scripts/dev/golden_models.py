#!/usr/bin/env python3
"""Writes tests/golden/models/: tiny backbones and the tokens that their own libraries give.

Each is an object of the class in transformers or timm that the real weights are for, with seeded
random parameters, none of them neutral. A model is three files: the card `NAME.toml`, the weights
`NAME.safetensors` under the tensor names of the hub's files, and `NAME.golden.safetensors` with
inputs `pixels_S` `[B, 3, S, S]` and, for the blocks K = 1 (the last) to 5, `cls_K_S` and `mean_K_S`
`[B, D]` and `patch_K_S` `[B, P, D]`. Needs Python 3.11 and the packages in requirements-models.txt.
"""

import json
import shutil
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch import nn

import originals
import vit_originals
import wheels

GOLDEN = wheels.ROOT / "tests" / "golden" / "models"
WIDTH, DEPTH, HEADS, LAYERS = 32, 6, 2, 5
# Patches along a side of the position table; and of the inputs, with how many images of each.
NATIVE = 4
IMAGES = {3: 1, 4: 2, 8: 1}
TEXT = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "vocab_size": 16,
    "max_position_embeddings": 4,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


@dataclass
class Tiny:
    """A model: what is saved, which part of it is run, and what its card says under `[vit]`."""

    name: str
    model: nn.Module
    vit: dict
    encoder: Callable[[nn.Module], nn.Module] = lambda model: model
    # The name of the weights' file, where another model has the same.
    weights: str = ""
    heads: int = HEADS


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir(parents=True)
    for tiny in [*dinov2_models(), *vit_models(), *clip_models(), siglip(), biomedclip()]:
        write(tiny)


# The models.


def config(kind, patch=8, **changes):
    """A configuration of the tiny size, of the class `kind` in transformers."""
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS}
    return kind(image_size=NATIVE * patch, patch_size=patch, **sizes | changes)


def vit(tensors, activation="gelu", positions="hf", epsilon=1e-6, **others):
    """The table `[vit]` of a card."""
    keys = {"tensors": tensors, "activation": activation, "epsilon": epsilon}
    keys |= {"positions": positions, "final_norm": tensors == "dinov2", "cls": "token"}
    return keys | others


def dinov2_models():
    settings = config(transformers.Dinov2Config, 7)
    swiglu = config(transformers.Dinov2Config, 7, use_swiglu_ffn=True)
    with_registers = config(transformers.Dinov2WithRegistersConfig, 7)
    yield Tiny("dinov2", transformers.Dinov2Model(settings), vit("dinov2"))
    for positions in ("hub", "timm"):
        keys, model = vit("dinov2", positions=positions), transformers.Dinov2Model(settings)
        yield Tiny(f"dinov2-{positions}", model, keys, weights="dinov2")
    yield Tiny("dinov2-giant", transformers.Dinov2Model(swiglu), vit("dinov2", "swiglu"))
    model = transformers.Dinov2WithRegistersModel(with_registers)
    yield Tiny("dinov2-reg", model, vit("dinov2", positions="timm", registers=4))


def vit_models():
    wide = {"intermediate_size": 4 * WIDTH}
    settings = config(transformers.ViTConfig, **wide)
    keys = vit("vit", epsilon=1e-12)
    yield Tiny("vit", transformers.ViTModel(settings), keys)
    model = transformers.ViTForImageClassification(settings)
    yield Tiny("vit-classifier", model, keys, attrgetter("vit"))
    decoder = {f"decoder_{name}": TEXT[name] for name in list(TEXT)[:4]}
    pretraining = transformers.ViTMAEForPreTraining(
        config(transformers.ViTMAEConfig, **wide, **decoder)
    )
    yield Tiny("mae", pretraining, keys, unmasked)
    model = transformers.ViTMSNModel(config(transformers.ViTMSNConfig, **wide))
    yield Tiny("msn", model, vit("vit"))


def unmasked(pretraining):
    """The encoder of an MAE as a plain ViT: its own class hides patches and shuffles them."""
    encoder = transformers.ViTModel(
        config(transformers.ViTConfig, intermediate_size=4 * WIDTH), add_pooling_layer=False
    )
    encoder.load_state_dict(pretraining.vit.state_dict())
    return encoder.eval()


def clip_models():
    """Both towers, since the files hold the text's too. OpenCLIP has heads of an odd width."""
    kind = transformers.CLIPVisionConfig
    openai = config(kind, 7, hidden_act="quick_gelu", intermediate_size=4 * WIDTH)
    wider = {"hidden_size": 36, "num_attention_heads": 3, "intermediate_size": 4 * 36}
    laion = config(kind, 7, hidden_act="gelu", **wider)
    for name, activation, vision in (("clip", "quick-gelu", openai), ("openclip", "gelu", laion)):
        settings = transformers.CLIPConfig(**towers(vision), projection_dim=8)
        model, keys = transformers.CLIPModel(settings), vit("clip", activation, epsilon=1e-5)
        heads = vision.num_attention_heads
        yield Tiny(name, model, keys, attrgetter("vision_model"), heads=heads)


def towers(vision):
    return {"text_config": TEXT, "vision_config": vision.to_dict()}


def siglip():
    """As in SigLIP's So400m, the hidden layer of a block is not four times as wide as a token."""
    vision = config(transformers.SiglipVisionConfig, 7, intermediate_size=120)
    model = transformers.SiglipModel(transformers.SiglipConfig(**towers(vision)))
    keys = vit("siglip", "gelu-tanh", cls="mean")
    return Tiny("siglip", model, keys, attrgetter("vision_model"))


def biomedclip():
    """timm's ViT under open_clip's names, with some of the tensors that lie beside it."""
    sizes = {"img_size": NATIVE * 8, "patch_size": 8, "embed_dim": WIDTH, "depth": DEPTH}
    options = {"num_heads": HEADS, "num_classes": 0, "dynamic_img_size": True}
    model, visual = nn.Module(), nn.Module()
    visual.trunk = timm.create_model("vit_base_patch16_224", **sizes, **options)
    visual.head = nn.Sequential()
    visual.head.proj = nn.Linear(WIDTH, 8, bias=False)
    model.visual, model.logit_scale = visual, nn.Parameter(torch.ones(()))
    return Tiny("biomedclip", model, vit("timm", positions="timm"), attrgetter("visual.trunk"))


# Tokens.


def write(tiny):
    weights = GOLDEN / f"{tiny.weights or tiny.name}.safetensors"
    tiny.model.eval()
    vit_originals.randomise(tiny.model, zlib.crc32(weights.stem.encode()))
    if not tiny.weights:
        save_weights(tiny.model, weights)
    encoder = tiny.encoder(tiny.model)
    patch = next(m for m in encoder.modules() if isinstance(m, nn.Conv2d)).kernel_size[0]
    parameters = vit_originals.count_parameters(encoder)
    golden = {}
    for grid, images in IMAGES.items():
        golden |= golden_tokens(tiny, encoder, patch, grid * patch, images)
    save_file(golden, GOLDEN / f"{tiny.name}.golden.safetensors")
    width = golden[f"cls_1_{NATIVE * patch}"].shape[1]
    text = card(tiny, width, parameters, patch, weights)
    (GOLDEN / f"{tiny.name}.toml").write_text(text, encoding="utf-8")


def save_weights(model, path):
    """Under the names of the hub's files, which save_pretrained keeps."""
    if not isinstance(model, transformers.PreTrainedModel):
        return save_file(model.state_dict(), path)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        shutil.copyfile(Path(folder) / "model.safetensors", path)


def golden_tokens(tiny, encoder, patch, size, images):
    draw = np.random.RandomState(size)
    pixels = torch.from_numpy(draw.standard_normal((images, 3, size, size)).astype(np.float32))
    shape = {"vit": tiny.vit, "patch_size": patch, "depth": DEPTH, "layers": LAYERS}
    found = vit_originals.tokens(shape, encoder, pixels)
    names = originals.output_names(LAYERS)
    golden = {f"{name}_{size}": v.clone(memory_format=torch.contiguous_format) for name, v in zip(names, found, strict=True)}
    return golden | {f"pixels_{size}": pixels}


# Cards.


def card(tiny, width, parameters, patch, weights):
    """As those in onnx_models/."""
    keys = {
        "name": tiny.name,
        "title": "a tiny model with random weights, for tests",
        "parameters": parameters,
        "width": width,
        "depth": DEPTH,
        "heads": tiny.heads,
        "patch_size": patch,
        "native_size": NATIVE * patch,
        "image_size": NATIVE * patch,
        "layers": LAYERS,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "licence": "MIT OR Apache-2.0",
        "access": "open",
        "page": "scripts/dev/golden_models.py",
    }
    source = {"kind": "local", "file": str(weights.relative_to(wheels.ROOT))}
    source["sha256"] = wheels.sha256(weights)
    tables = (("", keys), ("\n[[source]]\n", source), ("\n[vit]\n", tiny.vit))
    return "".join(head + lines(table) for head, table in tables)


def lines(table):
    # JSON writes these values as TOML does.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


if __name__ == "__main__":
    wheels.run(main)
