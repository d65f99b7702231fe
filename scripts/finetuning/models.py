"""Backbones with heads and decoders."""

import hashlib
import tomllib

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import torch_decoders
import vit_originals
from finetuning import scratch
from finetuning.data import weights
from finetuning.errors import Failed

# Slices by which weights and pixels are compared with the tokens of the cache.
COMPARED = 8
# Greatest root mean square of a difference from cached tokens, relative to theirs.
TOLERANCE = {"fp32": 0.01}
LOWER_PRECISION = 0.1
# Layers that the decoders take.
LAYERS = {"linear": 1, "unet": 5}


class Encoder(nn.Module):
    """A backbone as its library has it. `forward` gives the tokens of the last `layers` blocks, the last first: pairs of
    the CLS token (or the mean of the patches) `[B, D]` and the patch tokens `[B, P, D]`."""

    def __init__(self, card, model):
        super().__init__()
        self.card = card
        self.model = model
        self.layers = 1
        self.found = None
        vit = card["vit"]
        self.first = vit.get("registers", 0) + (vit["cls"] == "token")
        self.options = {}
        table = vit_originals.TABLES.get(vit["positions"])
        if vit["tensors"] == "dinov2" and table and not vit.get("registers"):
            embeddings = model.embeddings
            embeddings.interpolate_pos_encoding = lambda tokens, height, width: table(
                embeddings.position_embeddings, height // card["patch_size"]
            )
        elif vit["tensors"] in ("vit", "clip", "siglip"):
            self.options = {"interpolate_pos_encoding": True}
        norm = model.layernorm if vit["final_norm"] else None
        self.final = lambda states: states if norm is None else norm(states)
        for block in vit_originals.blocks(model, card["depth"]):
            block.register_forward_hook(self.keep)

    def keep(self, block, inputs, output):
        # Nothing is kept while activations are computed again in the backward pass.
        if self.found is not None:
            self.found.append(output[0] if isinstance(output, tuple) else output)

    def forward(self, images):
        self.found = []
        self.model(images, **self.options)
        found, self.found = self.found, None
        tokens = []
        for states in reversed(found[-self.layers :]):
            states = self.final(states)
            patches = states[:, self.first :]
            tokens.append((states[:, 0] if self.first else patches.mean(1), patches))
        return tokens


class Classifier(nn.Module):
    """A linear head on the CLS token of an encoder: logits `[B, O]`."""

    def __init__(self, encoder, outputs):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.card["width"], outputs)
        nn.init.normal_(self.head.weight, 0, 0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images):
        return self.head(self.encoder(images)[0][0])


class Segmenter(nn.Module):
    """A decoder of `probe segment` on the patch tokens of an encoder: logits `[B, C, S, S]`."""

    def __init__(self, encoder, kind, classes, side, with_norm):
        super().__init__()
        width = encoder.card["width"]
        encoder.layers = LAYERS[kind]
        self.encoder = encoder
        self.grid = side // encoder.card["patch_size"]
        self.norm = width if with_norm else None
        build = torch_decoders.Linear if kind == "linear" else torch_decoders.UNet
        self.head = build(width, classes, side)
        if kind == "linear":
            nn.init.normal_(self.head.weight, 0, 0.01)
            nn.init.zeros_(self.head.bias)

    def forward(self, images):
        return self.head(self.layers(images))

    def maps(self, images, sizes):
        """The classes `[H, W]` of each image, at these sizes."""
        layers = self.layers(images)
        parts = ([layer[at : at + 1] for layer in layers] for at in range(len(images)))
        return [self.head.at(part, size).argmax(1)[0] for part, size in zip(parts, sizes)]

    def layers(self, images):
        """Patch tokens `[B, D, h, w]` of the layers that the decoder takes, the oldest first."""
        return [self.map(patches) for _, patches in reversed(self.encoder(images))]

    def map(self, patches):
        if self.norm:
            patches = functional.layer_norm(patches, (self.norm,), eps=1e-6)
        return patches.transpose(1, 2).unflatten(2, (self.grid, self.grid))


def card_of(args, data):
    """The card of the cache's backbone."""
    name = data.meta["model"]["name"]
    path = args.models / f"{name}.toml"
    if not path.is_file():
        raise Failed(f"`{path}`: no such card", "give the folder of cards and weights as --models")
    card = tomllib.loads(path.read_text(encoding="utf-8"))
    if "vit" not in card:
        hint = "take a cache of a vision transformer; `extract models` lists them"
        raise Failed(f"`{path}`: no table `[vit]`, so it cannot be fine-tuned", hint)
    return card


def load_encoder(args, card, changed):
    """The encoder of a card with its weights, some of them `changed`."""
    path = weights(args, card["name"])
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for source in card.get("source", []):
        if source.get("file", "").endswith(path.name) and source.get("sha256", sha256) != sha256:
            hint = f"`extract export {card['name']}` gets the right ones"
            raise Failed(f"`{path}`: sha256 {sha256}, the card names {source['sha256']}", hint)
    return Encoder(card, vit_originals.load(card, path, changed)), sha256


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


def build(args, data, encoder):
    """The network that is trained."""
    classes = len(data.classes)
    if args.model:
        return scratch.NETWORKS[args.model](classes, data.side)
    if not args.decoder:
        return Classifier(encoder, 1 if data.is_single and classes == 2 else classes)
    depth = encoder.card["depth"]
    if depth < LAYERS[args.decoder]:
        raise Failed(f"`{encoder.card['name']}`: {depth} blocks, too few for a U-Net", "give --decoder linear")
    raw = not encoder.card["vit"]["final_norm"]
    with_norm = raw and args.protocol == "paper" and args.decoder == "linear"
    return Segmenter(encoder, args.decoder, classes, data.side, with_norm)
