"""Normalising flows as torch distributions: splines and affine ones from zuko, and planar ones."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.errors import ConfigError
from vae_run.models.distributions.flow_kind import FlowKind
from vae_run.models.distributions.planar_flow import PlanarFlow, PlanarTransform

LARGEST_MASK = 2**26
"""Entries at most of the masks that let an output see only some inputs: 8,192 by 8,192."""


class FlowDistribution(zuko.distributions.NormalizingFlow):  # type: ignore[misc]
    """The distribution of f(u) for standard normal u [*, D] and an invertible f.

    `mean` is f(0), since the expectation of a flow has no closed form. With `remembers` the density
    of the samples that were pushed last is known from their noise, so that f is not inverted for
    them: its inverse takes D passes of an inverse autoregressive flow.
    """

    def __init__(self, transform: Any, base: Any, *, remembers: bool = False) -> None:
        super().__init__(transform, base)
        self.remembers = remembers
        self.pushed: tuple[Tensor, Tensor] | None = None

    @property
    def mean(self) -> Tensor:
        return self.push(torch.zeros_like(self.base.mean))

    def push(self, noise: Tensor) -> Tensor:
        """f(noise), with `noise` [*K, B, D] standard normal."""
        sample: Tensor
        with torch.autocast(noise.device.type, enabled=False):
            if not self.remembers:
                sample = self.transform.inv(noise)
                return sample
            sample, ladj = self.transform.inv.call_and_ladj(noise)
            self.pushed = sample, self.base.log_prob(noise) - ladj
        return sample

    def log_prob(self, value: Tensor) -> Tensor:
        """In float32 even under autocast, like `push`, so that f and its inverse agree."""
        if self.pushed is not None and value is self.pushed[0]:
            return self.pushed[1]
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
    """An invertible map between noise and codes of D dimensions, given F features or none.

    `kind` is one of

    - spline: coupling layers of splines, which act on [-5, 5] and are the identity outside. Both
      directions take one pass each. `slope`, the minimal derivative at a knot (1e-3 in zuko),
      bounds the growth of rounding errors when a stack is inverted.
    - maf: u_i = (z_i - shift(z_<i)) / scale(z_<i) (Papamakarios et al. 2017): densities take one
      pass, samples D.
    - iaf: z_i = shift(u_<i) + scale(u_<i) u_i (Kingma et al. 2016), the inverse of the former:
      samples take one pass, densities of codes from elsewhere D. Given features, noise is first
      shifted and scaled by a linear map of them, as in the paper's algorithm 1.
    - planar: z + u tanh(w.z + b) (`PlanarFlow`): samples in one pass, densities of codes from
      elsewhere by a numerical inverse.
    """

    bins, slope = 8, 1e-2

    def __init__(
        self,
        latent_dim: int,
        features: int,
        transforms: int,
        hidden: list[int],
        kind: FlowKind = "spline",
    ) -> None:
        super().__init__()
        self.kind = kind
        if kind == "planar":
            self.layers = PlanarFlow(latent_dim, features, transforms)
            return
        if max(latent_dim, *hidden) ** 2 > LARGEST_MASK:
            raise ConfigError(
                f"a flow of {latent_dim} dimensions with layers of {hidden}: expected at most "
                f"{math.isqrt(LARGEST_MASK):,} in each."
            )
        # Two passes make each transformation a coupling, which is as fast to sample as to evaluate.
        affine = partial(zuko.transforms.MonotonicAffineTransform, slope=self.slope)
        spline = partial(Spline, slope=self.slope)
        splines = kind == "spline"
        self.layers = zuko.flows.MAF(
            latent_dim,
            features,
            transforms=transforms,
            passes=2 if splines else None,
            univariate=spline if splines else affine,
            shapes=[(self.bins,), (self.bins,), (self.bins - 1,)] if splines else [(), ()],
            hidden_features=hidden,
        )
        if kind == "iaf" and features:
            self.first = nn.Linear(features, 2 * latent_dim)

    def forward(self, features: Tensor | None = None) -> Distribution:
        """The flow's distribution: [D], or [B, D] given features [B, F]."""
        plain: Any = self.layers(features)
        transform = plain.transform
        if self.kind == "iaf" and features is not None:
            loc, log_variance = self.first(features).float().chunk(2, dim=-1)
            scaled = PlanarTransform(loc, 0.5 * log_variance, [])
            transform = zuko.transforms.ComposedTransform(scaled, transform)
        transform = transform.inv if self.kind == "iaf" else transform
        return FlowDistribution(transform, plain.base, remembers=self.kind in ("iaf", "planar"))
