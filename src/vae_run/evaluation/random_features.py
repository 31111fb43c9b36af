"""Features of images from a fixed network with random weights, which need no download.

Letters: B images, C channels, H x W pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_run.data.batches import seeded

WIDTHS = (32, 64, 128)
SIDE = 32
FEATURES = 64


class RandomConv(nn.Module):
    """64 numbers an image: three layers of 3x3 convolutions, rectified and averaged 2x2.

    Images are brought to 32x32 first, the last maps are projected at random. Random features serve
    to compare sets of images as well as trained ones of foreign classes (Naeem et al. 2020,
    section 4.2), and see what projections on principal components, which are linear, do not: that
    Gaussian noise with the mean and covariance of the images looks like none of them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        generator = seeded("cpu", "random convolutions")
        wide = channels
        for i, width in enumerate(WIDTHS):
            kernel = torch.randn(width, wide, 3, 3, generator=generator) * math.sqrt(2 / (9 * wide))
            self.register_buffer(f"kernel{i}", kernel)
            wide = width
        inputs = wide * (SIDE // 2 ** len(WIDTHS)) ** 2
        projection = torch.randn(inputs, FEATURES, generator=generator) / math.sqrt(inputs)
        self.register_buffer("projection", projection)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, 64] of images x [B, C, H, W] in [0, 1]."""
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        x = 2 * x - 1
        for i in range(len(WIDTHS)):
            x = F.avg_pool2d(F.relu(F.conv2d(x, self.get_buffer(f"kernel{i}"), padding=1)), 2)
        return x.flatten(1) @ self.get_buffer("projection")
