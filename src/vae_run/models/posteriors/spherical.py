"""Posteriors of codes on the unit sphere.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import normalize, softplus

from vae_run.models.distributions.sphere import VonMisesFisher, tail_rule
from vae_run.models.posteriors.base import Posterior

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


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
