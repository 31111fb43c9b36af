"""Posteriors q(z|x): heads on the encoder's features.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_run.distributions import Delta


class Posterior(nn.Module, ABC):
    """Owns the projection from features [B, F] to the parameters of q(z|x)."""

    stochastic = True
    """Whether q has a density, and so a KL divergence to a prior."""

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """q(z|x) over [B, D]."""

    @abstractmethod
    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        """Standard normal `noise` [*K, B, D] turned into samples of q [*K, B, D]."""

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
