"""Convolutional networks: a pyramid of strided convolutions, with or without residual blocks.

Letters: N items, C channels, H and W height and width, k parameters per pixel that a likelihood
asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vae_run.errors import ConfigError
from vae_run.models.networks.base import Decoder, Encoder, Widths
from vae_run.models.networks.initialisation import SMALL
from vae_run.models.networks.skip import Pyramid


class MapDecoder(Decoder):
    """A decoder whose features are maps [N, channels, H, W]."""

    def __init__(self, *layers: nn.Module, channels: int, event_shape: tuple[int, ...]) -> None:
        super().__init__(*layers)
        self._channels, self._event_shape = channels, event_shape

    def projection(self, k: int) -> nn.Module:
        out = nn.Conv2d(self._channels, k * self._event_shape[0], kernel_size=3, padding=1)
        return nn.Sequential(out, nn.Unflatten(1, (k, self._event_shape[0])))


class CodeMaps(nn.Module):
    """z [N, D + P] -> maps [N, C + P, h, w]: D = C h w, and P further entries at every place."""

    def __init__(self, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = latent_shape

    def forward(self, z: Tensor) -> Tensor:
        size = math.prod(self._shape)
        maps = z[:, :size].reshape(-1, *self._shape)
        if z.shape[1] == size:
            return maps
        further = z[:, size:, None, None].expand(-1, -1, *self._shape[1:])
        return torch.cat([maps, further], 1)


@dataclass(kw_only=True)
class Conv(Pyramid):
    """3x3 convolutions of stride 2, to ceil(H/2), ceil(H/4), ..., and transposed ones back.

    `widths` are the channels of each level. All H, W >= 1 are supported; odd sizes are restored
    exactly. `norm="group"` normalises after each convolution (`group_norm`). With a code of maps
    [C, h, w] the levels that follow maps of h x w keep that size. With `skip` each level of the
    decoder sees the encoder's maps of its size (`skip.Pyramid`).
    """

    takes_maps: ClassVar[bool] = True

    widths: Widths = field(default_factory=lambda: [32, 64, 128])
    norm: Literal["none", "group"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or not self.upward:
            raise ConfigError("network.widths: a conv network needs at least one level, found [].")

    def level(self, channels: int, size: tuple[int, int]) -> list[nn.Module]:
        """The layers after the strided convolution of a level: maps of `channels` and `size`."""
        return [*self.normalised(channels, size), self._activation()]

    def normalised(self, channels: int, size: tuple[int, int]) -> list[nn.Module]:
        """The normalisation of maps of `channels` and `size`: one layer or none."""
        return [group_norm(channels, size)] if self.norm == "group" else []

    @staticmethod
    def _sizes(
        event_shape: tuple[int, ...], levels: int, latent_shape: tuple[int, ...]
    ) -> list[tuple[int, int]]:
        """(H, W) at each level, starting with the image itself."""
        if len(event_shape) != 3:
            raise ConfigError(
                f"network=conv needs images [C, H, W], but the data are vectors of shape "
                f"{list(event_shape)}: use network=mlp, or conv1d for curves over time."
            )
        sizes = [(event_shape[1], event_shape[2])]
        for _ in range(levels):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        if len(latent_shape) == 1:
            return sizes
        reached = sizes[1:]
        if latent_shape[1:] not in reached:
            raise ConfigError(
                f"latent_shape: found maps of {latent_shape[1]} x {latent_shape[2]}, but "
                f"{levels} levels of network.widths have maps of "
                f"{', '.join(f'{h} x {w}' for h, w in reached)}. Choose one of them, or give "
                "another number of network.widths."
            )
        place = sizes.index((latent_shape[1], latent_shape[2]), 1)
        return [*sizes[:place], *[sizes[place]] * (len(sizes) - place)]

    def encoder(
        self, event_shape: tuple[int, ...], latent_shape: tuple[int, ...] = (1,)
    ) -> Encoder:
        sizes = self._sizes(event_shape, len(self.widths), latent_shape)
        height, width = sizes[-1]
        layers: list[nn.Module] = []
        channels = event_shape[0]
        for out, (large, small) in zip(self.widths, pairwise(sizes), strict=True):
            stride = 1 if len(latent_shape) > 1 and small == large else 2
            down = self.hidden(nn.Conv2d(channels, out, 3, stride=stride, padding=1))
            layers += [*self.keeping(), down, *self.level(out, small)]
            channels = out
        maps = (channels, height, width)
        return Encoder(*layers, nn.Flatten(), features=math.prod(maps), maps=maps)

    def first_layers(
        self, latent_dim: int, latent_shape: tuple[int, ...], maps: tuple[int, int, int]
    ) -> list[nn.Module]:
        """The decoder's layers from codes [N, latent_dim] to `maps`."""
        if len(latent_shape) > 1:
            channels = latent_shape[0] + latent_dim - math.prod(latent_shape)
            convolution = self.hidden(nn.Conv2d(channels, maps[0], 3, padding=1))
            return [CodeMaps(latent_shape), convolution]
        linear = self.hidden(nn.Linear(latent_dim, math.prod(maps)))
        return [linear, nn.Unflatten(1, maps)]

    def decoder(
        self,
        latent_dim: int,
        event_shape: tuple[int, ...],
        latent_shape: tuple[int, ...] = (1,),
    ) -> Decoder:
        widths = self.upward
        sizes = self._sizes(event_shape, len(widths), latent_shape)
        layers = self.first_layers(latent_dim, latent_shape, (widths[0], *sizes[-1]))
        layers.append(self._activation())
        for level, (channels, out) in enumerate(
            zip(widths, [*widths[1:], widths[-1]], strict=True)
        ):
            small, large = sizes[len(widths) - level], sizes[len(widths) - level - 1]
            if len(latent_shape) > 1 and small == large:
                layers += [
                    self.hidden(nn.Conv2d(channels, out, 3, padding=1)),
                    *self.level(out, large),
                ]
                continue
            # A stride-2 transposed convolution gives 2h - 1; the padding restores an even size.
            padding = (large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1))
            up = nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=padding)
            merging = self.merging(nn.Conv2d, len(widths) - level - 1, out, event_shape[0], 3)
            layers += [self.hidden(up), *merging, *self.level(out, large)]
        return MapDecoder(*layers, channels=widths[-1], event_shape=event_shape)


def group_norm(channels: int, size: tuple[int, int]) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018) of maps [N, channels, H, W] with H, W = `size`.

    As many groups as possible, at most 32, of at least 16 values each: a group of few values has
    little left that tells one image from another once its mean and variance are gone.
    """
    pixels = size[0] * size[1]
    groups = [g for g in range(1, 33) if channels % g == 0 and channels // g * pixels >= 16]
    return nn.GroupNorm(max(groups, default=1), channels)


class Residual(nn.Module):
    """x + f(x) with two 3x3 convolutions f, initially small (He et al. 2016, pre-activation).

    The blocks of a deep network then begin as identities (Zhang et al. 2019, "Fixup").
    """

    def __init__(self, network: ResNet, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        second = network.hidden(nn.Conv2d(channels, channels, 3, padding=1), size=SMALL)
        if not network.by_activation:
            with torch.no_grad():
                second.weight *= SMALL
        first = network.hidden(nn.Conv2d(channels, channels, 3, padding=1))
        layers: list[nn.Module] = []
        for convolution in (first, second):
            layers += [*network.normalised(channels, size), network._activation(), convolution]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.body(x)
        return x + change


@dataclass(kw_only=True)
class ResNet(Conv):
    """`Conv` with `blocks` residual blocks at each level of encoder and decoder."""

    blocks: Annotated[int, Field(ge=1)] = 2

    def level(self, channels: int, size: tuple[int, int]) -> list[nn.Module]:
        residual = [Residual(self, channels, size) for _ in range(self.blocks)]
        return [*residual, *self.normalised(channels, size), self._activation()]
