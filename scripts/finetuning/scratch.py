"""Networks that the study trains from scratch for segmentation (table 6)."""

from functools import partial

import torch
from monai.networks.nets import BasicUNet
from timm.layers import StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed
from torch import nn
from torch.nn import functional

from finetuning.errors import Failed


class Scratch(nn.Module):
    """A network from images `[B, 3, S, S]` to logits `[B, C, S, S]`."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images)

    def maps(self, images, sizes):
        """The classes `[H, W]` of each image, at these sizes."""
        logits = self(images)
        resized = (
            functional.interpolate(one[None], size, mode="bilinear") for one, size in zip(logits, sizes)
        )
        return [one.argmax(1)[0] for one in resized]


def unet(classes, side):
    """Ronneberger et al. (2015), with batch normalisation: 31 million parameters."""
    widths = (64, 128, 256, 512, 1024, 64)
    return Scratch(BasicUNet(2, 3, classes, widths, act="relu", norm="batch", upsample="deconv"))


def transunet(classes, side):
    if side % 16:
        hint = "take a cache of another size, such as 224 or 448"
        raise Failed(f"TransUNet takes images of a multiple of 16 pixels, these have {side}", hint)
    return Scratch(TransUNet(classes, side))


class TransUNet(nn.Module):
    """Chen et al. (2021): three stages of a ResNet-50, a ViT-L over their last map, and a decoder with the maps of the
    stages: 324 million parameters."""

    def __init__(self, classes, side):
        super().__init__()
        # As in timm's hybrid vision transformers.
        stages = ResNetV2(
            layers=(3, 4, 9),
            num_classes=0,
            global_pool="",
            preact=False,
            stem_type="same",
            conv_layer=StdConv2dSame,
        )
        self.transformer = VisionTransformer(
            img_size=side,
            patch_size=1,
            embed_dim=1024,
            depth=24,
            num_heads=16,
            class_token=False,
            global_pool="",
            num_classes=0,
            proj_drop_rate=0.1,
            pos_drop_rate=0.1,
            embed_layer=partial(HybridEmbed, backbone=stages),
        )
        self.grid = side // 16
        self.wide = convolution(1024, 512)
        self.ups = nn.ModuleList([Up(512, 512, 256), Up(256, 256, 128), Up(128, 64, 64), Up(64, 0, 16)])
        self.logits = nn.Conv2d(16, classes, 3, padding=1)

    def forward(self, images):
        skips = []
        stages = self.transformer.patch_embed.backbone
        hooks = [
            module.register_forward_hook(lambda *call: skips.append(call[2]))
            for module in (stages.stem.norm, stages.stages[0], stages.stages[1])
        ]
        tokens = self.transformer.forward_features(images)
        for hook in hooks:
            hook.remove()
        x = self.wide(tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid)))
        for up, skip in zip(self.ups, [*reversed(skips), None]):
            x = up(x, skip)
        return self.logits(x)


class Up(nn.Module):
    def __init__(self, inputs, skip, outputs):
        super().__init__()
        self.first = convolution(inputs + skip, outputs)
        self.second = convolution(outputs, outputs)

    def forward(self, x, skip):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        return self.second(self.first(x if skip is None else torch.cat([x, skip], 1)))


def convolution(inputs, outputs):
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


NETWORKS = {"unet": unet, "transunet": transunet}
