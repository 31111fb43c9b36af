"""Finite scalar quantisation: each number of a code is rounded to one of a few levels.

Letters: B batch, P positions of a code, C numbers of each, L_c levels of a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.models.distributions.indices import Quantized
from vae_run.models.posteriors.base import Project
from vae_run.models.posteriors.quantized import (
    Positions,
    QuantizedPosterior,
    straight_through,
    unless_divisible,
)

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

LEVELS = [8, 5, 5, 5]  # never modified
EPSILON = 1e-3
"""Share by which the bounds of a number stay within the outermost levels."""


class FiniteScalarPosterior(QuantizedPosterior):
    """Numbers rounded to `levels` integers each (Mentzer et al. 2023, "FSQ: VQ-VAE made simple").

    With h = (1 - 0.001) (L - 1) / 2, o = 1/2 for even L and 0 for odd, and s = tan(o / h)
    (appendix A.1), a number u of the encoder's output becomes

        round(h tanh(u + s) - o) / floor(L / 2),

    one of L values from -1 to 1, or to below 1 where L is even. 0 becomes 0. The index of a vector
    has these integers as digits, the first the least. There are prod(levels) codes, which are not
    trained, and nothing is added to the loss.
    """

    saturates = True
    span: Tensor
    offset: Tensor
    shift: Tensor
    widths: Tensor
    levels: Tensor
    basis: Tensor

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        latent_shape: tuple[int, ...] | None = None,
        projection: Project | None = None,
        levels: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] = LEVELS,
    ) -> None:
        super().__init__()
        self.positions = Positions(latent_shape or (latent_dim,), len(levels))
        self.projection = nn.Linear(features, latent_dim) if projection is None else projection(1)
        span = [(1 - EPSILON) * (level - 1) / 2 for level in levels]
        offset = [0.0 if level % 2 else 0.5 for level in levels]
        shift = [math.tan(o / h) for o, h in zip(offset, span, strict=True)]
        basis = [math.prod(levels[:place]) for place in range(len(levels))]
        for name, values in (("span", span), ("offset", offset), ("shift", shift)):
            self.register_buffer(name, torch.tensor(values), persistent=False)
        for name, whole in (("levels", levels), ("basis", basis)):
            self.register_buffer(name, torch.tensor(whole), persistent=False)
        self.register_buffer("widths", self.levels // 2, persistent=False)
        self._codes = math.prod(levels)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        levels = options["levels"]
        yield from unless_divisible(settings, len(levels), "levels", levels)

    @property
    def codes(self) -> int:
        return self._codes

    def forward(self, features: Tensor) -> Distribution:
        raw = self.positions.split(self.projection(features).float())
        bounded = torch.tanh(raw + self.shift) * self.span - self.offset
        levels = bounded.detach().round()
        value = straight_through(bounded, levels) / self.widths
        indices = ((levels.long() + self.widths) * self.basis).sum(-1, keepdim=True)
        stages = bounded / self.widths, levels / self.widths
        return Quantized(self.positions.join(value), indices, *(s.unsqueeze(2) for s in stages))

    def lookup(self, indices: Tensor) -> Tensor:
        levels = indices[..., None] // self.basis % self.levels
        return self.positions.join((levels - self.widths) / self.widths)

    def nearest(self, z: Tensor) -> Tensor:
        levels = (self.positions.split(z) * self.widths).round()
        levels = torch.minimum(levels.maximum(-self.widths), self.levels - 1 - self.widths)
        return self.positions.join(levels / self.widths)
