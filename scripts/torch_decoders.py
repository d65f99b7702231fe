"""The decoders of `probe segment` in PyTorch; `forward` gives logits `[B, C, S, S]`.

`layers` are the tokens of the blocks that a decoder takes, `[B, D, h, w]` each, the oldest first.
"""

import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision


class Block(nn.Module):
    def __init__(self, width, inputs, outputs):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, 2)
        self.skip = nn.Sequential(
            nn.Conv2d(width, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
        )
        self.merge = nn.Sequential(
            nn.Conv2d(2 * outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x, skip):
        x = self.up(x)
        resize = nn.Upsample(x.shape[-2:], mode="bilinear", align_corners=True)
        return self.merge(torch.cat([x, resize(self.skip(skip))], 1))


class UNet(nn.Module):
    def __init__(self, width, classes, size):
        super().__init__()
        self.size = size
        self.up1 = Block(width, width, width // 2)
        self.up2 = Block(width, width // 2, width // 4)
        self.up3 = Block(width, width // 4, width // 8)
        self.up4 = Block(width, width // 8, classes)

    def forward(self, layers):
        x = self.up1(layers[4], layers[3])
        x = self.up2(x, layers[2])
        x = self.up3(x, layers[1])
        x = self.up4(x, layers[0])
        return vision.resize(x, [self.size] * 2, InterpolationMode.BICUBIC, antialias=False)

    def at(self, layers, size):
        """Logits at another size."""
        return functional.interpolate(self(layers), size, mode="bilinear")


class Linear(nn.Conv2d):
    def __init__(self, width, classes, size):
        super().__init__(width, classes, 1)
        self.size = size

    def forward(self, layers):
        return self.at(layers, (self.size, self.size))

    def at(self, layers, size):
        return functional.interpolate(super().forward(layers[0]), size, mode="bilinear")
