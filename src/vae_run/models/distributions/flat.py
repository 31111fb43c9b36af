"""The improper flat density. Letters: D latent dimensions."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vae_run.errors import ConfigError


class Flat(Distribution):
    """The improper density 1 over R^D, with the shape and device of `like` [D]."""

    arg_constraints: ClassVar = {}
    support = constraints.real_vector

    def __init__(self, like: Tensor) -> None:
        self._like = like
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """0, since the constant is arbitrary."""
        return torch.zeros_like(value[..., 0])

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        raise ConfigError(
            "prior=flat is improper: it has no samples. Train with prior=standard_normal, or with "
            "any other prior, to sample."
        )
