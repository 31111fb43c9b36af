"""Likelihoods that give every grey level a probability.

A grid of L levels is v/(L-1) for v = 0, ..., L-1: 256 of them in 8-bit images, 2 in binary ones.
How many there are is told by the data. `log_prob` takes a value at its nearest level.

Letters: K samples, B batch, E event shape (C, H, W) or (F,), L levels, M components.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    constraints,
)
from torch.nn.functional import logsigmoid, softplus

from vae_run.models.likelihoods.base import Likelihood, Projection, scale

LEAST_SCALE = 0.1
"""Of a logistic, in steps of the grid: about Salimans et al.'s exp(-7) for 8-bit images."""
FIRST_SCALE = 0.2
"""Of a logistic at the start of a training, in pixels in [0, 1]."""


class BinaryImages(Independent[Bernoulli]):
    """Independent Bernoulli pixels, whose log-density is cheap where nobody asks for its gradient.

    There it is sum log s(|l|) - 1/2 sum (|l| + (1 - 2x) l) with s the sigmoid and l the logits:
    the second term is 0 where the sign of l tells x. The first is the logarithm of a product of up
    to `FACTORS` pixels at a time, each in [1/2, 1], so that few logarithms are taken. With a
    gradient torch's own cross-entropy is the faster one, whose backward pass is a single formula.
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
    """Probabilities of `levels` grey levels, which the program fills in from the data."""

    unit_interval = True
    discrete = True

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int, k: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, k=k)
        self.levels = levels


class Grid(constraints.Constraint):
    """The values v/top for v = 0, ..., top, up to rounding."""

    is_discrete = True

    def __init__(self, top: int) -> None:
        self.top = top
        super().__init__()

    def check(self, value: Any) -> Any:
        v = value * self.top
        return (v >= 0) & (v <= self.top) & ((v - v.round()).abs() < 1e-3)


class LevelCategorical(Distribution):
    """A probability for each of L levels, softmax(logits), with logits [..., L]."""

    arg_constraints: ClassVar = {}

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.top = logits.shape[-1] - 1
        self.indices = Categorical(logits=logits, validate_args=False)
        super().__init__(logits.shape[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Grid:
        return Grid(self.top)

    @property
    def mean(self) -> Tensor:
        levels = torch.arange(self.top + 1, device=self.indices.logits.device) / self.top
        return self.indices.probs @ levels

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        index: Tensor = self.indices.sample(torch.Size(sample_shape))  # type: ignore[no-untyped-call]
        return index / self.top

    def log_prob(self, value: Tensor) -> Tensor:
        index = (value * self.top).round().clamp(0, self.top)
        found: Tensor = self.indices.log_prob(index)  # type: ignore[no-untyped-call]
        return found


class DiscretizedLogistic(Distribution):
    """A logistic variable rounded to the nearest of `levels` levels; what lies beyond the first
    or last falls to it, so that probabilities sum to 1 (Salimans et al. 2017, section 2.1).

    With s the scale and [a, b] the bin of a level, both in units of a step of the grid,
    log(sigmoid(b/s) - sigmoid(a/s)) = log sigmoid(b/s) + log sigmoid(-a/s) + log(1 - exp(-1/s)),
    where no digit cancels.
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    window = 25
    """Levels around loc beyond which, at a scale of at most a step, P(v > j) is 0 or 1."""

    def __init__(
        self, loc: Tensor, scale: Tensor, levels: int, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.top = loc, scale, levels - 1
        super().__init__(loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Grid:
        return Grid(self.top)

    @property
    def mean(self) -> Tensor:
        """sum_j P(v > j) / top over j = 0, ..., top - 1, to 1e-4 of a step."""
        s, top = self.scale * self.top, self.top
        upper = self.loc > 0.5  # is mirrored into the lower half, where nothing cancels
        m = top * torch.where(upper, 1 - self.loc, self.loc)
        total = self._summed(m, s)
        if top > self.window:
            total = torch.where(s > 1, self._integrated(m, s), total)
        return torch.where(upper, top - total, total) / top

    def _summed(self, m: Tensor, s: Tensor) -> Tensor:
        """The sum over a window around m, which is all of it where s <= 1 or the grid is short."""
        first = (m.floor() - self.window // 2).clamp(0, max(0, self.top - self.window))
        total = first
        for j in range(min(self.window, self.top)):
            total = total + torch.sigmoid((m - first - (j + 0.5)) / s)
        return total

    def _integrated(self, m: Tensor, s: Tensor) -> Tensor:
        """The sum by Euler and Maclaurin: the integral over [0, top], and the slopes at its ends.

        The integral is s (softplus(a) - softplus(b)) = s log(1 + sigmoid(b) (exp(a - b) - 1)).
        """
        a, b, span = m / s, (m - self.top) / s, self.top / s
        flat = torch.log1p(torch.sigmoid(b) * torch.expm1(span.clamp(max=1)))
        integral = s * torch.where(span < 1, flat, softplus(a) - softplus(b))
        slopes = [torch.sigmoid(t) * torch.sigmoid(-t) for t in (a, b)]
        return integral + (slopes[1] - slopes[0]) / (24 * s)

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        with torch.no_grad():
            uniform = torch.rand(
                self._extended_shape(torch.Size(sample_shape)),
                dtype=self.loc.dtype,
                device=self.loc.device,
            )
            value = self.loc + self.scale * uniform.logit()
            return (value * self.top).round().clamp(0, self.top) / self.top

    def log_prob(self, value: Tensor) -> Tensor:
        m, s, top = self.loc * self.top, self.scale * self.top, self.top
        v = (value * top).round()
        below_upper_edge = logsigmoid((v + 0.5 - m) / s)
        above_lower_edge = logsigmoid((m - (v - 0.5)) / s)
        inside = below_upper_edge + above_lower_edge + (-torch.expm1(-1 / s)).log()
        upwards = torch.where(v >= top, above_lower_edge, inside)
        return torch.where(v <= 0, below_upper_edge, upwards)


def _logistic(loc: Tensor, raw: Tensor, levels: int) -> DiscretizedLogistic:
    """With the scale that `raw` stands for."""
    scales = scale(raw, LEAST_SCALE / (levels - 1), FIRST_SCALE)
    return DiscretizedLogistic(loc, scales, levels, validate_args=False)


class DiscretizedLogisticLikelihood(GridLikelihood):
    """A discretized logistic for every sub-pixel, with its own location and scale."""

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, levels=levels, k=2)

    def forward(self, parameters: Tensor) -> Distribution:
        loc, raw = self.split(parameters)
        return self.independent(_logistic(loc, raw, self.levels))


class LogisticMixtureLikelihood(GridLikelihood):
    """A mixture of `components` discretized logistics for every sub-pixel.

    Sub-pixels, and so the colours of a pixel, are independent given z: the autoregression over
    channels of Salimans et al. 2017 is left out.
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
    """One softmax over the levels for every sub-pixel (van den Oord et al. 2016, section 3.2).

    It knows no order among levels, and asks the decoder for `levels` numbers a sub-pixel.
    """

    def __init__(
        self, *, event_shape: tuple[int, ...], projection: Projection, levels: int
    ) -> None:
        super().__init__(event_shape=event_shape, projection=projection, levels=levels, k=levels)

    def forward(self, parameters: Tensor) -> Distribution:
        logits = parameters.float().movedim(-1 - len(self.event_shape), -1)
        return self.independent(LevelCategorical(logits, validate_args=False))
