#!/usr/bin/env python3
"""Compares exports with the original implementations, and prints a card's `[[reference]]`.

Each model is made by its own library (transformers, timm or torchvision), exported for two input sizes and run
by ONNX Runtime: a card with a table `[vit]` by `extract`, one with `[python]` by export_model.py. Weights are
random unless `--weights` names a file. The tokens must be those that the library gives: exits with 1 if a cosine
is below 0.99999. With `--reference`, prints tokens of the original for the card instead. Needs Python 3.11 and
the packages in requirements-models.txt.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import export_model
import numpy as np
import onnxruntime
import timm
import torch
import torchvision
import transformers
from safetensors.torch import load_file, save_file
from torchvision.models.feature_extraction import create_feature_extractor

import originals
import random_weights
import vit_originals
import wheels

EXTRACT = wheels.ROOT / "target" / "release" / "extract"
BOUND = 0.99999
IMAGES = 3
SEED = 7
# Numbers of a CLS token in a `[[reference]]`.
SHOWN = 8


def main():
    arguments = parse_arguments()
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    failed = 0
    for name in arguments.names:
        card = random_weights.read_card(name)
        if arguments.reference:
            print_reference(card, arguments)
            continue
        card["depth"] = min(card["depth"], arguments.depth or card["depth"])
        card["layers"] = min(card["layers"], card["depth"])
        model, expected = original(card, arguments.weights)
        for size in arguments.sizes or SIZES.get(name, (card["image_size"], 2 * card["image_size"])):
            failed += check(card, model, expected, size)
    sys.exit(failed > 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="models, by the names of their cards")
    parser.add_argument("--weights", type=Path, help="a .safetensors file (default: random)")
    parser.add_argument("--sizes", type=int, nargs="+", help="(default: the card's)")
    parser.add_argument("--depth", type=int, help="at most so many blocks, to save time")
    parser.add_argument(
        "--reference",
        action="store_true",
        help="print the card's `[[reference]]`, by default from the weights in onnx_models/",
    )
    return parser.parse_args()


SIZES = {"sam-l16": (512, 1024)}


def original(card, weights):
    """The original model, and a function from pixels to `[cls_K, mean_K, patch_K]` for K = 1, 2, …"""
    if "vit" not in card:
        if weights:
            raise wheels.Failed(f"{card['name']}: `--weights` and `--reference` need a table `[vit]`")
        return LIBRARIES[card["python"]["library"]](card)
    if weights:
        model = vit_originals.load(card, weights)
    else:
        model = vit_originals.build(card).eval()
        vit_originals.randomise(model, SEED)
    return model, lambda pixels: vit_originals.tokens(card, model, pixels)


def print_reference(card, arguments):
    weights = arguments.weights or random_weights.MODELS / f"{card['name']}.safetensors"
    _, expected = original(card, weights)
    for size in arguments.sizes or [card["image_size"]]:
        numbers = expected(pattern(size))[0][0, :SHOWN].tolist()
        print(f"[[reference]]\nimage_size = {size}")
        print(f"cls_1 = [{', '.join(f'{number:.5f}' for number in numbers)}]")


def pattern(size):
    """`sin(0.7 c + 0.05 y + 0.03 x)`, `[1, 3, size, size]`."""
    channel, y, x = np.mgrid[:3, :size, :size]
    return torch.tensor(np.sin(0.7 * channel + 0.05 * y + 0.03 * x).astype(np.float32))[None]


def check(card, model, expected, size):
    """Whether the export for `size` fails; prints how near it is."""
    draw = torch.Generator().manual_seed(SEED + size)
    pixels = torch.randn(IMAGES, 3, size, size, generator=draw)
    found = exported(card, model, size, pixels.numpy())
    cosines, errors = [], []
    for name, want in zip(originals.output_names(card["layers"]), expected(pixels), strict=True):
        cosines.append(lowest_cosine(found[name], want.numpy()))
        errors.append(relative_error(found[name], want.numpy()))
    bad = not min(cosines) >= BOUND
    print(
        f"{card['name']}@{size}, {card['depth']} layers deep: lowest cosine {min(cosines):.9f}, "
        f"relative RMS {max(errors):.1e}{', FAILED' if bad else ''}",
        flush=True,
    )
    return bad


def exported(card, model, size, pixels):
    """The outputs of the export, by name; image by image, and the first two in one batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        if "vit" in card:
            path = by_extract(card, model, size, Path(folder))
        else:
            tensors = weights_of(model)
            graph = export_model.export(card, originals.build(card, tensors), size, {})
            # A GPU would leave what is computed from shapes to the CPU.
            if shapes := [node.name for node in graph.graph if node.op_type in ("Shape", "Size")]:
                raise wheels.Failed(f"{card['name']}: shapes are computed by {', '.join(shapes)}")
            export_model.write(graph, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        batches = [session.run(names, {"pixels": part}) for part in (pixels[:2], pixels[2:])]
    return {name: np.concatenate(parts) for name, *parts in zip(names, *batches)}


def by_extract(card, model, size, folder):
    """The graph that `extract` builds for the card, without sources and references, over the model's weights."""
    models = folder / "onnx_models"
    models.mkdir()
    parameters = vit_originals.count_parameters(model)
    keys = {name: value for name, value in card.items() if not isinstance(value, (dict, list))}
    keys |= {"mean": card["mean"], "std": card["std"], "parameters": parameters}
    text = toml(keys) + "\n[vit]\n" + toml(card["vit"])
    (models / f"{card['name']}.toml").write_text(text, encoding="utf-8")
    weights = folder / "weights.safetensors"
    tensors = weights_of(model).items()
    save_file({name: values.contiguous() for name, values in tensors}, weights)
    command = [EXTRACT, "export", card["name"], "--image-size", str(size), "--weights", weights]
    environment = os.environ | {"SLICEBANK_HOME": str(folder)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise wheels.Failed(done.stderr.strip().removeprefix("error: "))
    return models / f"{card['name']}@{size}.onnx"


def toml(keys):
    # JSON writes these values as TOML does.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def lowest_cosine(found, want):
    found, want = (rows(array) for array in (found, want))
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(want, axis=1)
    return ((found * want).sum(axis=1) / lengths).min()


def relative_error(found, want):
    found, want = (rows(array) for array in (found, want))
    return np.sqrt(((found - want) ** 2).mean() / (want**2).mean())


def rows(array):
    return array.astype(np.float64).reshape(-1, array.shape[-1])


# The originals: a model, and a function from pixels to what its export is to give.


def weights_of(model):
    """The tensors under the names that a file has."""
    if not isinstance(model, transformers.PreTrainedModel):
        return {name: values.clone() for name, values in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")


def randomise(model):
    """Values unlike those that libraries begin with, where ones and zeros would hide mistakes."""
    draw = torch.Generator().manual_seed(SEED)
    for name, values in sorted(model.state_dict().items()):
        noise = torch.randn(values.shape, generator=draw)
        if name.endswith(("running_var", "norm1.weight", "norm2.weight", "lambda1")):
            values.copy_(1 + 0.2 * noise.clamp(-3, 3))
        elif name.endswith(("bias", "running_mean")) or "pos" in name or "token" in name:
            values.copy_(0.1 * noise)
    return model.eval()


def torchvision_original(card):
    name = card["python"]["model"]
    model = randomise(torchvision.models.get_model(name, weights=None))
    layers, pooled = TAPS[name]
    extractor = create_feature_extractor(model, {node: node for node in [*layers, pooled]})

    def expected(pixels):
        found = extractor(pixels)
        outputs = []
        for node in reversed(layers):
            grid = found[node]
            mean = grid.mean(dim=(2, 3))
            outputs += [mean, mean, grid.permute(0, 2, 3, 1).flatten(1, 2)]
        outputs[0] = found[pooled]
        return outputs

    return model, expected


# The nodes of torchvision's graphs: the last four layers, and the vector before the classifier.
TAPS = {
    "resnet152": (["layer1", "layer2", "layer3", "layer4"], "flatten"),
    "densenet201": ([f"features.denseblock{k}.cat" for k in (1, 2, 3)] + ["relu"], "flatten"),
    "vgg19": (["features.8", "features.17", "features.26", "features.35"], "classifier.4"),
}


def timm_original(card):
    sizes = {"img_size": card["native_size"], "depth": card["depth"]}
    model = randomise(timm.create_model(card["python"]["model"], num_classes=0, **sizes))

    def expected(pixels):
        grids = model.forward_intermediates(pixels, indices=card["layers"], intermediates_only=True)
        outputs = []
        for grid in reversed(grids):
            patches = grid.flatten(2).transpose(1, 2)
            outputs += [patches.mean(dim=1), patches.mean(dim=1), patches]
        return outputs

    return model, expected


def transformers_original(card):
    settings = transformers.DINOv3ViTConfig(
        hidden_size=card["width"],
        intermediate_size=4 * card["width"],
        num_hidden_layers=card["depth"],
        num_attention_heads=card["heads"],
        num_register_tokens=4,
    )
    model = randomise(transformers.DINOv3ViTModel(settings))

    def expected(pixels):
        states = model(pixels, output_hidden_states=True).hidden_states
        outputs = []
        for state in reversed(states[-card["layers"] :]):
            tokens = model.norm(state)
            outputs += [tokens[:, 0], tokens[:, 5:].mean(dim=1), tokens[:, 5:]]
        return outputs

    return model, expected


LIBRARIES = {
    "torchvision": torchvision_original,
    "timm": timm_original,
    "transformers": transformers_original,
}


if __name__ == "__main__":
    wheels.run(main)
