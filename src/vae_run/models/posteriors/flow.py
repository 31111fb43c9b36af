"""Normalising flows as posteriors.

Letters: K samples, B batch, D latent dimensions, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from vae_run.models.distributions.flow_kind import FlowKind
from vae_run.models.posteriors.base import Posterior

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

HIDDEN = [64, 64]  # never modified


class FlowPosterior(Posterior):
    """A normalising flow of standard normal noise, given the features; `kind` as of `Flow`.

    Splines (Durkan et al. 2019), an inverse autoregressive flow (Kingma et al. 2016) or planes
    (Rezende & Mohamed 2015). `mean` is the image of the noise's mean.
    """

    moments = False

    def __init__(
        self,
        *,
        features: int,
        latent_dim: int,
        transforms: Annotated[int, Field(ge=1)] = 2,
        hidden: list[Annotated[int, Field(ge=1)]] = HIDDEN,
        kind: FlowKind = "spline",
    ) -> None:
        from vae_run.models.distributions.spline_flow import Flow

        super().__init__()
        self.flow = Flow(latent_dim, features, transforms, hidden, kind)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options["kind"] == "maf":
            yield (
                "posterior.kind: found maf, whose samples take a pass for each latent dimension, "
                "at every step. Use posterior.kind=iaf, its inverse, whose samples take one."
            )

    def forward(self, features: Tensor) -> Distribution:
        q: Distribution = self.flow(features.float())
        return q

    def sample(self, q: Distribution, noise: Tensor) -> Tensor:
        from vae_run.models.distributions.spline_flow import FlowDistribution

        assert isinstance(q, FlowDistribution)
        return q.push(noise)

    def scale(self, q: Distribution) -> None:
        return None
