"""Likelihoods that are distributions over grey levels.

A grid of L levels is v/(L-1) for v = 0, ..., L-1: 256 of them in 8-bit images, 2 in binary ones.
The data determine L. `log_prob` takes a value at its nearest level.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), L levels, M components.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily

from vae_run.models.distributions.grid import DiscretizedLogistic, LevelCategorical
from vae_run.models.likelihoods.base import Likelihood, Projection, scale

LEAST_SCALE = 0.1
"""Smallest scale of a logistic, in grid steps: about exp(-7) of Salimans et al. for 8 bits."""
FIRST_SCALE = 0.2
"""Initial scale of a logistic, for pixels in [0, 1]."""


class BinaryImages(Independent[Bernoulli]):
    """Independent Bernoulli pixels, with a fast log-density when gradients are disabled.

    It is sum log s(|l|) - 1/2 sum (|l| + (1 - 2x) l) with the sigmoid s and logits l. Terms of the
    second sum are 0 where the sign of l agrees with x. The first sum is computed as logarithms of
    products of up to `FACTORS` pixels, each in [1/2, 1]. With gradients torch's cross-entropy is
    faster, since its backward pass is a single formula.
    """

    FACTORS = 32

    def log_prob(self, value: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            found: Tensor = super().log_prob(value)  # type: ignore[no-untyped-call]
            return found
        pixels = -self.reinterpreted_batch_ndims
        logits, x = self.base_dist.logits.flatten(pixels), value.flatten(pixels)
        size = logits.abs()
        wrong = torch.addcmul(size, logits, 1 - 2 * x).sum(-1)
        products, factors = size.sigmoid_(), 1
        while factors < self.FACTORS and products.shape[-1] % 2 == 0:
            first, second = products.chunk(2, dim=-1)
            products, factors = first * second, 2 * factors
        return products.log_().sum(-1) - 0.5 * wrong


class BernoulliLikelihood(Likelihood):
    """Independent binary pixels with logits l: log p(x|z) = sum x l - log(1 + exp l)."""

    unit_interval = True
    binary = True

    def __init__(self, *, event_shape: tuple[int, ...], projection: Projection) -> None:
        super().__init__(event_shape=event_shape, projection=projection)

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        pixels = Bernoulli(logits=logits, validate_args=False)
        return BinaryImages(pixels, len(self.event_shape), validate_args=False)


class GridLikelihood(Likelihood):
    """A distribution over `levels` grey levels, a number that the program takes from the data."""

    unit_interval = True
    discrete = True

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int, k: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, k=k)
        self.levels = levels


def _logistic(loc: Tensor, raw: Tensor, levels: int) -> DiscretizedLogistic:
    """The discretized logistic with a scale that is computed from `raw`."""
    scales = scale(raw, LEAST_SCALE / (levels - 1), FIRST_SCALE)
    return DiscretizedLogistic(loc, scales, levels, validate_args=False)


class DiscretizedLogisticLikelihood(GridLikelihood):
    """A discretized logistic with its own location and scale for every sub-pixel."""

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, levels=levels, k=2)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = self.split(parameters)
        return self.independent(_logistic(loc, raw, self.levels))


class LogisticMixtureLikelihood(GridLikelihood):
    """A mixture of `components` discretized logistics for every sub-pixel.

    Sub-pixels, including the colours of a pixel, are independent given z, without the
    autoregression over channels of Salimans et al. 2017.
    """

    def __init__(
        self,
        *,
        event_shape: tuple[int, ...],
        projection: Projection,
        levels: int,
        components: Annotated[int, Field(ge=1)] = 5,
    ) -> None:
        k = 3 * components
        super().__init__(event_shape=event_shape, projection=projection, levels=levels, k=k)
        self.components = components

    def forward(self, parameters: Tensor) -> Distribution:
        last = parameters.float().movedim(-1 - len(self.event_shape), -1)
        logits, loc, raw = last.chunk(3, dim=-1)
        weights = Categorical(logits=logits, validate_args=False)
        parts = _logistic(loc, raw, self.levels)
        return self.independent(MixtureSameFamily(weights, parts, validate_args=False))


class CategoricalLikelihood(GridLikelihood):
    """A softmax over the levels for every sub-pixel (van den Oord et al. 2016, section 3.2).

    It ignores the order of levels, and has `levels` parameters per sub-pixel.
    """

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, levels=levels, k=levels)

    def forward(self, parameters: Tensor) -> Distribution:
        logits = parameters.float().movedim(-1 - len(self.event_shape), -1)
        return self.independent(LevelCategorical(logits, validate_args=False))
