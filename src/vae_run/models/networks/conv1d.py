"""Convolutional networks for windows of curves over time.

Letters: N items, C channels, L steps of time, E event shape, Y classes, k parameters per value that
a likelihood asks for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vae_run.errors import ConfigError
from vae_run.models.networks.base import Decoder, Encoder, Widths
from vae_run.models.networks.skip import Pyramid


class CurveDecoder(Decoder):
    """A decoder whose features are curves [N, channels, L]."""

    def __init__(self, *layers: nn.Module, channels: int, event_shape: tuple[int, ...]) -> None:
        super().__init__(*layers)
        self._channels, self._event_shape = channels, event_shape

    def projection(self, k: int) -> nn.Module:
        *leading, _ = self._event_shape
        out = nn.Conv1d(self._channels, k * math.prod(leading), kernel_size=3, padding=1)
        return nn.Sequential(out, nn.Unflatten(1, (k, *leading)))


class Curves(nn.Module):
    """x [N, *E] as curves [N, C, L] over the last axis of E; a vector is one curve."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) if x.dim() == 2 else x.flatten(1, -2)


@dataclass(kw_only=True)
class Conv1d(Pyramid):
    """Convolutions of stride 2 over time, to ceil(L/2), ceil(L/4), ..., and transposed ones back.

    `widths` are the channels of each level, `kernel` the steps that a convolution spans, an odd
    number. All L >= 1 are supported; odd lengths are restored exactly. Time is the last axis of the
    data: a vector is one curve, and the rows of an image are curves.
    """

    widths: Widths = field(default_factory=lambda: [32, 64, 128])
    kernel: Annotated[int, Field(ge=3)] = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or not self.upward:
            raise ConfigError(
                "network.widths: a conv1d network needs at least one level, found []."
            )
        if self.kernel % 2 == 0:
            raise ConfigError(f"network.kernel: found {self.kernel}, expected an odd number.")

    @staticmethod
    def join(x: Tensor, label: Tensor) -> Tensor:
        """The curves and, for each class, a constant one, [N, C + Y, L]."""
        curves = Curves()(x)
        return torch.cat([curves, label[:, :, None].expand(-1, -1, curves.shape[2])], 1)

    @staticmethod
    def _lengths(event_shape: tuple[int, ...], levels: int) -> list[int]:
        """L at each level, starting with the window itself."""
        lengths = [event_shape[-1]]
        for _ in range(levels):
            lengths.append((lengths[-1] + 1) // 2)
        return lengths

    def encoder(self, event_shape: tuple[int, ...]) -> Encoder:
        length = self._lengths(event_shape, len(self.widths))[-1]
        layers: list[nn.Module] = [Curves()]
        channels, padding = math.prod(event_shape[:-1]), self.kernel // 2
        for out in self.widths:
            layers += [
                *self.keeping(),
                self.hidden(nn.Conv1d(channels, out, self.kernel, stride=2, padding=padding)),
                self._activation(),
            ]
            channels = out
        return Encoder(*layers, nn.Flatten(), features=channels * length)

    def decoder(self, latent_dim: int, event_shape: tuple[int, ...]) -> Decoder:
        widths, padding = self.upward, self.kernel // 2
        lengths = self._lengths(event_shape, len(widths))[::-1]
        layers: list[nn.Module] = [
            self.hidden(nn.Linear(latent_dim, widths[0] * lengths[0])),
            nn.Unflatten(1, (widths[0], lengths[0])),
            self._activation(),
        ]
        for level, (channels, out) in enumerate(
            zip(widths, [*widths[1:], widths[-1]], strict=True)
        ):
            # A transposed convolution of stride 2 gives 2 L - 1; padding restores an even length.
            further = lengths[level + 1] - (2 * lengths[level] - 1)
            up = nn.ConvTranspose1d(
                channels, out, self.kernel, stride=2, padding=padding, output_padding=further
            )
            below, curves = len(widths) - level - 1, math.prod(event_shape[:-1])
            merging = self.merging(nn.Conv1d, below, out, curves, self.kernel)
            layers += [self.hidden(up), *merging, self._activation()]
        return CurveDecoder(*layers, channels=widths[-1], event_shape=event_shape)
