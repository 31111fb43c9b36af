"""Corruptions of single pixels, for images and vectors.

Letters: B batch, E event shape: (C, H, W) or (F,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from vae_run.corruptions.base import Corruption, Probability


@dataclass(kw_only=True)
class GaussianNoise(Corruption):
    """x + level * N(0, 1), not clipped; `level` is a standard deviation, for pixels in [0, 1]."""

    tested_levels = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    level_name = "standard deviation of the noise, in pixels"

    level: Annotated[float, Field(ge=0)] = 0.3

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        return x + self.level * noise


@dataclass(kw_only=True)
class Masking(Corruption):
    """Each pixel is set to 0 with probability `level` (Vincent et al. 2008)."""

    tested_levels = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    level_name = "probability that a pixel is set to 0"

    level: Probability = 0.3

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        return x * (noise >= self.level)


@dataclass(kw_only=True)
class SaltAndPepper(Corruption):
    """Each pixel is set to 0 or to 1, each with probability `level` / 2 (Vincent et al. 2010)."""

    tested_levels = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    level_name = "probability that a pixel is set to 0 or 1"

    level: Probability = 0.3

    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        assert noise is not None
        salted = torch.where(noise >= 1 - self.level / 2, torch.ones_like(x), x)
        return torch.where(noise < self.level / 2, torch.zeros_like(x), salted)
