"""Posteriors q(z|x): heads on the encoder's features.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.nn.functional import normalize, softplus

from vae_run.models.distributions.degenerate import Delta
from vae_run.models.distributions.sphere import VonMisesFisher, tail_rule
from vae_run.models.networks.initialisation import SMALL, Layer

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

HIDDEN = [64, 64]  # never modified


class Posterior(nn.Module, ABC):
    """Owns the projection from features [B, F] to the parameters of q(z|x)."""

    stochastic = True
    """Whether q has a density, and therefore a KL divergence to a prior."""
    factorised = False
    """Whether q is a product over dimensions, an `Independent`."""
    moments = True
    """Whether q has a mean and a variance in closed form."""
    spherical = False
    """Whether codes have norm 1, so that a density over R^D cannot be their prior."""

    def initialise(self, draw: Callable[[Layer, int], None], latent_dim: int) -> None:
        """Draw the initial weights of `projection`, of whose outputs the first D are means."""
        layer = getattr(self, "projection", None)
        if isinstance(layer, nn.Linear):
            draw(layer, latent_dim)

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """q(z|x) over [B, D]."""

    @abstractmethod
    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        """Transform standard normal `noise` [*K, B, D] to samples of q [*K, B, D]."""

    def scale(self, q: Distribution) -> Tensor | None:
        """Standard deviations of the codes [B, D]; None if they are not available."""
        return q.stddev if self.stochastic else None

    def expectation(self, q: Distribution) -> Tensor:
        """E_q[z], [B, D]; for a flow, without closed form, the image of the noise's mean."""
        return q.mean

    def nearest(self, z: Tensor) -> Tensor:
        """z [*, D] projected onto the support of q, for example points between two codes."""
        return z

    def detached(self, q: Distribution) -> Distribution:
        """q with detached parameters: its log-density has a gradient only through z."""
        raise NotImplementedError(f"{type(self).__name__} has no detached density")


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


class FlowPosterior(Posterior):
    """A neural spline flow (Durkan et al. 2019) of standard normal noise, given the features.

    `mean` is the image of the noise's mean.
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
        from vae_run.models.distributions.spline_flow import Flow

        super().__init__()
        self.flow = Flow(latent_dim, features, transforms, hidden)

    def forward(self, features: Tensor) -> Distribution:
        q: Distribution = self.flow(features.float())
        return q

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        from vae_run.models.distributions.spline_flow import FlowDistribution

        assert isinstance(q, FlowDistribution)
        return q.push(noise)

    def scale(self, q: Distribution) -> None:
        return None


class VonMisesFisherPosterior(Posterior):
    """C exp(kappa mu.z) on codes z of norm 1 (Davidson et al. 2018).

    mu is the direction of D features, and kappa = `floor` + softplus of one more. Without a floor
    kappa falls to 0 before the decoder has learned to use the code, and stays there. `mean` is mu.
    """

    moments = False
    spherical = True
    rule: Tensor

    def __init__(
        self, *, features: int, latent_dim: int, floor: Annotated[float, Field(ge=0)] = 1.0
    ) -> None:
        super().__init__()
        self.floor = floor
        self.projection = nn.Linear(features, latent_dim + 1)
        self.register_buffer("rule", tail_rule(), persistent=False)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        prior, latent_dim = settings.classes["prior"], settings.fixed.latent_dim
        if prior.spherical is False:
            yield (
                f"prior: found {prior.__name__}, a density over all of R^D, but codes of "
                "posterior=von_mises_fisher have length 1, so there is no KL between the two. Use "
                "prior=spherical, or posterior=normal."
            )
        if latent_dim < 2:
            yield (
                f"latent_dim: found {latent_dim}, but directions begin at 2 dimensions, the circle."
            )

    def forward(self, features: Tensor) -> Distribution:
        raw = self.projection(features).float()
        concentration = self.floor + softplus(raw[..., -1])
        return VonMisesFisher(normalize(raw[..., :-1], dim=-1), concentration, self.rule)

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        assert isinstance(q, VonMisesFisher)
        return q.push(noise)

    def scale(self, q: Distribution) -> None:
        return None

    def expectation(self, q: Distribution) -> Tensor:
        assert isinstance(q, VonMisesFisher)
        return q.expectation

    def nearest(self, z: Tensor) -> Tensor:
        return normalize(z, dim=-1)

    def detached(self, q: Distribution) -> Distribution:
        assert isinstance(q, VonMisesFisher)
        return VonMisesFisher(q.loc.detach(), q.concentration.detach(), self.rule)
