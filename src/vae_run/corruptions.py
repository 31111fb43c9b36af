"""Corruptions: what stands between the clean batch and the encoder; the target stays clean.

Noise is drawn apart from its use, so that a batch can be made again. Letters: B batch, E event
shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

Probability = Annotated[float, Field(ge=0, le=1)]


class Corruption(ABC):
    """x [B, *E] -> corrupted x [B, *E]."""

    @abstractmethod
    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor | None:
        """The random numbers for images of `shape` (B, *E): a tensor with B first, or None."""

    @abstractmethod
    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """The corrupted images; `x` itself is left alone."""


@dataclass(kw_only=True)
class NoCorruption(Corruption):
    """The encoder sees the clean image."""

    def noise(self, shape: torch.Size, generator: torch.Generator) -> None:
        return None

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x


@dataclass(kw_only=True)
class GaussianNoise(Corruption):
    """x + level * N(0, 1), not clipped; `level` is a standard deviation in units of pixels."""

    level: Annotated[float, Field(ge=0)] = 0.3

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        return x + self.level * noise


@dataclass(kw_only=True)
class Masking(Corruption):
    """Each pixel is set to 0 with probability `level` (Vincent et al. 2008)."""

    level: Probability = 0.3

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        return x * (noise >= self.level)


@dataclass(kw_only=True)
class SaltAndPepper(Corruption):
    """Each pixel is set to 0 or to 1, each with probability `level` / 2 (Vincent et al. 2010)."""

    level: Probability = 0.3

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        salted = torch.where(noise >= 1 - self.level / 2, torch.ones_like(x), x)
        return torch.where(noise < self.level / 2, torch.zeros_like(x), salted)
