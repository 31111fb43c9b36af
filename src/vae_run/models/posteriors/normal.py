"""Points and normal distributions as posteriors.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from vae_run.models.distributions.degenerate import Delta
from vae_run.models.networks.initialisation import SMALL, Layer
from vae_run.models.posteriors.base import Posterior, Project


class PointPosterior(Posterior):
    """A deterministic code, a function of W h + b of the features h."""

    stochastic = False

    def __init__(
        self, *, features: int, latent_dim: int, projection: Project | None = None
    ) -> None:
        super().__init__()
        self.projection = nn.Linear(features, latent_dim) if projection is None else projection(1)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        return q.mean.expand(noise.shape)


class DeltaPosterior(PointPosterior):
    """A deterministic code: z = W h + b."""

    def forward(self, features: Tensor) -> Delta:
        return Delta(self.projection(features).float(), validate_args=False)


class SigmoidPosterior(PointPosterior):
    """A deterministic code in (0, 1): z = 1 / (1 + exp(-W h - b))."""

    def forward(self, features: Tensor) -> Delta:
        return Delta(self.projection(features).float().sigmoid(), validate_args=False)

    def nearest(self, z: Tensor) -> Tensor:
        return z.clamp(0, 1)


class NormalPosterior(Posterior):
    """N(mu, diag(sigma^2)) with mu and log sigma^2 linear in the features.

    Reparameterised as z = mu + sigma * noise (Kingma & Welling 2014, eq. 10).
    """

    factorised = True

    def __init__(
        self, *, features: int, latent_dim: int, projection: Project | None = None
    ) -> None:
        super().__init__()
        self.projection = (
            nn.Linear(features, 2 * latent_dim) if projection is None else projection(2)
        )

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

    L has D (D + 1) / 2 entries per code, a diagonal covariance D.
    """

    place: Tensor

    def __init__(self, *, features: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        # Index of each entry of L [D, D] in the entries below the diagonal followed by a 0.
        row, column = torch.tril_indices(latent_dim, latent_dim, -1)
        place = torch.full((latent_dim, latent_dim), len(row))
        place[row, column] = torch.arange(len(row))
        self.register_buffer("place", place, persistent=False)
        self.projection = nn.Linear(features, 2 * latent_dim + latent_dim * (latent_dim - 1) // 2)
        self._start_near_diagonal()

    @torch.no_grad()
    def _start_near_diagonal(self) -> None:
        self.projection.weight[2 * self.latent_dim :] *= SMALL
        self.projection.bias[2 * self.latent_dim :] = 0.0

    def initialise(self, draw: Callable[[Layer, int], None], latent_dim: int) -> None:
        super().initialise(draw, latent_dim)
        self._start_near_diagonal()

    def forward(self, features: Tensor) -> Distribution:
        size = self.latent_dim
        loc, log_diagonal, below = (
            self.projection(features).float().split([size, size, size * (size - 1) // 2], dim=-1)
        )
        # Indexed rather than written in place, so that it can be batched over models by vmap.
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
