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

from vae_run.errors import CheckpointError
from vae_run.models.distributions.kl import Flat
from vae_run.models.distributions.sphere import UniformSphere

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

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
    fitted_once = False
    """Whether it is fitted when training has ended, and not at each evaluation: it takes longer."""
    gaussian = False
    """Whether it is a normal with independent dimensions."""
    learned = False
    """Whether it has parameters, which only an objective with log p(z) in it trains."""
    spherical: bool | None = False
    """Whether its codes have length 1; None: as the posterior's have."""
    description: str

    @property
    def generative(self) -> bool:
        """Whether KL and ELBO mean something: a proper prior that training uses."""
        return self.trained_with and self.proper

    @property
    def ready(self) -> bool:
        """Whether it can be sampled from: proper, and fitted where that is due."""
        return self.proper

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


class SphericalPrior(Prior):
    """The uniform distribution on codes of length 1 (Davidson et al. 2018)."""

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

    learned = True
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

    learned = True
    spherical = None
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
        if settings.fixed.condition is not None:
            yield (
                "prior=vamp: its pseudo-inputs have no label to give the encoder. Use "
                "condition=null, or another prior."
            )
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

    learned = True
    description = "the flow prior"

    def __init__(
        self, *, latent_dim: int, transforms: Count = 3, hidden: list[Count] = HIDDEN
    ) -> None:
        from vae_run.models.distributions.spline_flow import Flow

        super().__init__()
        self.flow = Flow(latent_dim, 0, transforms, hidden)

    def forward(self) -> Distribution:
        p: Distribution = self.flow()
        return p


class Fitted(Prior):
    """No prior while training: a density that is fitted to the codes afterwards.

    Ghosh et al. 2020, "From variational to deterministic autoencoders", call it an ex-post density
    estimate. `fit` sets it, and the checkpoint carries it.
    """

    trained_with = False
    fitted_to_codes = True
    fitted: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @property
    def ready(self) -> bool:
        return bool(self.fitted)

    def forward(self) -> Distribution:
        if not self.ready:
            when = "to its end" if self.fitted_once else "until its first evaluation"
            raise CheckpointError(
                "This model has no prior, and nothing was fitted to its codes yet: train it "
                f"{when}, or choose a sampler with task=sample."
            )
        return self.density()

    @abstractmethod
    def density(self) -> Distribution:
        """p(z), as it was fitted."""


def covariance_factor(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and Cholesky factor [D, D] of the covariance of `codes` [N, D], in float64.

    A floor, 1e-6 of the mean variance, keeps the covariance regular.
    """
    codes = codes.cpu().double()
    centred = codes - codes.mean(0)
    covariance = centred.T @ centred / max(1, len(codes) - 1)
    floor = 1e-6 * covariance.diagonal().mean().clamp(min=1e-12)
    covariance = covariance + floor * torch.eye(codes.shape[1]).double()
    return codes.mean(0), torch.linalg.cholesky(covariance)


class FittedGaussian(Fitted):
    """A Gaussian with the mean and covariance of the codes."""

    description = "a Gaussian fitted to the codes"
    loc: Tensor
    factor: Tensor

    def __init__(self, *, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))

    def fit(self, codes: Tensor) -> None:
        """Mean and covariance of `codes` [N, D], with a floor that keeps the latter regular."""
        loc, factor = covariance_factor(codes)
        self.loc.copy_(loc)
        self.factor.copy_(factor)
        self.fitted.fill_(True)

    def density(self) -> Distribution:
        return MultivariateNormal(self.loc, scale_tril=self.factor, validate_args=False)
