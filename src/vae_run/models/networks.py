"""Networks: images to features (encoder) and codes to features (decoder).

Letters: N items, D latent dimensions, F features, E event shape (C, H, W) or (F,) for vectors,
P pixels of an image, Y classes, k parameters a pixel that a likelihood asks for.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from vae_run.errors import ConfigError
from vae_run.models.activations import activation

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Widths = list[Annotated[int, Field(gt=0)]]


class Encoder(nn.Sequential):
    """x [N, *E] -> features [N, features]."""

    def __init__(self, *layers: nn.Module, features: int) -> None:
        super().__init__(*layers)
        self.features = features


class Decoder(nn.Sequential):
    """z [N, D] -> features; `projection(k)` makes the layer from them to [N, k, *E]."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)

    def projection(self, k: int) -> nn.Module:
        """A new last layer with k parameters a pixel; a likelihood owns it."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Network(ABC):
    """The architecture of both halves; builds them once the data's shape is known.

    `spectral_norm` asks for `normalise` on the decoder and its last layer.
    """

    widths: Widths
    decoder_widths: Widths | None = None
    activation: str = "relu"
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        self._activation = activation(self.activation)

    @property
    def upward(self) -> Widths:
        """Decoder widths from code to image: the encoder's mirrored unless given."""
        return self.widths[::-1] if self.decoder_widths is None else self.decoder_widths

    @property
    def linear(self) -> bool:
        """Whether both halves are linear maps."""
        return False

    @staticmethod
    def join(x: Tensor, label: Tensor) -> Tensor:
        """What the encoder sees of images x [N, *E] of classes given as one-hot labels [N, Y].

        The labels are further channels, constant over the image; beside vectors, further entries.
        """
        planes = label.reshape(*label.shape, *[1] * (x.dim() - 2))
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)

    @abstractmethod
    def encoder(self, event_shape: tuple[int, ...]) -> Encoder: ...

    @abstractmethod
    def decoder(self, latent_dim: int, event_shape: tuple[int, ...]) -> Decoder: ...


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

    With `tied` each layer of the decoder has the transposed weight of its mirror in the encoder,
    and a bias of its own; a linear autoencoder is then W^T W.
    """

    widths: Widths = field(default_factory=lambda: [512, 256])
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tied and self.upward != self.widths[::-1]:
            raise ConfigError(
                f"network.decoder_widths: found {self.decoder_widths}, but network.tied needs the "
                f"mirror of network.widths, {self.widths[::-1]}. Leave it null."
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
                "network.tied: the mirror of an encoder that sees the label would return it. Use "
                "network.tied=false, or condition=null."
            )

    def _stack(self, size: int, widths: Widths) -> tuple[list[nn.Module], int]:
        layers: list[nn.Module] = []
        for width in widths:
            layers += [nn.Linear(size, width), self._activation()]
            size = width
        return layers, size

    def encoder(self, event_shape: tuple[int, ...]) -> Encoder:
        layers, features = self._stack(math.prod(event_shape), self.widths)
        return Encoder(nn.Flatten(), *layers, features=features)

    def decoder(self, latent_dim: int, event_shape: tuple[int, ...]) -> Decoder:
        layers, features = self._stack(latent_dim, self.upward)
        return FlatDecoder(*layers, features=features, event_shape=event_shape)


class MapDecoder(Decoder):
    """A decoder whose features are maps [N, channels, H, W]."""

    def __init__(self, *layers: nn.Module, channels: int, event_shape: tuple[int, ...]) -> None:
        super().__init__(*layers)
        self._channels, self._event_shape = channels, event_shape

    def projection(self, k: int) -> nn.Module:
        out = nn.Conv2d(self._channels, k * self._event_shape[0], kernel_size=3, padding=1)
        return nn.Sequential(out, nn.Unflatten(1, (k, self._event_shape[0])))


@dataclass(kw_only=True)
class Conv(Network):
    """A pyramid of 3x3 convolutions of stride 2: ceil(H/2), ceil(H/4), ... and back.

    `widths` are the channels of each level; any H, W >= 1 works, odd sizes are restored exactly.
    """

    widths: Widths = field(default_factory=lambda: [32, 64, 128])

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or not self.upward:
            raise ConfigError("network.widths: a conv network needs at least one level, found [].")

    def level(self, channels: int) -> list[nn.Module]:
        """What follows the change of size at a level with `channels`."""
        return [self._activation()]

    @staticmethod
    def _sizes(event_shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
        """(H, W) at each level, the image's own first."""
        if len(event_shape) != 3:
            raise ConfigError(
                f"network=conv needs images [C, H, W], the data are vectors of shape "
                f"{list(event_shape)}: use network=mlp."
            )
        sizes = [(event_shape[1], event_shape[2])]
        for _ in range(levels):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes

    def encoder(self, event_shape: tuple[int, ...]) -> Encoder:
        height, width = self._sizes(event_shape, len(self.widths))[-1]
        layers: list[nn.Module] = []
        channels = event_shape[0]
        for out in self.widths:
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), *self.level(out)]
            channels = out
        return Encoder(*layers, nn.Flatten(), features=channels * height * width)

    def decoder(self, latent_dim: int, event_shape: tuple[int, ...]) -> Decoder:
        widths = self.upward
        sizes = self._sizes(event_shape, len(widths))
        height, width = sizes[-1]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim, widths[0] * height * width),
            nn.Unflatten(1, (widths[0], height, width)),
            self._activation(),
        ]
        for level, (channels, out) in enumerate(
            zip(widths, [*widths[1:], widths[-1]], strict=True)
        ):
            small, large = sizes[len(widths) - level], sizes[len(widths) - level - 1]
            # A stride-2 transposed convolution gives 2h - 1; the padding restores an even size.
            padding = (large[0] - (2 * small[0] - 1), large[1] - (2 * small[1] - 1))
            up = nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=padding)
            layers += [up, *self.level(out)]
        return MapDecoder(*layers, channels=widths[-1], event_shape=event_shape)


class Residual(nn.Module):
    """x + f(x), f two 3x3 convolutions that start small (He et al. 2016, pre-activation)."""

    def __init__(self, channels: int, activation: type[nn.Module]) -> None:
        super().__init__()
        second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            second.weight *= 0.1
        first = nn.Conv2d(channels, channels, 3, padding=1)
        self.body = nn.Sequential(activation(), first, activation(), second)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.body(x)
        return x + change


@dataclass(kw_only=True)
class ResNet(Conv):
    """The convolutional pyramid with `blocks` residual blocks at each level, there and back."""

    blocks: Annotated[int, Field(ge=1)] = 2

    def level(self, channels: int) -> list[nn.Module]:
        residual = [Residual(channels, self._activation) for _ in range(self.blocks)]
        return [*residual, self._activation()]


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers in `module`."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def flatten_samples(z: Tensor) -> Tensor:
    """[*K, B, D] -> [N, D] with N = prod(K) * B, as networks expect."""
    return z.reshape(-1, z.shape[-1])
