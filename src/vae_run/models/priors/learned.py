"""Priors whose parameters are trained with the model.

Letters: C components, D latent dimensions, E event shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)
from torch.nn.functional import softplus

from vae_run.errors import ConfigError
from vae_run.models.distributions.flow_kind import FlowKind
from vae_run.models.priors.base import HIDDEN, Count, Prior, slow_density

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class MixturePrior(Prior):
    """A mixture of C normal distributions with diagonal covariances, trained with the model."""

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
    """1/C sum_c q(z|u_c), with C trained pseudo-inputs u (Tomczak & Welling 2018).

    `pseudo_inputs` [C, *E] are, by that key, of the `unit` interval, kept in (0, 1) by a sigmoid,
    or `free`, for data that are not pixels in [0, 1]. Free ones start at normal numbers, brought to
    the mean and the standard deviation of the training data.
    """

    learned = True
    spherical = None
    shares_posterior = True
    description = "the VampPrior"

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        encode: Callable[[Tensor], Distribution],
        components: Count = 100,
        pseudo_inputs: Literal["unit", "free"] = "unit",
    ) -> None:
        super().__init__()
        drawn = nn.Parameter(torch.randn(components, *event_shape))
        self.free = pseudo_inputs == "free"
        # Under two names, so that weights of the one kind are not taken for those of the other.
        if self.free:
            self.free_inputs = drawn
        else:
            self.pseudo_inputs = drawn
        self._encode = (
            encode  # a function, so that the encoder is not registered as a submodule here
        )

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if settings.fixed.condition is not None:
            yield (
                "prior=vamp: the encoder needs a label, and pseudo-inputs have none. Use "
                "condition=null, or another prior."
            )
        if not settings.classes["posterior"].stochastic:
            yield (
                "prior=vamp: is a mixture of posterior densities, and a deterministic code has "
                "no density. Use posterior=normal, or another prior."
            )

    @torch.no_grad()
    def start_at(self, mean: Tensor, spread: Tensor, extent: tuple[float, float]) -> None:
        if self.free:
            self.free_inputs.mul_(spread.to(self.free_inputs)).add_(mean.to(self.free_inputs))
        elif extent[0] < 0 or extent[1] > 1:
            raise ConfigError(
                f"prior=vamp: the training data lie in [{extent[0]:.4g}, {extent[1]:.4g}], and "
                "pseudo-inputs are kept in (0, 1), which is for pixels. Use "
                "prior.pseudo_inputs=free, or another prior."
            )

    def forward(self) -> Distribution:
        parts = self._encode(self.free_inputs if self.free else self.pseudo_inputs.sigmoid())
        weights = Categorical(logits=torch.zeros_like(parts.mean[:, 0]), validate_args=False)
        return MixtureSameFamily(weights, parts, validate_args=False)


class FlowPrior(Prior):
    """A normalising flow trained with the model; `kind` as of `Flow`, splines by default."""

    learned = True
    description = "the flow prior"

    def __init__(
        self,
        *,
        latent_dim: int,
        transforms: Count = 3,
        hidden: list[Count] = HIDDEN,
        kind: FlowKind = "spline",
    ) -> None:
        from vae_run.models.distributions.spline_flow import Flow

        super().__init__()
        self.flow = Flow(latent_dim, 0, transforms, hidden, kind)

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from slow_density(options["kind"], "prior.kind")

    def forward(self) -> Distribution:
        p: Distribution = self.flow()
        return p
