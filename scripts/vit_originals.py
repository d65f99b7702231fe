"""The encoders of transformers and timm that cards with a table `[vit]` describe, and their tokens.

There is one class for each naming scheme of tensors (the key `tensors`). The position table is resized as the
card's `positions` says. Used by finetuning, golden_models.py and check_models.py.
"""

import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from torch import nn

import wheels

# Width of the MLP's hidden layer, where it is not four times that of a token.
HIDDEN = {"siglip2-so400m14": 4304, "medsiglip": 4304}
# Of the residual stream: so small that the epsilon of a LayerNorm shows in the tokens.
SMALL = 0.03
STREAM = ("embed", "pre_layrnorm", "o_proj", "out_proj", "attn.proj", "fc2", "down_proj")
ACTIVATIONS = {"gelu": "gelu", "gelu-tanh": "gelu_pytorch_tanh", "quick-gelu": "quick_gelu"}
# Parameters that tokens do not depend on.
UNUSED = ("mask_token", "pooler", "head.")


def build(card):
    """The encoder of a card, with the parameters that its library begins with."""
    vit, width = card["vit"], card["width"]
    if vit["tensors"] == "timm":
        sizes = {"img_size": card["native_size"], "patch_size": card["patch_size"]}
        sizes |= {"embed_dim": width, "depth": card["depth"], "num_heads": card["heads"]}
        return timm.create_model(
            "vit_base_patch16_224", num_classes=0, dynamic_img_size=True, **sizes
        )
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": card["depth"],
        "num_attention_heads": card["heads"],
        "image_size": card["native_size"],
        "patch_size": card["patch_size"],
    }
    if vit["tensors"] == "dinov2":
        sizes["use_swiglu_ffn"] = vit["activation"] == "swiglu"
        if registers := vit.get("registers"):
            sizes["num_register_tokens"] = registers
    else:
        sizes["intermediate_size"] = HIDDEN.get(card["name"], 4 * width)
        sizes["hidden_act"] = ACTIVATIONS[vit["activation"]]
        sizes["layer_norm_eps"] = vit["epsilon"]
    kind = kind_of(vit)
    return kind(kind.config_class(**sizes), **OPTIONS.get(vit["tensors"], {}))


def kind_of(vit):
    """The class of transformers for the table `[vit]`."""
    if vit["tensors"] == "dinov2" and vit.get("registers"):
        return transformers.Dinov2WithRegistersModel
    return {
        "dinov2": transformers.Dinov2Model,
        "vit": transformers.ViTModel,
        "clip": transformers.CLIPVisionModel,
        "siglip": transformers.SiglipVisionModel,
    }[vit["tensors"]]


OPTIONS = {"vit": {"add_pooling_layer": False}}


def load(card, path, changed=None):
    """The encoder of a card with the weights in a safetensors file, which may hold other models too. Tensors in `changed`
    take the place of those of their name."""
    tensors = load_file(path) | (changed or {})
    if card["vit"]["tensors"] == "timm":
        model = build(card)
        landmark = "patch_embed.proj.weight"
        prefix = next(name for name in tensors if name.endswith(landmark))[: -len(landmark)]
        own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        refuse_missing(path, model.load_state_dict(own, strict=False).missing_keys)
        return model.eval()
    kind, options = kind_of(card["vit"]), OPTIONS.get(card["vit"]["tensors"], {})
    with tempfile.TemporaryDirectory() as folder:
        # Only a folder is read with the names that the hub's files have.
        save_file(tensors, Path(folder) / "model.safetensors", {"format": "pt"})
        build(card).config.save_pretrained(folder)
        model, report = kind.from_pretrained(folder, output_loading_info=True, **options)
    refuse_missing(path, report["missing_keys"])
    return model.eval()


def refuse_missing(path, names):
    names = sorted(name for name in names if not any(part in name for part in UNUSED))
    if names:
        raise wheels.Failed(f"{path}: there is no tensor for `{names[0]}`")


# Random parameters.


def randomise(model, seed):
    """Sets seeded random parameters, none of them neutral."""
    draw = np.random.RandomState(seed)
    for name, parameter in sorted(model.named_parameters()):
        values = random_values(draw, name, tuple(parameter.shape))
        parameter.copy_(torch.from_numpy(np.asarray(values)))


def random_values(draw, name, shape):
    """Gains about 1, matrices that keep the size of what they multiply, and rough tables."""
    values = draw.standard_normal(shape)
    size = SMALL if any(part in name for part in STREAM) else 1
    if len(shape) == 1 and name.endswith(("weight", "lambda1")):
        return size * (1 + 0.2 * values)
    if name.endswith("bias"):
        return size * 0.2 * values
    table = "token" in name or "pos" in name or name.endswith("class_embedding")
    return SMALL * values if table else size * values / np.sqrt(np.prod(shape[1:]))


def count_parameters(encoder):
    """The number of parameters that tokens depend on, and of the last LayerNorm."""
    named = encoder.named_parameters()
    return sum(
        values.numel()
        for name, values in named
        if not name.removeprefix("vision_model.").removeprefix("embeddings.").startswith(UNUSED)
    )


# Position tables, `[1, 1 + native², D]` to `[1, 1 + grid², D]`.


def hub_positions(table, grid):
    """As torch.hub's DINOv2: by a scale factor, as though the grid were larger by 0.1."""
    native = round((table.shape[1] - 1) ** 0.5)
    if grid == native:
        return table
    factor = (grid + 0.1) / native
    patches = table[:, 1:].reshape(1, native, native, -1).permute(0, 3, 1, 2)
    patches = nn.functional.interpolate(patches, scale_factor=(factor, factor), mode="bicubic")
    assert patches.shape[-2:] == (grid, grid)
    return torch.cat([table[:, :1], patches.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def timm_positions(table, grid):
    return resample_abs_pos_embed(table, [grid, grid], num_prefix_tokens=1)


TABLES = {"hub": hub_positions, "timm": timm_positions}


# Tokens.


def tokens(card, encoder, pixels):
    """`[cls_K, mean_K, patch_K]` of the last blocks, K = 1 (the last) first, for `pixels` `[B, 3, S, S]`."""
    vit = card["vit"]
    first = vit.get("registers", 0) + (vit["cls"] == "token")
    found = []
    for states in reversed(run_blocks(card, encoder, pixels)[-card["layers"] :]):
        states = encoder.layernorm(states) if vit["final_norm"] else states
        patches = states[:, first:]
        mean = patches.mean(dim=1)
        found += [states[:, 0] if first else mean, mean, patches]
    return found


def run_blocks(card, encoder, pixels):
    """The results of the blocks, `[B, N, D]`, the first block first."""
    vit, found = card["vit"], []
    hooks = [
        block.register_forward_hook(lambda *call: found.append(call[2]))
        for block in blocks(encoder, card["depth"])
    ]
    # Transformers resizes as its own models do; with registers, that is as timm does.
    table = TABLES.get(vit["positions"])
    if vit["tensors"] == "dinov2" and table and not vit.get("registers"):
        native = encoder.embeddings.position_embeddings
        grid = pixels.shape[-1] // card["patch_size"]
        encoder.embeddings.position_embeddings = nn.Parameter(table(native.detach(), grid))
        encoder(pixels)
        encoder.embeddings.position_embeddings = native
    else:
        resized = vit["tensors"] in ("vit", "clip", "siglip")
        encoder(pixels, **{"interpolate_pos_encoding": True} if resized else {})
    for hook in hooks:
        hook.remove()
    return [states[0] if isinstance(states, tuple) else states for states in found]


def blocks(encoder, depth):
    lists = (nn.ModuleList, nn.Sequential)
    return next(m for m in encoder.modules() if isinstance(m, lists) and len(m) == depth)
