"""Distributions on the unit sphere S^(D-1) of R^D: the uniform one and the von Mises-Fisher.

Letters: K samples, B batch, D latent dimensions, J points of the grid, N nodes of a tail.

A von Mises-Fisher code z has the cosine w = mu.z, whose density is proportional to
exp(kappa w) (1 - w^2)^((D-3)/2) (Davidson et al. 2018, eq. 5). In y = artanh w that is

    exp(kappa (tanh y - 1)) sech(y)^m,  m = D - 1,

which is smooth on the whole line, has its mode at y = asinh(2 kappa / m) / 2 and a width of about
m^(-1/2) whatever kappa is. With y = mode + m^(-1/2) sinh(u) both of its tails end before |u| = 3.7
for every D and kappa, and the trapezoid sum over u converges exponentially: 48 points give the
normaliser, and with it density and KL, to the rounding of float32.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.nn.functional import normalize, softplus

REACH, POINTS, NODES, NEWTON = 3.7, 48, 32, 2
STEP = 2 * REACH / (POINTS - 1)


def log_area(dimensions: int) -> float:
    """log of the area of the unit sphere of R^D: 2 pi^(D/2) / Gamma(D/2)."""
    half = dimensions / 2
    return math.log(2) + half * math.log(math.pi) - math.lgamma(half)


def tail_rule() -> Tensor:
    """Nodes in (0, 1) and log-weights of Gauss and Legendre, [2, N]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.tensor(np.stack([0.5 * (nodes + 1), np.log(0.5 * weights)]), dtype=torch.float32)


def one_less_tanh(y: Tensor) -> Tensor:
    """1 - tanh(y) without cancellation."""
    return 2 * torch.sigmoid(-2 * y)


def below(noise: Tensor) -> Tensor:
    """Phi(noise), exact in the left tail, too, where torch.special.ndtr rounds to 0."""
    return 0.5 * torch.erfc(-noise / math.sqrt(2))


class UniformSphere(Distribution):
    """The uniform density on the unit sphere, of the shape and device of `like` [D]."""

    arg_constraints: ClassVar = {}
    support = constraints.real_vector

    def __init__(self, like: Tensor) -> None:
        self._like = like
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self._like)

    def log_prob(self, value: Tensor) -> Tensor:
        """-log of the area, in nats with respect to it."""
        return torch.full_like(value[..., 0], -log_area(value.shape[-1]))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return normalize(
            torch.randn(shape, dtype=self._like.dtype, device=self._like.device), dim=-1
        )


class VonMisesFisher(Distribution):
    """q(z) = C exp(kappa mu.z) on the unit sphere, with respect to its area; D is 2 at least.

    Args:
        loc: mu, of length 1, [*B, D].
        concentration: kappa >= 0, [*B]; at 0 it is the uniform distribution.
        rule: of `tail_rule`, on the same device.

    `mean` is mu, the mean direction: the code that a decoder of unit vectors knows. The
    expectation, which lies inside the sphere, is `expectation`.
    """

    arg_constraints: ClassVar = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor, rule: Tensor) -> None:
        self.loc, self.concentration, self.rule = loc, concentration, rule
        self._m = loc.shape[-1] - 1
        self._width = 1 / math.sqrt(self._m)
        self._mode = 0.5 * (2 * concentration.detach() / self._m).asinh()
        # Over the grid: the log-density of u, unnormalised, [*B, J]; log of its sum times the
        # step, [*B]; and E[1 - w], [*B].
        like = self._mode
        grid = torch.linspace(-REACH, REACH, POINTS, dtype=like.dtype, device=like.device)
        self._log_points = self._energy(grid.expand(*like.shape, POINTS))
        self._log_sum = self._log_points.logsumexp(-1) + math.log(STEP)
        slack = one_less_tanh(like[..., None] + self._width * grid.sinh())
        self._shortfall = (self._log_points.softmax(-1) * slack).sum(-1)
        # log of the density at mu, where mu.z - 1 is 0.
        self._log_peak = -self._log_sum - math.log(self._width) - log_area(self._m)
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def expectation(self) -> Tensor:
        """E[z] = A(kappa) mu, [*B, D]."""
        inside: Tensor = (1 - self._shortfall)[..., None] * self.loc
        return inside

    def _energy(self, u: Tensor) -> Tensor:
        """log of the unnormalised density of u [*, B, N], the factor m^(-1/2) left out."""
        y = self._mode[..., None] + self._width * u.sinh()
        log_cosh = y.abs() + softplus(-2 * y.abs()) - math.log(2)
        bend = u.cosh().log()  # of the change from y to u
        return -self.concentration[..., None] * one_less_tanh(y) - self._m * log_cosh + bend

    def log_prob(self, value: Tensor) -> Tensor:
        """In nats, with respect to the sphere's area; `value` [*K, B, D] of length 1.

        mu.z - 1 is taken as -|z - mu|^2 / 2, which keeps its digits where kappa is large.
        """
        return self._log_peak - self.concentration * 0.5 * (value - self.loc).square().sum(-1)

    def entropy(self) -> Tensor:
        """In nats, [*B]."""
        return self.concentration * self._shortfall - self._log_peak

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.push(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def push(self, noise: Tensor) -> Tensor:
        """Standard normal `noise` [*K, B, D] turned into samples, differentiable in mu and kappa.

        The first number gives the cosine, by the inverse of its distribution function; the
        direction of the others, which is uniform, the direction around mu.
        """
        y = self._inverse(noise[..., 0])[..., None]
        around = normalize(noise[..., 1:], dim=-1)
        # The shortest rotation of (+-1, 0, ...) to mu, the sign being that of mu's first number.
        first, rest = self.loc[..., :1], self.loc[..., 1:]
        sign = torch.where(first >= 0, 1.0, -1.0).to(first)
        shift = (rest * around).sum(-1, keepdim=True) / (1 + first.abs())
        side = torch.cat([-shift * (first + sign), around - shift * rest], -1)
        return y.tanh() * self.loc + side / y.cosh()

    def _inverse(self, noise: Tensor) -> Tensor:
        """y = artanh w of which as much lies below as of N(0, 1) below `noise`, [*K, B].

        Solved for u by Newton's method on the logarithm of the smaller tail. Only the last step
        is differentiated: that is the implicit derivative dy/dkappa = -(dF/dkappa) / (dF/dy).
        """
        noise = noise.clamp(-6, 6)  # one in 10^9 lies beyond
        side = torch.where(noise < 0, 1.0, -1.0).to(noise)  # the left tail, or the right one
        with torch.no_grad():
            u = self._start(noise)
            for _ in range(NEWTON):
                u = self._newton(u, side, noise)
        return self._mode + self._width * self._newton(u, side, noise).sinh()

    def _start(self, noise: Tensor) -> Tensor:
        """The solution u up to a fraction of the grid's step, from the sums over the grid."""
        mass = self._log_points.softmax(-1)
        from_left = 0.999 * (_climb(mass, below(noise)) - REACH)
        from_right = 0.999 * (REACH - _climb(mass.flip(-1), below(-noise)))
        return torch.where(noise < 0, from_left, from_right)

    def _newton(self, u: Tensor, side: Tensor, noise: Tensor) -> Tensor:
        """One step from u [*K, B] towards log tail(u) = log Phi(-|noise|)."""
        length = REACH + side * u
        nodes, log_weights = self.rule[0], self.rule[1]
        points = side[..., None] * (length[..., None] * nodes - REACH)
        log_tail = (self._energy(points) + log_weights).logsumexp(-1) + length.log() - self._log_sum
        with torch.no_grad():
            log_density = self._energy(u[..., None])[..., 0] - self._log_sum
            slope = (log_tail - log_density).exp()
        moved: Tensor = u - side * slope * (log_tail - below(-noise.abs()).log())
        return moved.clamp(-0.999 * REACH, 0.999 * REACH)


def _climb(mass: Tensor, share: Tensor) -> Tensor:
    """How far from its end the grid's `mass` [*B, J] reaches `share` [*K, B], by linear pieces."""
    below = mass.cumsum(-1) - 0.5 * mass
    rise = (below[..., 1:] - below[..., :-1]).clamp(min=1e-30)
    pieces: Tensor = ((share[..., None] - below[..., :-1]) / rise).clamp(0, 1)
    return STEP * pieces.sum(-1)


def _kl_to_uniform(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    """log area - H(q), in nats, [*B] (Davidson et al. 2018, eq. 14)."""
    return log_area(q.loc.shape[-1]) - q.entropy()


_closed_form: Any = register_kl  # torch leaves it without types
_closed_form(VonMisesFisher, UniformSphere)(_kl_to_uniform)
