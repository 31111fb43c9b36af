"""Distributions on the unit sphere S^(D-1) of R^D: uniform and von Mises-Fisher.

Letters: K samples, B batch, D latent dimensions, J grid points, N quadrature nodes of a tail.

A von Mises-Fisher code z has the cosine w = mu.z, whose density is proportional to
exp(kappa w) (1 - w^2)^((D-3)/2) (Davidson et al. 2018, eq. 5). In y = artanh w that is

    exp(kappa (tanh y - 1)) sech(y)^m,  m = D - 1,

which is smooth on the real line, has its mode at y = asinh(2 kappa / m) / 2 and a width of about
m^(-1/2) for every kappa. With y = mode + m^(-1/2) sinh(u) both tails are negligible beyond
|u| = 3.7 for every D and kappa, and the trapezoidal rule in u converges exponentially: 48 points
give the normaliser, and so density and KL, to float32 precision.
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
    """Nodes in (0, 1) and log-weights of Gauss-Legendre quadrature, [2, N]."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.tensor(np.stack([0.5 * (nodes + 1), np.log(0.5 * weights)]), dtype=torch.float32)


def one_less_tanh(y: Tensor) -> Tensor:
    """1 - tanh(y) without cancellation."""
    return 2 * torch.sigmoid(-2 * y)


def below(noise: Tensor) -> Tensor:
    """Phi(noise), accurate also in the left tail, where torch.special.ndtr rounds to 0."""
    return 0.5 * torch.erfc(-noise / math.sqrt(2))


class UniformSphere(Distribution):
    """The uniform density on the unit sphere, with the shape and device of `like` [D]."""

    arg_constraints: ClassVar = {}
    support = constraints.real_vector

    def __init__(self, like: Tensor) -> None:
        self._like = like
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self._like)

    def log_prob(self, value: Tensor) -> Tensor:
        """-log of the area, the log-density with respect to surface area."""
        return torch.full_like(value[..., 0], -log_area(value.shape[-1]))

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return normalize(
            torch.randn(shape, dtype=self._like.dtype, device=self._like.device), dim=-1
        )


class VonMisesFisher(Distribution):
    """q(z) = C exp(kappa mu.z) on the unit sphere, with respect to surface area; D >= 2.

    Args:
        loc: mu, of norm 1, [*B, D].
        concentration: kappa >= 0, [*B]; 0 gives the uniform distribution.
        rule: the result of `tail_rule`, on the same device.

    `mean` is mu, the mean direction, since decoders are trained on unit vectors. E[z], which lies
    inside the sphere, is `expectation`.
    """

    arg_constraints: ClassVar = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, concentration: Tensor, rule: Tensor) -> None:
        self.loc, self.concentration, self.rule = loc, concentration, rule
        self._m = loc.shape[-1] - 1
        self._width = 1 / math.sqrt(self._m)
        self._mode = 0.5 * (2 * concentration.detach() / self._m).asinh()
        # On the grid: the unnormalised log-density of u, [*B, J]; the log of its integral, [*B];
        # and E[1 - w], [*B].
        like = self._mode
        grid = torch.linspace(-REACH, REACH, POINTS, dtype=like.dtype, device=like.device)
        self._log_points = self._energy(grid.expand(*like.shape, POINTS))
        self._log_sum = self._log_points.logsumexp(-1) + math.log(STEP)
        slack = one_less_tanh(like[..., None] + self._width * grid.sinh())
        self._shortfall = (self._log_points.softmax(-1) * slack).sum(-1)
        # The log-density at z = mu.
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
        """Unnormalised log-density of u [*, B, N], without the factor m^(-1/2)."""
        y = self._mode[..., None] + self._width * u.sinh()
        log_cosh = y.abs() + softplus(-2 * y.abs()) - math.log(2)
        jacobian = u.cosh().log()  # of y as a function of u
        return -self.concentration[..., None] * one_less_tanh(y) - self._m * log_cosh + jacobian

    def log_prob(self, value: Tensor) -> Tensor:
        """In nats, with respect to surface area, for `value` [*K, B, D] of norm 1.

        mu.z - 1 is computed as -|z - mu|^2 / 2, which is accurate for large kappa.
        """
        return self._log_peak - self.concentration * 0.5 * (value - self.loc).square().sum(-1)

    def entropy(self) -> Tensor:
        """In nats, [*B]."""
        return self.concentration * self._shortfall - self._log_peak

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.push(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def push(self, noise: Tensor) -> Tensor:
        """Transform standard normal `noise` [*K, B, D] to samples, differentiable in mu and kappa.

        The first entry determines the cosine, by its inverse distribution function; the direction
        of the others, which is uniform, determines the direction orthogonal to mu.
        """
        y = self._inverse(noise[..., 0])[..., None]
        around = normalize(noise[..., 1:], dim=-1)
        # The shortest rotation of (+-1, 0, ...) to mu, with the sign of mu's first entry.
        first, rest = self.loc[..., :1], self.loc[..., 1:]
        sign = torch.where(first >= 0, 1.0, -1.0).to(first)
        shift = (rest * around).sum(-1, keepdim=True) / (1 + first.abs())
        side = torch.cat([-shift * (first + sign), around - shift * rest], -1)
        return y.tanh() * self.loc + side / y.cosh()

    def _inverse(self, noise: Tensor) -> Tensor:
        """The quantile y = artanh w at probability Phi(`noise`), [*K, B].

        Solved for u by Newton's method on the logarithm of the smaller tail. Only the last step
        is differentiated, which is the implicit derivative dy/dkappa = -(dF/dkappa) / (dF/dy).
        """
        noise = noise.clamp(-6, 6)  # exceeded with probability 2e-9
        side = torch.where(noise < 0, 1.0, -1.0).to(noise)  # the left tail, or the right one
        with torch.no_grad():
            u = self._start(noise)
            for _ in range(NEWTON):
                u = self._newton(u, side, noise)
        return self._mode + self._width * self._newton(u, side, noise).sinh()

    def _start(self, noise: Tensor) -> Tensor:
        """The solution u up to a fraction of a grid step, by cumulative sums over the grid."""
        mass = self._log_points.softmax(-1)
        from_left = 0.999 * (_climb(mass, below(noise)) - REACH)
        from_right = 0.999 * (REACH - _climb(mass.flip(-1), below(-noise)))
        return torch.where(noise < 0, from_left, from_right)

    def _newton(self, u: Tensor, side: Tensor, noise: Tensor) -> Tensor:
        """One Newton step from u [*K, B] towards log tail(u) = log Phi(-|noise|)."""
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
    """Distance from the grid's end where `mass` [*B, J] sums to `share` [*K, B], interpolated."""
    below = mass.cumsum(-1) - 0.5 * mass
    rise = (below[..., 1:] - below[..., :-1]).clamp(min=1e-30)
    pieces: Tensor = ((share[..., None] - below[..., :-1]) / rise).clamp(0, 1)
    return STEP * pieces.sum(-1)


def _kl_to_uniform(q: VonMisesFisher, p: UniformSphere) -> Tensor:
    """log area - H(q), in nats, [*B] (Davidson et al. 2018, eq. 14)."""
    return log_area(q.loc.shape[-1]) - q.entropy()


_closed_form: Any = register_kl  # torch has no annotations for it
_closed_form(VonMisesFisher, UniformSphere)(_kl_to_uniform)
