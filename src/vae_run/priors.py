"""Priors p(z). Letters: N codes, C components, D latent dimensions, E event shape."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)
from torch.nn.functional import softplus

from vae_run.distributions import Flat
from vae_run.errors import CheckpointError

if TYPE_CHECKING:
    from vae_run.config import Settings

Count = Annotated[int, Field(ge=1)]
HIDDEN = [64, 64]  # never written to


class Prior(nn.Module, ABC):
    """p(z) over [D]; `description` is what captions say of samples from it."""

    trained_with = True
    """Whether training holds the codes to it; otherwise it is fitted afterwards."""
    proper = True
    """Whether it integrates to 1, and so can be sampled from."""
    fitted_to_codes = False
    """Whether `fit` sets it from the training codes after the fact."""
    gaussian = False
    """Whether it is a normal with independent dimensions."""
    description: str

    @property
    def generative(self) -> bool:
        """Whether KL and ELBO mean something: a proper prior that training uses."""
        return self.trained_with and self.proper

    @abstractmethod
    def forward(self) -> Distribution:
        """p(z)."""

    def fit(self, codes: Tensor) -> None:
        """Fit p(z) to `codes` [N, D]."""
        raise NotImplementedError


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


class FlatPrior(Prior):
    """The improper constant density: the KL is -H(q) up to a constant, which keeps scales from 0.

    It has no samples, and there is no ELBO and no log p(x) under it.
    """

    proper = False
    description = "no prior (it is flat)"
    loc: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        return Flat(self.loc)


class MixturePrior(Prior):
    """A mixture of C normals with diagonal covariance, its parameters trained with the model."""

    description = "the mixture prior"

    def __init__(self, *, latent_dim: int, components: Count = 10) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent_dim))
        self.rho = nn.Parameter(torch.full((components, latent_dim), 0.5413))  # softplus: 1

    def forward(self) -> Distribution:
        parts = Normal(self.loc, 1e-3 + softplus(self.rho), validate_args=False)
        return MixtureSameFamily(
            Categorical(logits=self.logits, validate_args=False),
            Independent(parts, 1, validate_args=False),
            validate_args=False,
        )


class VampPrior(Prior):
    """1/C sum_c q(z|u_c), the posteriors of C trained pseudo-inputs u (Tomczak & Welling 2018).

    Pseudo-inputs [C, *E] are kept in (0, 1) by a sigmoid.
    """

    description = "the VampPrior"

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        encode: Callable[[Tensor], Distribution],
        components: Count = 100,
    ) -> None:
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.randn(components, *event_shape))
        self._encode = encode  # a function, so that the encoder stays the model's alone

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if not settings.classes["posterior"].stochastic:
            yield (
                "prior=vamp: is a mixture of posteriors, and a deterministic code has none with a "
                "density. Use posterior=normal, or another prior."
            )

    def forward(self) -> Distribution:
        parts = self._encode(self.pseudo_inputs.sigmoid())
        weights = Categorical(logits=torch.zeros_like(parts.mean[:, 0]), validate_args=False)
        return MixtureSameFamily(weights, parts, validate_args=False)


class FlowPrior(Prior):
    """A neural spline flow (Durkan et al. 2019) trained with the model."""

    description = "the flow prior"

    def __init__(
        self, *, latent_dim: int, transforms: Count = 3, hidden: list[Count] = HIDDEN
    ) -> None:
        from vae_run.flows import Flow

        super().__init__()
        self.flow = Flow(latent_dim, 0, transforms, hidden)

    def forward(self) -> Distribution:
        p: Distribution = self.flow()
        return p


class FittedGaussian(Prior):
    """No prior while training; afterwards a Gaussian with the mean and covariance of the codes.

    The simplest ex-post density estimate of Ghosh et al. 2020, "From variational to
    deterministic autoencoders". `fit` sets it and the checkpoint carries it.
    """

    trained_with = False
    fitted_to_codes = True
    description = "a Gaussian fitted to the codes"
    loc: Tensor
    factor: Tensor
    fitted: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def fit(self, codes: Tensor) -> None:
        """Mean and covariance of `codes` [N, D], with a floor that keeps the latter regular."""
        codes = codes.cpu().double()
        centred = codes - codes.mean(0)
        covariance = centred.T @ centred / max(1, len(codes) - 1)
        floor = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12)
        covariance = covariance + floor * torch.eye(codes.shape[1]).double()
        self.loc.copy_(codes.mean(0))
        self.factor.copy_(torch.linalg.cholesky(covariance))
        self.fitted.fill_(True)

    def forward(self) -> Distribution:
        if not bool(self.fitted):
            raise CheckpointError(
                "This model has no prior, and no Gaussian was fitted to its codes yet: train it "
                "until its first evaluation, then sample."
            )
        return MultivariateNormal(self.loc, scale_tril=self.factor, validate_args=False)
