"""The base class of corruptions, and the identity.

Noise is drawn separately from its use, so that a batch can be reproduced. Letters: B batch, E event
shape: (C, H, W), or (F,) for vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Corruption(ABC):
    """x [B, *E] -> corrupted x [B, *E]."""

    tested_levels: ClassVar[tuple[float, ...]] = ()
    """Rising values of `level` for the robustness curve; empty if there is no level."""
    level_name: ClassVar[str] = "level"
    """Meaning and unit of `level`, for axis labels."""

    @abstractmethod
    def noise(self, shape: torch.Size, generator: torch.Generator) -> Tensor | None:
        """Random numbers for images of `shape` (B, *E): a tensor [B, ...], or None."""

    @abstractmethod
    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        """The corrupted images; `x` is not modified."""


@dataclass(kw_only=True)
class NoCorruption(Corruption):
    """The identity."""

    def noise(self, shape: torch.Size, generator: torch.Generator) -> None:
        return None

    def apply(self, x: Tensor, noise: Tensor | None) -> Tensor:
        return x
