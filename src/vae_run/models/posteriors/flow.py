"""Normalising flows as posteriors.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from vae_run.models.posteriors.base import Posterior

HIDDEN = [64, 64]  # never modified


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
