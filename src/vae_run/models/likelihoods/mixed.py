"""The likelihood of rows of a table: densities of numbers, probabilities of categories.

Letters: K samples, B batch, E event shape, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import softplus

from vae_run.models.distributions.mixed_features import MixedFeatures
from vae_run.models.likelihoods.base import Likelihood, Projection, raw_scale


class MixedLikelihood(Likelihood):
    """N(mu, sigma^2) for every feature that is a number, a softmax for every block of categories.

    The numbers are standardised, so sigma is in standard deviations of their column. It is one
    number for all, or "learned": each feature has a trained scalar of its own, sigma = floor +
    softplus(rho), which starts at 1, the spread of the training rows. Without the floor the
    density of a number that the code determines is unbounded. Data without blocks, such as images,
    are all numbers.
    """

    start_sigma = 1.0
    """Initial sigma."""
    stored: Tensor

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        projection: Projection,
        one_hot: Sequence[tuple[int, int]] = (),
        sigma: Annotated[float, Field(ge=1e-3)] | Literal["learned"] = "learned",
        floor: Annotated[float, Field(gt=0, lt=1)] = 0.01,
    ) -> None:
        """`one_hot` are the (start, stop) of the one-hot features of each column of categories."""
        super().__init__(event_shape=event_shape, projection=projection)
        self.blocks, self.floor = tuple((start, stop) for start, stop in one_hot), floor
        if isinstance(sigma, str):
            self.rho = nn.Parameter(torch.full(event_shape, raw_scale(self.start_sigma - floor)))
        else:
            self.register_buffer("stored", torch.full(event_shape, sigma), persistent=False)

    @property
    def sigma(self) -> Tensor:
        """The standard deviation of every feature, [*E]; without a use for features in blocks."""
        return self.floor + softplus(self.rho) if hasattr(self, "rho") else self.stored

    def forward(self, parameters: Tensor) -> Distribution:
        (outputs,) = self.split(parameters)
        if len(self.event_shape) == 1:
            return MixedFeatures(outputs, self.sigma, self.blocks)
        return self.independent(Normal(outputs, self.sigma, validate_args=False))
