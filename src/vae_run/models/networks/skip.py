"""Skip connections from an encoder to a decoder, as in a U-Net (Ronneberger et al. 2015).

The decoder then sees maps of the encoder's input beside the code: p(x|z, x~) for a corrupted input
x~, which is restored, not compressed.

Letters: K samples, B batch, N items, D latent dimensions, C channels, S size of a map (H, W or L).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from vae_run.corruptions import NoCorruption
from vae_run.errors import ConfigError
from vae_run.models.networks.base import Decoder, Encoder, Network

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class Keep(nn.Identity):
    """A place in an encoder whose maps its decoder sees: level 0 is the input, 1 half its size."""


class Merge(nn.Module):
    """A place in a decoder that sees the encoder's maps of one level.

    x [N, C1, *S] and maps [N, C, *S] -> convolution of [x, maps] [N, C1 + C, *S].
    """

    def __init__(self, convolution: nn.Conv1d | nn.Conv2d, level: int, channels: int) -> None:
        """`convolution` keeps S; of the maps of `level` it takes the first `channels`, C.

        Further channels of the input are labels, which the decoder has beside its code.
        """
        super().__init__()
        self.convolution, self.level, self.channels = convolution, level, channels

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        merged: Tensor = self.convolution(torch.cat([x, maps[:, : self.channels]], 1))
        return merged


class Seen(NamedTuple):
    """What an encoder makes of images x [B, *E]: features [B, F], and maps [B, C, *S] by level."""

    x: Tensor
    features: Tensor
    maps: list[Tensor]


def has_skips(decoder: nn.Module) -> bool:
    """Whether `decoder` needs an encoder's maps beside codes."""
    return any(isinstance(layer, Merge) for layer in decoder.modules())


def seen(encoder: Encoder, x: Tensor, joined: Tensor) -> Seen:
    """What `encoder` makes of x; its input is `joined`, x with the labels of conditional models."""
    maps: list[Tensor] = []
    features = joined
    for layer in encoder:
        features = layer(features)
        if isinstance(layer, Keep):
            maps.append(features)
    return Seen(x, features, maps)


def decoded(decoder: Decoder, z: Tensor, beside: Seen | None) -> Tensor:
    """Features [N, ...] of z [*K, B, D], codes with what is given, for N = prod(K) B items.

    All K samples of an image are decoded beside its maps.

    Raises:
        ConfigError: there is nothing beside the codes, or another number of images.
    """
    if beside is None:
        raise ConfigError(
            "network.skip: the decoder sees images beside codes. Use model.reconstruct(x), or "
            "model.beside(x).decode(z)."
        )
    if beside.x.shape[0] != z.shape[-2]:  # `len` is constant when traced
        raise ConfigError(f"z: found {z.shape[-2]} codes beside {beside.x.shape[0]} images.")
    samples, features = z.shape[:-2], z.flatten(0, -2)
    for layer in decoder:
        if isinstance(layer, Merge):
            maps = beside.maps[layer.level]
            features = layer(features, maps.expand(*samples, *maps.shape).flatten(0, len(samples)))
        else:
            features = layer(features)
    return features


@dataclass(kw_only=True)
class Pyramid(Network):
    """A network whose maps have half the size at each further level, and twice on the way back.

    With `skip` each level of the decoder sees the encoder's maps of its size, level 0 the input
    itself. The smallest maps reach the decoder through the code alone.
    """

    skip: bool = False

    @property
    def skips(self) -> bool:
        return self.skip

    def keeping(self) -> list[nn.Module]:
        """What precedes each layer of the encoder that halves the size: one layer or none."""
        return [Keep()] if self.skip else []

    def merging(
        self, kind: type[nn.Conv1d | nn.Conv2d], level: int, channels: int, of_input: int, size: int
    ) -> list[nn.Module]:
        """What follows each layer of the decoder that doubles the size, to that of `level`.

        One layer, a convolution of a kernel of `size` and `channels` in and out beside the
        encoder's, or none. `of_input` is the number of channels of the input.
        """
        if not self.skip or level >= len(self.widths):
            return []
        beside = [of_input, *self.widths][level]
        convolution = kind(channels + beside, channels, size, padding=size // 2)
        return [Merge(self.hidden(convolution), level, beside)]

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options["skip"]:
            yield from _refusals(settings)


def _refusals(settings: Settings) -> Iterator[str]:
    """Messages on parts that cannot be combined with skip connections."""
    classes = settings.classes
    posterior = classes["posterior"]
    if not classes["objective"].restores or posterior.stochastic or posterior.discrete:
        yield (
            "network.skip: lets the decoder see the encoder's input, so that there is no bound on "
            "log p(x) and nothing to sample. Use model=dae, whose objective=reconstruction and "
            "posterior=delta restore images, or network.skip=false."
        )
    elif classes["prior"].fitted_once:
        yield (
            f"prior: found {classes['prior'].__name__}, but codes beside network.skip=true are not "
            "sampled from. Use prior=fitted_gaussian, or network.skip=false."
        )
    if issubclass(classes["corruption"], NoCorruption):
        yield (
            "network.skip: with corruption=none the decoder sees the image that it has to return, "
            "and copies it. Use a corruption, such as corruption=gaussian or inpainting, or "
            "network.skip=false."
        )
