"""Backbones as their libraries have them, with the weights of `extract export`."""

import functools
import hashlib
import tomllib

import convert_weights
import numpy as np
import torch
from torch import nn

import originals
import vit_originals
from finetuning.data import weights
from finetuning.errors import Failed
from finetuning.options import is_cnn

# Slices by which weights and pixels are compared with the tokens of the cache.
COMPARED = 8
# Greatest root mean square of a difference from cached tokens, relative to theirs.
TOLERANCE = {"fp32": 0.01}
LOWER_PRECISION = 0.1


class Encoder(nn.Module):
    """A backbone. `forward` gives the tokens of the last `layers` layers, the last first: pairs of the CLS token (or what
    stands for it) `[B, D]` and the patch tokens `[B, P, D]`."""

    def __init__(self, card, original):
        super().__init__()
        self.card = card
        self.model = original.model
        self.original = original
        self.layers = 1
        self.found = None
        for tap in original.taps:
            tap.register_forward_hook(self.keep)

    def keep(self, tap, inputs, output):
        # Nothing is kept while activations are computed again in the backward pass.
        if self.found is None:
            return None
        self.found.append(output)
        # Torchvision's networks may go on in place.
        return output.clone() if self.original.pooled else None

    def forward(self, images):
        self.found = []
        pooled = self.model(images)
        found, self.found = self.found, None
        tokens = []
        for layer in reversed(found[-self.layers :]):
            sequence = self.original.sequence(layer)
            patches = sequence[:, self.original.first :]
            cls = sequence[:, 0] if self.original.first else patches.mean(1)
            tokens.append((pooled if self.original.pooled and not tokens else cls, patches))
        return tokens

    def save_memory(self):
        """Lets the blocks compute activations again in the backward pass."""
        if hasattr(self.model, "gradient_checkpointing_enable"):
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            self.model.set_grad_checkpointing(True)


def card_of(args, data):
    """The card of the cache's backbone. Options that a CNN has no use for are refused."""
    name = data.meta["model"]["name"]
    path = args.models / f"{name}.toml"
    if not path.is_file():
        raise Failed(f"`{path}`: no such card", "give the folder of cards and weights as --models")
    card = tomllib.loads(path.read_text(encoding="utf-8"))
    if "vit" not in card and "python" not in card:
        hint = "take a cache of another model; `extract models` lists them"
        raise Failed(f"`{path}`: no table `[vit]` or `[python]`, so it cannot be fine-tuned", hint)
    if not is_cnn(card):
        return card
    if args.method == "lora":
        hint = "give --method full, bitfit or head-only"
        raise Failed(f"`{name}`: a CNN, which has no layers for low-rank adapters", hint)
    if args.decoder == "unet":
        hint = "give --decoder linear"
        raise Failed(f"`{name}`: a CNN, whose layers differ in width and grid; a U-Net needs equal ones", hint)
    if args.save_memory:
        hint = "leave it out, and give a smaller --batch-size"
        raise Failed(f"`{name}`: a CNN, for which there is no --save-memory", hint)
    if data.side < 2 * card["patch_size"]:
        hint = f"take a cache of at least {2 * card['patch_size']} pixels"
        raise Failed(f"`{data.path}`: {data.side} pixels, of which the last map of `{name}` is a single point", hint)
    return card


def load_encoder(args, card, changed):
    """The encoder of a card with its weights, some of them `changed`, and the sha256 of their file."""
    path = weights(args, card["name"])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for source in card.get("source", []):
        if source.get("file", "").endswith(path.name) and source.get("sha256", sha256) != sha256:
            hint = f"`extract export {card['name']}` gets the right ones"
            raise Failed(f"`{path}`: sha256 {sha256}, the card names {source['sha256']}", hint)
    if "vit" in card:
        original = of_vit(card, vit_originals.load(card, path, changed))
    else:
        original = originals.build(card, convert_weights.read(path) | changed)
    return Encoder(card, original), sha256


def of_vit(card, model):
    """Where in a model that a table `[vit]` describes the layers are."""
    vit = card["vit"]
    table = vit_originals.TABLES.get(vit["positions"])
    if vit["tensors"] == "dinov2" and table and not vit.get("registers"):
        embeddings = model.embeddings
        embeddings.interpolate_pos_encoding = lambda tokens, height, width: table(
            embeddings.position_embeddings, height // card["patch_size"]
        )
    elif vit["tensors"] in ("vit", "clip", "siglip"):
        model.forward = functools.partial(model.forward, interpolate_pos_encoding=True)

    def sequence(output):
        states = output[0] if isinstance(output, tuple) else output
        return model.layernorm(states) if vit["final_norm"] else states

    first = vit.get("registers", 0) + (vit["cls"] == "token")
    return originals.Original(model, list(vit_originals.blocks(model, card["depth"])), sequence, first)


def check_tokens(data, array, encoder, path):
    """Compares tokens with those of the cache, before anything is trained."""
    rows = np.unique(np.linspace(0, len(array) - 1, COMPARED).astype(int))
    device = next(encoder.parameters()).device
    encoder.eval()
    with torch.no_grad():
        images = torch.from_numpy(np.array(array[rows])).to(device)
        found = encoder(images)[0][0].float().cpu().numpy()
    cached = data.cache.tokens("cls")[rows].astype(np.float32)
    difference = float(np.sqrt(((found - cached) ** 2).mean() / (cached**2).mean()))
    if not difference <= TOLERANCE.get(data.meta["precision"], LOWER_PRECISION):
        raise Failed(
            f"`{path}`: CLS tokens differ from those of `{data.path}` by {difference:.2g} of their size: these are other "
            "weights, or pixels of other images",
            "take the weights of the extraction (--models), and make --pixels again",
        )
    return difference
