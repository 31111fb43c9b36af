"""Corruptions that use the two-dimensional structure of images.

Letters: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vae_run.corruptions.base import Corruption, Count, Probability
from vae_run.errors import ConfigError


def _image_sides(option: str, shape: torch.Size) -> tuple[int, int]:
    """(H, W) of images [B, C, H, W]; ConfigError for vectors [B, F]."""
    if len(shape) != 4:
        raise ConfigError(
            f"corruption={option} needs images [C, H, W], but the data are vectors of shape "
            f"{list(shape[1:])}: use corruption=gaussian, masking or salt_and_pepper."
        )
    return shape[2], shape[3]


@dataclass(kw_only=True)
class Inpainting(Corruption):
    """`count` square blocks are set to `fill`, a pixel value (Pathak et al. 2016).

    The side of a block is the share `level` of the image's shorter side, rounded to pixels. Its
    position is uniform within the image; blocks may overlap.
    """

    tested_levels = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    level_name = "side of a block, as a share of the image's"

    level: Probability = 0.4
    count: Count = 1
    fill: float = 0.5

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        _image_sides("inpainting", shape)
        size = (shape[0], self.count, 2)
        return torch.rand(size, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        height, width = _image_sides("inpainting", x.shape)
        side = math.floor(self.level * min(height, width) + 0.5)
        covered = []
        for axis, size in enumerate((height, width)):
            start = (noise[..., axis, None] * (size - side + 1)).floor()  # [B, count, 1]
            place = torch.arange(size, device=x.device)
            covered.append((place >= start) & (place < start + side))
        rows, columns = covered
        blocks = rows[..., :, None] & columns[..., None, :]  # [B, count, H, W]
        return x.masked_fill(blocks.any(1)[:, None], self.fill)


@dataclass(kw_only=True)
class Grayscale(Corruption):
    """The share `level` of the colour is removed: x + level * (grey - x) (Zhang et al. 2016).

    grey is the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, in every channel. For images
    without three channels it is the mean over channels, so images with one are unchanged.
    """

    tested_levels = (0, 0.2, 0.4, 0.6, 0.8, 1.0)
    level_name = "share of the colour that is removed"

    level: Probability = 1.0

    def noise(self, shape: torch.Size, generator: torch.Generator) -> None:
        _image_sides("grayscale", shape)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        _image_sides("grayscale", x.shape)
        if x.shape[1] == 3:
            grey = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
        else:
            grey = x.mean(1, keepdim=True)
        return torch.lerp(x, grey.expand_as(x), self.level)


@dataclass(kw_only=True)
class Downsample(Corruption):
    """Squares of `level` x `level` pixels are replaced by their mean, as for super-resolution.

    This is average pooling followed by nearest-neighbour upsampling to the original size (Dong et
    al. 2014). Squares are aligned to the upper left corner; at the other edges the mean is over the
    pixels within the image. level = 1 is the identity.
    """

    tested_levels = (1, 2, 3, 4, 5, 6, 7, 8)
    level_name = "side of a square, in pixels"

    level: Count = 2

    def noise(self, shape: torch.Size, generator: torch.Generator) -> None:
        _image_sides("downsample", shape)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        height, width = _image_sides("downsample", x.shape)
        side = min(self.level, max(height, width))
        small = F.avg_pool2d(x, side, ceil_mode=True)[:, :, :, None, :, None]
        large = small.expand(-1, -1, -1, side, -1, side).flatten(4, 5).flatten(2, 3)
        return large[..., :height, :width]


@dataclass(kw_only=True)
class PatchShuffle(Corruption):
    """A grid of `level` x `level` patches in random order (Noroozi & Favaro 2016).

    A patch has floor(H / level) x floor(W / level) pixels; remaining rows and columns at the lower
    and right edges are unchanged. A side of fewer than `level` pixels is cut into single pixels.
    All permutations are equally likely, including the identity; level = 1 is the identity.
    """

    tested_levels = (1, 2, 3, 4, 5, 6, 7, 8)
    level_name = "patches in a row and in a column"

    level: Count = 4

    def _grid(self, shape: torch.Size) -> tuple[int, int]:
        """Patches in a column and in a row."""
        height, width = _image_sides("patch_shuffle", shape)
        return min(self.level, height), min(self.level, width)

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        size = (shape[0], math.prod(self._grid(shape)))
        return torch.rand(size, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        down, across = self._grid(x.shape)
        h, w = x.shape[2] // down, x.shape[3] // across
        core, batch, channels = x[..., : down * h, : across * w], *x.shape[:2]
        cut = core.reshape(batch, channels, down, h, across, w).permute(0, 2, 4, 1, 3, 5)
        patches = cut.reshape(batch, down * across, channels, h, w)
        order = noise.argsort(1)[:, :, None, None, None].expand(patches.shape)
        moved = patches.gather(1, order).reshape(cut.shape).permute(0, 3, 1, 4, 2, 5)
        core = moved.reshape(core.shape)
        upper = torch.cat([core, x[..., : down * h, across * w :]], 3)
        return torch.cat([upper, x[..., down * h :, :]], 2)


@dataclass(kw_only=True)
class Blur(Corruption):
    """Gaussian blur; `level` is its standard deviation in pixels, where 0 is the identity.

    The kernel is truncated at 4 standard deviations and normalised; images are padded by
    replication. It is computed as a sum of shifted images along each axis: unlike `conv2d` this
    uses full float32 precision on every device, and is independent of the batch.
    """

    tested_levels = (0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
    level_name = "standard deviation of the blur, in pixels"

    level: Annotated[float, Field(ge=0, le=100)] = 1.0

    def noise(self, shape: torch.Size, generator: torch.Generator) -> None:
        _image_sides("blur", shape)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        _image_sides("blur", x.shape)
        radius = math.floor(4 * self.level + 0.5)
        if radius == 0:
            return x
        kernel = [math.exp(-0.5 * (i / self.level) ** 2) for i in range(-radius, radius + 1)]
        weights = [weight / sum(kernel) for weight in kernel]
        for axis, padding in ((2, (0, 0, radius, radius)), (3, (radius, radius, 0, 0))):
            size, wide = x.shape[axis], F.pad(x, padding, mode="replicate")
            x = weights[0] * wide.narrow(axis, 0, size)
            for i, weight in enumerate(weights[1:], start=1):
                x = torch.add(x, wide.narrow(axis, i, size), alpha=weight)
        return x


@dataclass(kw_only=True)
class Affine(Corruption):
    """A small random rotation, zoom and shift of the whole image.

    `level` scales the maximal changes, each uniform between both signs: `degrees` of rotation,
    `shift` as a share of the side, and `zoom`: sizes are multiplied by (1 + level * zoom)^u with u
    in [-1, 1). Pixels are interpolated bilinearly; pixels from outside the image are 0.
    """

    tested_levels = (0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    level_name = "factor on rotation, zoom and shift"

    level: Annotated[float, Field(ge=0)] = 1.0
    degrees: Annotated[float, Field(ge=0)] = 15.0
    shift: Probability = 0.1
    zoom: Probability = 0.1

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        _image_sides("affine", shape)
        return torch.rand((shape[0], 4), generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        height, width = _image_sides("affine", x.shape)
        if self.level == 0:
            return x
        turn, zoom, down, right = (2 * noise - 1)[..., None, None].unbind(1)  # each [B, 1, 1]
        angle = math.radians(self.level * self.degrees) * turn
        factor = torch.exp(math.log1p(self.level * self.zoom) * zoom)
        # The source coordinates of each pixel, in pixels from the centre of the image.
        y = torch.arange(height, device=x.device)[:, None] - (height - 1) / 2
        y = y - self.level * self.shift * height * down
        column = torch.arange(width, device=x.device) - (width - 1) / 2
        column = column - self.level * self.shift * width * right
        cosine, sine = angle.cos() / factor, angle.sin() / factor
        across = (cosine * column + sine * y) * (2 / width)
        along = (cosine * y - sine * column) * (2 / height)
        grid = torch.stack([across, along], -1).to(x.dtype)
        return F.grid_sample(x, grid, align_corners=False)
