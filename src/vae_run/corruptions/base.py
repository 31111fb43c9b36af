"""What every corruption is, and the one that changes nothing.

Noise is drawn apart from its use, so that a batch can be made again. Letters: B batch, E event
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
    """Values of `level`, rising, for a curve of robustness; none where there is no level."""
    level_name: ClassVar[str] = "level"
    """What `level` is, and its unit."""

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
