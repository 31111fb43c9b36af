"""Planar flows (Rezende & Mohamed 2015, section 4.1), with a numerical inverse.

Letters: K samples, B batch, D latent dimensions, F features, T transformations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, Transform, constraints
from torch.nn.functional import softplus

HALVINGS = 40
"""Bisections of an interval of length 2 |w.u|, after which float32 knows no smaller one."""


@dataclass(frozen=True)
class Plane:
    """f(z) = z + u tanh(w.z + b) for w, u [*, D] and b [*, 1], made invertible.

    u is moved along w so that w.u = `slope` = softplus(w.u) - 1 > -1 (appendix A.1), here with
    1e-3 to spare for rounding.
    """

    w: Tensor
    u: Tensor
    b: Tensor
    slope: Tensor

    @classmethod
    def of(cls, w: Tensor, u: Tensor, b: Tensor) -> Plane:
        before = (w * u).sum(-1, keepdim=True)
        length = w.square().sum(-1, keepdim=True) + 1e-6
        moved = u + (softplus(before) + 1e-3 - 1 - before) * w / length
        return cls(w, moved, b, (w * moved).sum(-1, keepdim=True))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """f(z) and log |det df/dz| = log(1 + (1 - tanh^2) w.u), [*]."""
        bend = torch.tanh((self.w * z).sum(-1, keepdim=True) + self.b)
        return z + self.u * bend, torch.log1p((1 - bend.square()) * self.slope).squeeze(-1)

    def inverse(self, y: Tensor) -> Tensor:
        """The z with f(z) = y: a = w.z solves the scalar equation a + w.u tanh(a + b) = w.y.

        Its left side rises with a, so bisection finds the root; one step of Newton's method from
        there has the root's derivatives.
        """
        target = (self.w * y).sum(-1, keepdim=True)
        root = self._root(target.detach(), self.slope.detach(), self.b.detach())
        bend = torch.tanh(root + self.b)
        rise = (1 + (1 - bend.square()) * self.slope).detach()
        root = root - (root + self.slope * bend - target) / rise
        return y - self.u * torch.tanh(root + self.b)

    @staticmethod
    def _root(target: Tensor, slope: Tensor, b: Tensor) -> Tensor:
        """The root to within rounding, without derivatives."""
        low, high = target - slope.abs(), target + slope.abs()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            below = middle + slope * torch.tanh(middle + b) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


class PlanarTransform(Transform):
    """u -> loc + scale u, followed by planes: from noise [*, D] to codes."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, loc: Tensor, log_scale: Tensor, planes: list[Plane]) -> None:
        super().__init__()
        self.loc, self.log_scale, self.planes = loc, log_scale, planes

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The codes, and log |det| of the Jacobian, [*]."""
        z, ladj = self.loc + self.log_scale.exp() * x, self.log_scale.sum(-1)
        for plane in self.planes:
            z, more = plane.forward(z)
            ladj = ladj + more
        return z, ladj.expand(z.shape[:-1])

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        for plane in reversed(self.planes):
            y = plane.inverse(y)
        return (y - self.loc) * (-self.log_scale).exp()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]


@dataclass(frozen=True)
class Pushed:
    """A base distribution and the transformation from codes back to its samples."""

    transform: Transform
    base: Any


class PlanarFlow(nn.Module):
    """T planes after a scaling, linear in F features as in the paper, or free parameters."""

    def __init__(self, latent_dim: int, features: int, transforms: int) -> None:
        super().__init__()
        self.sizes = [latent_dim, latent_dim, *[latent_dim, latent_dim, 1] * transforms]
        self.free = None if features else nn.Parameter(torch.zeros(sum(self.sizes)))
        self.network = nn.Linear(features, sum(self.sizes)) if features else None
        self.reset(None, self.free if self.network is None else self.network.bias)

    @torch.no_grad()
    def reset(self, generator: torch.Generator | None, values: Tensor | None = None) -> None:
        """Set parameters, or biases, so that f is the identity with planes in random directions."""
        values = self.free if values is None else values
        assert values is not None
        parts = torch.split(values.zero_(), self.sizes)
        for w in parts[2::3]:
            w.copy_(torch.randn(w.shape, generator=generator) / math.sqrt(len(w)))

    def forward(self, features: Tensor | None = None) -> Pushed:
        """The flow's parts, for codes [D], or [B, D] given features [B, F]."""
        # In float32 also under autocast: rounding would undo what keeps the planes invertible.
        values: Any = self.free if self.network is None else self.network(features).float()
        loc, log_scale, *planes = torch.split(values, self.sizes, dim=-1)
        layers = [Plane.of(*planes[i : i + 3]) for i in range(0, len(planes), 3)]
        base = Normal(torch.zeros_like(loc), torch.ones_like(loc), validate_args=False)
        flow = PlanarTransform(loc, log_scale, layers)
        return Pushed(flow.inv, Independent(base, 1, validate_args=False))
