"""Fully connected networks.

Letters: N items, F features, E event shape, P pixels of an image, Y classes, k parameters per
pixel that a likelihood asks for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vae_run.errors import ConfigError
from vae_run.models.networks.base import Decoder, Encoder, Network, Widths

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class FlatDecoder(Decoder):
    """A decoder whose features are vectors [N, F]."""

    def __init__(self, *layers: nn.Module, features: int, event_shape: tuple[int, ...]) -> None:
        super().__init__(*layers)
        self._features, self._event_shape = features, event_shape

    def projection(self, k: int) -> nn.Module:
        pixels = math.prod(self._event_shape)
        return nn.Sequential(
            nn.Linear(self._features, k * pixels), nn.Unflatten(1, (k, *self._event_shape))
        )


@dataclass(kw_only=True)
class MLP(Network):
    """Fully connected layers on the flattened image; `widths=[]` is a linear map.

    With `tied`, each layer of the decoder uses the transposed weight of the corresponding layer of
    the encoder, and its own bias; a linear autoencoder is then W^T W. Few layers learn as well from
    PyTorch's initial weights, which published experiments used: they are the default here.
    """

    small_heads: ClassVar[bool] = True

    widths: Widths = field(default_factory=lambda: [512, 256])
    init: Literal["auto", "torch"] = "torch"
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tied and self.upward != self.widths[::-1]:
            raise ConfigError(
                f"network.decoder_widths: found {self.decoder_widths}, but network.tied "
                f"requires network.widths reversed, {self.widths[::-1]}. Leave it null."
            )
        if self.tied and self.spectral_norm:
            raise ConfigError(
                "network.spectral_norm: found true, but with network.tied the decoder has no "
                "weights of its own to normalise. Leave one of them false."
            )

    @property
    def linear(self) -> bool:
        return not self.widths and not self.upward

    @staticmethod
    def join(x: Tensor, label: Tensor) -> Tensor:
        """The pixels and the label in one vector, [N, P + Y]."""
        return torch.cat([x.flatten(1), label], 1)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options.get("tied") and settings.fixed.condition is not None:
            yield (
                "network.tied: the transpose of an encoder with labels as input would output "
                "labels. Use network.tied=false, or condition=null."
            )
        parts = settings.classes["posterior"], settings.classes["likelihood"]
        if options.get("tied") and (parts[0].stochastic or not parts[1].single):
            yield (
                "network.tied: needs a posterior with one parameter per dimension and a likelihood "
                f"with one per pixel; found {parts[0].__name__} and {parts[1].__name__}. Use "
                "posterior=delta likelihood=mse."
            )

    def _stack(self, size: int, widths: Widths) -> tuple[list[nn.Module], int]:
        layers: list[nn.Module] = []
        for width in widths:
            layer = self.hidden(nn.Linear(size, width), both_ways=self.tied)
            layers += [layer, self._activation()]
            size = width
        return layers, size

    def encoder(self, event_shape: tuple[int, ...]) -> Encoder:
        layers, features = self._stack(math.prod(event_shape), self.widths)
        return Encoder(nn.Flatten(), *layers, features=features)

    def decoder(self, latent_dim: int, event_shape: tuple[int, ...]) -> Decoder:
        layers, features = self._stack(latent_dim, self.upward)
        return FlatDecoder(*layers, features=features, event_shape=event_shape)
