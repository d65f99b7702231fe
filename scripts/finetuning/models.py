"""Backbones with heads and decoders."""

from torch import nn
from torch.nn import functional

import torch_decoders
from finetuning import scratch
from finetuning.errors import Failed

# Layers that the decoders take.
LAYERS = {"linear": 1, "unet": 5}


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

    def __init__(self, encoder, kind, width, classes, side, with_norm):
        super().__init__()
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
    raw = not encoder.card.get("vit", {}).get("final_norm", True)
    with_norm = raw and args.protocol == "paper" and args.decoder == "linear"
    return Segmenter(encoder, args.decoder, data.width, classes, data.side, with_norm)
