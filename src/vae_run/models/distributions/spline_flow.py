"""Neural spline flows from zuko as torch distributions."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Distribution


class FlowDistribution(zuko.distributions.NormalizingFlow):  # type: ignore[misc]
    """The distribution of f(u) for standard normal u [*, D] and an invertible f.

    `mean` is f(0), since the expectation of a flow has no closed form.
    """

    @property
    def mean(self) -> Tensor:
        return self.push(torch.zeros_like(self.base.mean))

    def push(self, noise: Tensor) -> Tensor:
        """f(noise), with `noise` [*K, B, D] standard normal."""
        with torch.autocast(noise.device.type, enabled=False):
            sample: Tensor = self.transform.inv(noise)
        return sample

    def log_prob(self, value: Tensor) -> Tensor:
        """In float32 even under autocast, like `push`, so that f and its inverse agree."""
        with torch.autocast(value.device.type, enabled=False):
            density: Tensor = super().log_prob(value)
        return density


class Spline(zuko.transforms.MonotonicRQSTransform):  # type: ignore[misc]
    """A monotonic rational-quadratic spline on [-5, 5] (Durkan et al. 2019) with a stable inverse.

    In zuko's inverse rounding can make a radicand negative next to a steep knot, which gives NaN.
    """

    def _inverse(self, y: Tensor) -> Tensor:
        k = self.searchsorted(self.vertical, y) - 1
        inside, x0, x1, y0, y1, d0, d1, s = self.bin(k)
        above = inside * (y - y0)
        bend = above * (d0 + d1 - 2 * s)
        a, b, c = (y1 - y0) * (s - d0) + bend, (y1 - y0) * d0 - bend, -s * above
        root = (b.square() - 4 * a * c).clamp(min=1e-12).sqrt()
        x = x0 + 2 * c / (-b - root) * (x1 - x0)
        return torch.where(inside, x, y)


class Flow(nn.Module):
    """A stack of coupling transformations of D dimensions, given F features or none.

    Splines act on [-5, 5] and are the identity outside. `slope`, the minimal derivative at a knot
    (1e-3 in zuko), bounds the growth of rounding errors when a stack is inverted.
    """

    bins, slope = 8, 1e-2

    def __init__(self, latent_dim: int, features: int, transforms: int, hidden: list[int]) -> None:
        super().__init__()
        # Two passes make each transformation a coupling, which is as fast to sample as to evaluate.
        self.layers = zuko.flows.MAF(
            latent_dim,
            features,
            transforms=transforms,
            passes=2,
            univariate=partial(Spline, slope=self.slope),
            shapes=[(self.bins,), (self.bins,), (self.bins - 1,)],
            hidden_features=hidden,
        )

    def forward(self, features: Tensor | None = None) -> Distribution:
        """The flow's distribution: [D], or [B, D] given features [B, F]."""
        plain: Any = self.layers(features)
        return FlowDistribution(plain.transform, plain.base)
