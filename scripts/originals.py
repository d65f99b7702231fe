"""The backbones of torchvision, timm and transformers that a card's table `[python]` names.

`build` makes the model and puts the weights into it; `Tokens` runs it and gives the outputs of an
export; `fix_size` computes ahead what depends on the size of the input only.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed_nhwc
from torch import nn

import names
import wheels

HINT = "hint: pass the file that the card's sources name"
# What the names of tensors on which tokens depend begin with.
BLOCKS = ("blocks.", "layer.", "layer1.", "layer2.", "layer3.", "layer4.", "features.", "norm.")
BLOCKS += ("pos_embed", "patch_embed.", "embeddings.")


@dataclass
class Original:
    """A model, and where in it the layers are."""

    model: nn.Module
    # Their results are the layers, first to last.
    taps: list[nn.Module]
    # Such a result as `[B, first + P, D]`.
    sequence: Callable[[torch.Tensor], torch.Tensor]
    first: int = 0
    # Whether what the model gives is `cls_1`, `[B, D]`.
    pooled: bool = False


def build(card, tensors):
    """The model of `card` with the weights `tensors`, by their names in the file."""
    kind = f"{card['python']['library']}/{card['python']['model']}"
    if kind not in BUILDERS:
        known = ", ".join(f"`{name}`" for name in BUILDERS)
        raise wheels.Failed(f"{card['name']}: found the model `{kind}`, expected one of {known}")
    try:
        original = BUILDERS[kind](card, dict(tensors))
    except TypeError as error:
        raise wheels.Failed(f"{card['name']}: `[python]` does not fit `{kind}`: {error}") from error
    original.model.eval()
    return original


def keywords(card):
    """What else `[python]` says, for the library."""
    return {k: v for k, v in card["python"].items() if k not in ("library", "model")}


def load(card, model, tensors):
    """Puts `tensors` into `model`; those that it has no place for, such as a classifier's, stay."""
    own = {name: values for name, values in model.state_dict().items() if name in tensors}
    refuse_shapes(card, [(name, tensors[name].shape, own[name].shape) for name in own])
    unlike = model.load_state_dict(tensors, strict=False)
    refuse_missing(card, unlike.missing_keys)
    refuse_unused(card, unlike.unexpected_keys)


def refuse_shapes(card, tensors):
    """Fails at a (name, shape found, shape expected) whose shapes differ."""
    for name, found, expected in tensors:
        if found != expected:
            shapes = f"{list(found)}, expected {list(expected)}"
            raise wheels.Failed(f"{card['name']}: tensor `{name}` is {shapes}\n{HINT}")


def refuse_missing(card, missing):
    """Fails if the weights lack a tensor in `missing` on which tokens depend."""
    missing = sorted(n for n in missing if not n.endswith(("num_batches_tracked", "mask_token")))
    if missing:
        others = f" (and {len(missing) - 1} others)" if missing[1:] else ""
        raise wheels.Failed(
            f"{card['name']}: the weights have no tensor `{missing[0]}`{others}\n{HINT}"
        )


def refuse_unused(card, unused):
    """Fails if the weights have a tensor in `unused` that is of the encoder."""
    unused = sorted(n for n in unused if n.startswith(BLOCKS) and not n.endswith("mask_token"))
    if unused:
        others = f" and {len(unused) - 1} more of their tensors" if unused[1:] else ""
        raise wheels.Failed(
            f"{card['name']}: `{unused[0]}`{others} would not be used: the card describes an "
            f"encoder without them\n{HINT}"
        )


# torchvision.


def torchvision_model(card, tensors):
    name = card["python"]["model"]
    model = torchvision.models.get_model(name, weights=None, **keywords(card))
    taps = CNNS[name](model)
    load(card, model, names.torchvision(tensors))
    return Original(model, taps, map_rows, pooled=True)


def resnet(model):
    model.fc = nn.Identity()
    return [model.layer1, model.layer2, model.layer3, model.layer4]


def densenet(model):
    """The last layer is what the pooling sees: the last block, normalised, then ReLU."""
    model.classifier = nn.Identity()
    blocks = [model.features.get_submodule(f"denseblock{k}") for k in (1, 2, 3)]
    model.features.add_module("relu5", nn.ReLU())
    return [*blocks, model.features]


def vgg(model):
    model.classifier[6] = nn.Identity()
    layers = list(model.features)
    before = [a for a, b in zip(layers, layers[1:]) if isinstance(b, nn.MaxPool2d)]
    return before[-4:]


CNNS = {"resnet152": resnet, "densenet201": densenet, "vgg19": vgg}


def map_rows(feature_map):
    """`[B, C, H, W]` as `[B, H W, C]`."""
    return feature_map.flatten(2).transpose(1, 2)


# timm.


def timm_sam(card, tensors):
    """SAM's encoder, without its neck."""
    sizes = {"img_size": card["native_size"], "depth": card["depth"]}
    model = timm.create_model(card["python"]["model"], num_classes=0, **sizes | keywords(card))
    model.neck = nn.Identity()
    load(card, model, names.sam(tensors))
    return Original(model, list(model.blocks), lambda grid: grid.flatten(1, 2))


# transformers.


def transformers_model(card, tensors):
    """DINOv3: a class token and registers, then patches; each layer through the last LayerNorm."""
    kind = getattr(transformers, card["python"]["model"])
    sizes = {
        "hidden_size": card["width"],
        "intermediate_size": 4 * card["width"],
        "num_hidden_layers": card["depth"],
        "num_attention_heads": card["heads"],
        "patch_size": card["patch_size"],
        "image_size": card["native_size"],
    }
    settings = kind.config_class(**sizes | keywords(card))
    with tempfile.TemporaryDirectory() as folder:
        settings.save_pretrained(folder)
        tensors = {name: values.contiguous() for name, values in names.dinov3(tensors).items()}
        save_file(tensors, Path(folder) / "model.safetensors", {"format": "pt"})
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        options = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        # The exporter computes shapes for PyTorch's fused attention, which a GPU leaves to the processor.
        options["attn_implementation"] = "eager"
        model, report = kind.from_pretrained(folder, **options)
    refuse_shapes(card, report["mismatched_keys"])
    refuse_missing(card, report["missing_keys"])
    refuse_unused(card, report["unexpected_keys"])
    return Original(
        model, list(model.model.layer), model.norm, first=1 + settings.num_register_tokens
    )


BUILDERS = {
    **{f"torchvision/{name}": torchvision_model for name in CNNS},
    **{f"timm/samvit_{size}_patch16": timm_sam for size in ("base", "large", "huge")},
    "transformers/DINOv3ViTModel": transformers_model,
}


# Outputs.


class Tokens(nn.Module):
    """Pixels `[B, 3, S, S]` to `cls_K` and `mean_K` `[B, D]` and `patch_K` `[B, P, D]`.

    A tuple of them for K = 1, the last layer, then of those for K = 2, up to `layers`.
    """

    def __init__(self, original, layers):
        super().__init__()
        self.model = original.model
        self.original = original
        self.layers = layers
        self.found = []
        for tap in original.taps[-layers:]:
            tap.register_forward_hook(lambda *call: self.found.append(call[2]))

    def forward(self, pixels):
        self.found.clear()
        pooled = self.model(pixels)
        outputs = []
        for layer in reversed(self.found):
            sequence = self.original.sequence(layer)
            patches = sequence[:, self.original.first :]
            mean = patch_mean(patches)
            cls = sequence[:, 0] if self.original.first else mean
            if self.original.pooled and not outputs:
                cls = pooled
            outputs += [cls, mean, patches]
        return tuple(outputs)


def patch_mean(patches):
    """`[B, P, D]` to `[B, D]`; a product, since a mean rounds differently with the threads."""
    count = patches.shape[1]
    return (torch.full((1, count), 1 / count) @ patches).squeeze(1)


def output_names(layers):
    return [f"{kind}_{k}" for k in range(1, layers + 1) for kind in ("cls", "mean", "patch")]


# What depends on the size of the input only.


def fix_size(original, size):
    """Resizes position tables as the model itself would, and keeps the result, for inputs of
    `size` pixels."""
    for name, module in list(original.model.named_modules()):
        if isinstance(module, timm.models.vision_transformer_sam.VisionTransformerSAM):
            fix_sam(module, size // module.patch_embed.patch_size[0])
        if name == "rope_embeddings":
            original.model.rope_embeddings = Constant(module(torch.zeros(1, 3, size, size)))
            original.model.embeddings = Embeddings(original.model.embeddings)


def fix_sam(model, grid):
    # While it is exported, timm resizes the table in the graph; so it is added in its stead.
    model.norm_pre = Add(resample_abs_pos_embed_nhwc(model.pos_embed, [grid, grid]))
    model.pos_embed = None
    for block in model.blocks:
        # The exporter knows no fused attention of three dimensions.
        block.attn.fused_attn = False
        if block.window_size == 0:
            for name in ("rel_pos_h", "rel_pos_w"):
                table = getattr(block.attn, name)
                setattr(block.attn, name, nn.Parameter(resize_rows(table, 2 * grid - 1)))


def resize_rows(table, rows):
    """`[R, D]` to `[rows, D]`, linearly."""
    if len(table) == rows:
        return table
    return nn.functional.interpolate(table.T[None], size=rows, mode="linear")[0].T


class Add(nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens):
        return tokens + self.table


class Embeddings(nn.Module):
    """DINOv3's: first tokens, patches. Its own repeats the first ones as often as the batch's shape says;
    these are added to zeros, so that no shape is computed."""

    def __init__(self, original):
        super().__init__()
        self.patch_embeddings = original.patch_embeddings
        first = torch.cat([original.cls_token, original.register_tokens], dim=1)
        self.first = nn.Parameter(first)

    def forward(self, pixels, **_):
        patches = self.patch_embeddings(pixels).flatten(2).transpose(1, 2)
        table = nn.functional.pad(self.first, (0, 0, 0, patches.shape[1]))
        return nn.functional.pad(patches, (0, 0, self.first.shape[1], 0)) + table


class Constant(nn.Module):
    """Gives the same tensors whatever it is asked."""

    def __init__(self, tensors):
        super().__init__()
        for index, tensor in enumerate(tensors):
            self.register_buffer(f"value{index}", tensor)

    def forward(self, *_):
        return tuple(self.buffers())
