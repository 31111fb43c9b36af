"""Priors without parameters. Letters: D latent dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_run.models.distributions.flat import Flat
from vae_run.models.distributions.sphere import UniformSphere
from vae_run.models.priors.base import Prior

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class StandardNormal(Prior):
    """N(0, I)."""

    gaussian = True
    description = "the prior N(0, I)"
    loc: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        scale = torch.ones_like(self.loc)
        return Independent(Normal(self.loc, scale, validate_args=False), 1, validate_args=False)


class SphericalPrior(Prior):
    """The uniform distribution on the unit sphere (Davidson et al. 2018)."""

    spherical = True
    description = "the uniform prior on the sphere"
    loc: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        posterior = settings.classes["posterior"]
        if not posterior.spherical:
            yield (
                "prior=spherical: is bounded, codes have length 1, and codes of "
                f"{posterior.__name__} have not, so the KL is infinite. Use "
                "posterior=von_mises_fisher, or prior=standard_normal."
            )

    def forward(self) -> Distribution:
        return UniformSphere(self.loc)


class FlatPrior(Prior):
    """The improper constant density: the KL is -H(q) up to a constant, which bounds scales from 0.

    It cannot be sampled from, and ELBO and log p(x) are undefined.
    """

    proper = False
    description = "no prior (it is flat)"
    loc: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        return Flat(self.loc)
