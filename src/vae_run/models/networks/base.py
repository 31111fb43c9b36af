"""What every network is: an encoder from images to features, a decoder from codes to features.

Letters: N items, D latent dimensions, E event shape (C, H, W) or (F,) for vectors, Y classes,
k parameters per pixel that a likelihood asks for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from vae_run.models.networks.activations import activation

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


def parameter_count(module: nn.Module) -> int:
    """Trainable numbers in `module`."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def flatten_samples(z: Tensor) -> Tensor:
    """[*K, B, D] -> [N, D] with N = prod(K) * B, as networks expect."""
    return z.reshape(-1, z.shape[-1])
