"""Likelihoods that are distributions over grey levels.

A grid of L levels is v/(L-1) for v = 0, ..., L-1: 256 of them in 8-bit images, 2 in binary ones.
The data determine L. `log_prob` takes a value at its nearest level.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), L levels, M components.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily
from torch.nn.functional import logsigmoid

from vae_run.models.distributions.grid import DiscretizedLogistic, LevelCategorical
from vae_run.models.likelihoods.base import (
    MEANS,
    Likelihood,
    LogProb,
    Projection,
    scale,
    start_of,
)

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

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        return mean.clamp(*MEANS).logit()[None]

    def forward(self, parameters: Tensor) -> Distribution:
        (logits,) = self.split(parameters)
        pixels = Bernoulli(logits=logits, validate_args=False)
        return BinaryImages(pixels, len(self.event_shape), validate_args=False)

    def log_prob_of(self, x: Tensor) -> LogProb:
        match self.projection:
            case nn.Sequential() as layers if len(layers) == 2:
                last, shaped = layers
                if isinstance(last, nn.Linear) and isinstance(shaped, nn.Unflatten):
                    return LinearBernoulli(last, x.flatten(1).to(last.weight))
        return super().log_prob_of(x)


class LinearBernoulli:
    """log p(x|h) of binary images x [B, P] whose logits are linear, l = W h + b: W [P, F], b [P].

    With a sign s it is y l + sum log sigmoid(s l), where y is x for s = -1 and x - 1 for s = 1. The
    first term is (W^T y) h + y b, for which no logits are needed. The second is computed as
    logarithms of products of `FACTORS` pixels. s is such that most factors are near 1: black pixels
    have negative logits, white ones positive. Where a product comes near the least float32 number
    all the same, the logarithms are computed one by one.

    Letters: N = *K B codes, P pixels, F features.
    """

    FACTORS = 4
    LEAST = 1e-30
    """Smallest product: below 1.2e-38 numbers lose digits, or are zero."""

    def __init__(self, layer: nn.Linear, x: Tensor) -> None:
        bias = torch.zeros_like(x[0]) if layer.bias is None else layer.bias
        self.sign = 1.0 if x.mean() > 0.5 else -1.0
        y = x - 1 if self.sign > 0 else x
        self.weight, self.bias = (self.sign * layer.weight).T.contiguous(), self.sign * bias
        self.of_features, self.constant = y @ layer.weight, y @ bias
        self.factors = math.gcd(self.FACTORS, x.shape[1])

    def __call__(self, features: Tensor, shape: torch.Size) -> Tensor:
        """[*K, B] of the decoder's features [N, F]; `shape` is [*K, B]."""
        sigmoids = torch.addmm(self.bias, features, self.weight).sigmoid_()
        products = sigmoids.view(len(sigmoids), self.factors, -1).prod(-2)
        if (products < self.LEAST).any():
            normalisers = logsigmoid(torch.addmm(self.bias, features, self.weight)).sum(-1)
        else:
            normalisers = products.log_().sum(-1)
        linear = (features.reshape(*shape, -1) * self.of_features).sum(-1)
        return linear + self.constant + normalisers.view(shape)


class GridLikelihood(Likelihood):
    """A distribution over `levels` grey levels, a number that the program takes from the data."""

    unit_interval = True
    discrete = True
    single = False

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int, k: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, k=k)
        self.levels = levels


def _start(deviation: float, levels: int) -> float:
    """The argument `raw` of a logistic with that standard deviation, pi / sqrt(3) of its scale."""
    return start_of(deviation * math.sqrt(3) / math.pi, LEAST_SCALE / (levels - 1), FIRST_SCALE)


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

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        return torch.stack([mean, torch.full_like(mean, _start(deviation, self.levels))])

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

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        """Components at equal distances, from one deviation below the mean to one above."""
        shape = (self.components, *[1] * mean.dim())
        places = torch.linspace(-1, 1, self.components) if self.components > 1 else torch.zeros(1)
        loc = mean + deviation * places.to(mean).reshape(shape)
        raw = torch.full_like(loc, _start(deviation / self.components**0.5, self.levels))
        return torch.cat([torch.zeros_like(loc), loc, raw])

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

    def start(self, mean: Tensor, deviation: float) -> Tensor:
        """The shape of a normal distribution over the levels."""
        grid = torch.linspace(0, 1, self.levels).to(mean).reshape(-1, *[1] * mean.dim())
        return -0.5 * ((grid - mean) / max(deviation, 1 / self.levels)).square()

    def forward(self, parameters: Tensor) -> Distribution:
        logits = parameters.float().movedim(-1 - len(self.event_shape), -1)
        return self.independent(LevelCategorical(logits, validate_args=False))
