"""The base classes of networks: encoders from images, and decoders from codes, to features.

Letters: N items, D latent dimensions, E event shape (C, H, W) or (F,) for vectors, Y classes,
k parameters per pixel that a likelihood asks for.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from vae_run.models.networks.activations import activation
from vae_run.models.networks.initialisation import Layer, initialise, initialise_head

Widths = Annotated[list[Annotated[int, Field(gt=0)]], Field(max_length=1000)]
"""Of the layers of a network: more than a thousand are a slip, or a file meant to do harm."""
_Layer = TypeVar("_Layer", bound=Layer)


class Encoder(nn.Sequential):
    """x [N, *E] -> features [N, features], which are flattened maps where `maps` is (C, h, w)."""

    def __init__(
        self, *layers: nn.Module, features: int, maps: tuple[int, int, int] | None = None
    ) -> None:
        super().__init__(*layers)
        self.features, self.maps = features, maps

    def projection(self, k: int, latent_shape: tuple[int, ...]) -> nn.Module:
        """A new layer from features to k parameters for each entry of a code, [N, k D].

        For a code of maps it is a convolution at each place of them, else a linear layer.
        """
        if self.maps is None or len(latent_shape) == 1:
            return nn.Linear(self.features, k * math.prod(latent_shape))
        convolution = nn.Conv2d(self.maps[0], k * latent_shape[0], kernel_size=1)
        return nn.Sequential(nn.Unflatten(1, self.maps), convolution, nn.Flatten())


class Decoder(nn.Sequential):
    """z [N, D] -> features; `projection(k)` creates the layer from features to [N, k, *E]."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__(*layers)

    def projection(self, k: int) -> nn.Module:
        """A new last layer with k parameters per pixel, which the likelihood owns."""
        raise NotImplementedError


@dataclass(kw_only=True)
class Network(ABC):
    """The architecture of encoder and decoder, which are built for a given shape of the data.

    `init` is "auto", for initial weights by the activation (`initialisation`), or "torch", for
    PyTorch's own in every layer. With `small_heads` a VAE's last layers are small, and the
    likelihood starts at the mean image, as it always does where the code is deterministic.
    A VAE of a convolutional network that starts so ignores its code for long.
    `spectral_norm` applies `weight_constraints.normalise` to the decoder and its last layer.
    """

    small_heads: ClassVar[bool] = False
    takes_maps: ClassVar[bool] = False
    """Whether `encoder` and `decoder` take the shape [C, h, w] of a code of maps."""

    widths: Widths
    decoder_widths: Widths | None = None
    activation: str = "relu"
    init: Literal["auto", "torch"] = "auto"
    spectral_norm: bool = False

    def __post_init__(self) -> None:
        self._activation = activation(self.activation)

    @property
    def upward(self) -> Widths:
        """Decoder widths from code to image; by default the encoder's, reversed."""
        return self.widths[::-1] if self.decoder_widths is None else self.decoder_widths

    @property
    def linear(self) -> bool:
        """Whether encoder and decoder are linear maps."""
        return False

    @property
    def skips(self) -> bool:
        """Whether the decoder sees maps of the encoder beside the code."""
        return False

    @property
    def by_activation(self) -> bool:
        """Whether initial weights are chosen by the activation: linear maps have none."""
        return self.init == "auto" and not self.linear

    def hidden(self, layer: _Layer, *, size: float = 1.0, both_ways: bool = False) -> _Layer:
        """`layer`, next to an activation, with the initial weights that `init` names."""
        if self.by_activation:
            initialise(layer, self._activation, size=size, both_ways=both_ways)
        return layer

    def head(self, layer: Layer, large: int = 0) -> None:
        """Draw the weights of a last layer as those of a hidden one; its biases are then 0.

        With `small_heads` only the first `large` outputs are of the size of the inputs.
        """
        if self.by_activation and self.small_heads:
            initialise_head(layer, large)
        elif self.by_activation:
            self.hidden(layer)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    @staticmethod
    def join(x: Tensor, label: Tensor) -> Tensor:
        """The encoder's input for images x [N, *E] with one-hot labels [N, Y].

        Labels are added as channels that are constant over the image, or as entries of a vector.
        """
        planes = label.reshape(*label.shape, *[1] * (x.dim() - 2))
        return torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], 1)

    @abstractmethod
    def encoder(self, event_shape: tuple[int, ...]) -> Encoder: ...

    @abstractmethod
    def decoder(self, latent_dim: int, event_shape: tuple[int, ...]) -> Decoder: ...


def parameter_count(module: nn.Module) -> int:
    """Number of trainable parameters in `module`."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def flatten_samples(z: Tensor) -> Tensor:
    """[*K, B, D] -> [N, D] with N = prod(K) * B, the input shape of networks."""
    return z.reshape(-1, z.shape[-1])
