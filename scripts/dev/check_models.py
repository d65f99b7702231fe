#!/usr/bin/env python3
"""Compares exports of export_model.py with the original implementations, on random weights.

Every model of the cards with a table `[python]` is made at its full size by its own library,
exported for two sizes of input, and run by ONNX Runtime; the tokens that are expected come from the
library's own way of giving them. Ends with exit code 1 if a token's cosine is below 0.99999. Needs
Python 3.11 and the packages in requirements-models.txt.
"""

import argparse
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
from safetensors.torch import load_file
from torchvision.models.feature_extraction import create_feature_extractor

import originals
import wheels

MODELS = wheels.ROOT / "onnx_models"
BOUND = 0.99999
IMAGES = 3
SEED = 7


def main():
    arguments = parse_arguments()
    torch.set_grad_enabled(False)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    failed = 0
    for name in arguments.names or python_cards():
        card = export_model.read_card(MODELS / f"{name}.toml")
        card["depth"] = min(card["depth"], arguments.depth or card["depth"])
        model, expected = LIBRARIES[card["python"]["library"]](card)
        for size in arguments.sizes or SIZES.get(name, (224, 448)):
            failed += check(card, model, expected, size)
    sys.exit(failed > 0)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models (default: all with a table [python])")
    parser.add_argument("--sizes", type=int, nargs="+", help="(default: 224 448; SAM: 512 1024)")
    parser.add_argument("--depth", type=int, help="at most so many blocks, to save time")
    return parser.parse_args()


SIZES = {"sam-l16": (512, 1024)}


def python_cards():
    paths = sorted(MODELS.glob("*.toml"))
    return [path.stem for path in paths if "[python]" in path.read_text(encoding="utf-8")]


def check(card, model, expected, size):
    """Whether the export for `size` fails; prints how near it is."""
    draw = torch.Generator().manual_seed(SEED + size)
    pixels = torch.randn(IMAGES, 3, size, size, generator=draw)
    found = exported(card, weights_of(model), size, pixels.numpy())
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


def exported(card, tensors, size, pixels):
    """What the export gives, by name; image by image, and the first two in one batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        original = originals.build(card, tensors)
        model = export_model.export(card, original, size, {})
        # A GPU would leave what is computed from shapes to the processor.
        if shapes := [node.name for node in model.graph if node.op_type in ("Shape", "Size")]:
            raise wheels.Failed(f"{card['name']}: shapes are computed by {', '.join(shapes)}")
        export_model.write(model, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        batches = [session.run(names, {"pixels": part}) for part in (pixels[:2], pixels[2:])]
    return {name: np.concatenate(parts) for name, *parts in zip(names, *batches)}


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
