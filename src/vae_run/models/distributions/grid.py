"""Distributions over the L levels v/(L-1), v = 0, ..., L-1, that pixels are quantised to.

`log_prob` rounds a value to its nearest level. Letters: L levels.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints
from torch.nn.functional import logsigmoid, softplus


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
    """A logistic variable rounded to the nearest of `levels` levels, where the first and last level
    take the tails, so that probabilities sum to 1 (Salimans et al. 2017, section 2.1).

    With the scale s and the bin [a, b] of a level relative to the location, in grid steps,
    log(sigmoid(b/s) - sigmoid(a/s)) = log sigmoid(b/s) + log sigmoid(-a/s) + log(1 - exp(-1/s)),
    which has no cancellation.
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    window = 25
    """Number of levels around loc outside of which P(v > j) is 0 or 1, for scales up to a step."""

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
        """sum_j P(v > j) / top over j = 0, ..., top - 1, accurate to 1e-4 of a step."""
        s, top = self.scale * self.top, self.top
        upper = self.loc > 0.5  # mirrored to the lower half, where there is no cancellation
        m = top * torch.where(upper, 1 - self.loc, self.loc)
        total = self._summed(m, s)
        if top > self.window:
            total = torch.where(s > 1, self._integrated(m, s), total)
        return torch.where(upper, top - total, total) / top

    def _summed(self, m: Tensor, s: Tensor) -> Tensor:
        """The sum over a window around m, exact for s <= 1 or short grids."""
        first = (m.floor() - self.window // 2).clamp(0, max(0, self.top - self.window))
        total = first
        for j in range(min(self.window, self.top)):
            total = total + torch.sigmoid((m - first - (j + 0.5)) / s)
        return total

    def _integrated(self, m: Tensor, s: Tensor) -> Tensor:
        """The sum by the Euler-Maclaurin formula: the integral over [0, top], and end slopes.

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
