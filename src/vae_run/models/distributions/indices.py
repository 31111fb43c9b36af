"""Codes that are indices of codewords: point masses at a codeword, and densities over indices.

Letters: B batch, D latent dimensions, P positions of a code, C numbers of each, S stages, K codes
of a codebook, L = P S indices of a code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vae_run.models.distributions.degenerate import Delta


@dataclass(frozen=True)
class IndexSpace:
    """The indices that name a code.

    Attributes:
        length: L, indices of a code, those of the stages of a position next to each other.
        stages: S.
        codes: K, values of each index.
        dimensions: D.
        lookup: indices int64 [*, L] -> codes [*, D].
    """

    length: int
    stages: int
    codes: int
    dimensions: int
    lookup: Callable[[Tensor], Tensor]


class Quantized(Delta):
    """A point mass at the code `value` [B, D] that the encoder's output was quantised to.

    Attributes:
        indices: of its codewords, int64 [B, P, S].
        residuals: what each stage quantised, [B, P, S, C]; of the first the encoder's output.
        codewords: what each stage chose for it, [B, P, S, C].
    """

    def __init__(
        self, value: Tensor, indices: Tensor, residuals: Tensor, codewords: Tensor
    ) -> None:
        super().__init__(value, validate_args=False)
        self.indices, self.residuals, self.codewords = indices, residuals, codewords

    @property
    def error(self) -> Tensor:
        """Squared distance of the encoder's output from the code, summed over positions, [B]."""
        left = self.residuals[:, :, -1] - self.codewords[:, :, -1]
        return left.square().sum((1, 2))


class Codewords(Distribution):
    """The distribution of the codes [D] whose indices [L] are drawn from `indices`.

    It has no density over R^D; probabilities are those of `indices`.
    """

    arg_constraints: ClassVar = {}
    support = constraints.real_vector

    def __init__(self, indices: Distribution, space: IndexSpace) -> None:
        self.indices, self._space = indices, space
        super().__init__(event_shape=torch.Size([space.dimensions]), validate_args=False)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self._space.lookup(self.indices.sample(torch.Size(sample_shape)))
