"""The point mass, which `torch.distributions` lacks. Letters: B batch, D latent dimensions."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Delta(Distribution):
    """A point mass at `value` [B, D]: the posterior of a deterministic code.

    It has no density, so `log_prob` and all KL divergences from it are undefined.
    """

    arg_constraints: ClassVar = {"value": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, value: Tensor, validate_args: bool | None = None) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)
