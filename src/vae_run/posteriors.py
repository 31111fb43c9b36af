"""Posteriors q(z|x): heads on the encoder's features.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vae_run.distributions import Delta

HIDDEN = [64, 64]  # never written to


class Posterior(nn.Module, ABC):
    """Owns the projection from features [B, F] to the parameters of q(z|x)."""

    stochastic = True
    """Whether q has a density, and so a KL divergence to a prior."""
    factorised = False
    """Whether q is a product over dimensions, an `Independent`."""
    moments = True
    """Whether q knows its mean and variance."""

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """q(z|x) over [B, D]."""

    @abstractmethod
    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        """Standard normal `noise` [*K, B, D] turned into samples of q [*K, B, D]."""

    def scale(self, q: Distribution) -> Tensor | None:
        """Standard deviations of the codes [B, D]; None where the code has none to tell."""
        return q.stddev if self.stochastic else None

    def detached(self, q: Distribution) -> Distribution:
        """q with its parameters held constant: its density has no gradient but through z."""
        raise NotImplementedError(f"{type(self).__name__} has no density to hold constant")


class DeltaPosterior(Posterior):
    """A deterministic code: z = W h + b."""

    stochastic = False

    def __init__(self, *, features: int, latent_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, latent_dim)

    def forward(self, features: Tensor) -> Delta:
        return Delta(self.projection(features).float(), validate_args=False)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        return q.mean.expand(noise.shape)


class NormalPosterior(Posterior):
    """N(mu, diag(sigma^2)) with mu and log sigma^2 linear in the features.

    Reparameterised as z = mu + sigma * noise (Kingma & Welling 2014, eq. 10).
    """

    factorised = True

    def __init__(self, *, features: int, latent_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(features, 2 * latent_dim)

    def forward(self, features: Tensor) -> Distribution:
        loc, log_variance = self.projection(features).float().chunk(2, dim=-1)
        normal = Normal(loc, (0.5 * log_variance).exp(), validate_args=False)
        return Independent(normal, 1, validate_args=False)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        return q.mean + q.stddev * noise

    def detached(self, q: Distribution) -> Distribution:
        normal = Normal(q.mean.detach(), q.stddev.detach(), validate_args=False)
        return Independent(normal, 1, validate_args=False)


class FullNormalPosterior(Posterior):
    """N(mu, L L^T) with a full lower-triangular L, whose diagonal is exp of half its features.

    Its D (D + 1) / 2 scale parameters a code are more than the diagonal's D.
    """

    place: Tensor

    def __init__(self, *, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        # Where each entry of L [D, D] is found among those below the diagonal, with a 0 at the end.
        row, column = torch.tril_indices(latent_dim, latent_dim, -1)
        place = torch.full((latent_dim, latent_dim), len(row))
        place[row, column] = torch.arange(len(row))
        self.register_buffer("place", place, persistent=False)
        self.projection = nn.Linear(features, 2 * latent_dim + latent_dim * (latent_dim - 1) // 2)
        with torch.no_grad():  # start near the diagonal
            self.projection.weight[2 * latent_dim :] *= 0.1
            self.projection.bias[2 * latent_dim :] = 0.0

    def forward(self, features: Tensor) -> Distribution:
        size = self.latent_dim
        loc, log_diagonal, below = (
            self.projection(features).float().split([size, size, size * (size - 1) // 2], dim=-1)
        )
        # Gathered: no in-place write, so that it can be batched over models.
        lower = torch.cat([below, torch.zeros_like(loc[..., :1])], -1)[..., self.place]
        scale = lower + torch.diag_embed((0.5 * log_diagonal).exp())
        return MultivariateNormal(loc, scale_tril=scale, validate_args=False)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        assert isinstance(q, MultivariateNormal)
        with torch.autocast(noise.device.type, enabled=False):
            return q.mean + (q.scale_tril @ noise[..., None]).squeeze(-1)

    def detached(self, q: Distribution) -> Distribution:
        assert isinstance(q, MultivariateNormal)
        scale = q.scale_tril.detach()
        return MultivariateNormal(q.mean.detach(), scale_tril=scale, validate_args=False)


class FlowPosterior(Posterior):
    """A neural spline flow (Durkan et al. 2019) of standard normal noise, given the features.

    Its mean is taken to be the image of the noise's mean.
    """

    moments = False

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        transforms: Annotated[int, Field(ge=1)] = 2,
        hidden: list[Annotated[int, Field(ge=1)]] = HIDDEN,
    ) -> None:
        from vae_run.flows import Flow

        super().__init__()
        self.flow = Flow(latent_dim, features, transforms, hidden)

    def forward(self, features: Tensor) -> Distribution:
        q: Distribution = self.flow(features.float())
        return q

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        from vae_run.flows import FlowDistribution

        assert isinstance(q, FlowDistribution)
        return q.push(noise)

    def scale(self, q: Distribution) -> None:
        return None
