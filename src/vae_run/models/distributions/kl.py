"""What torch.distributions lacks: a point mass, and a KL divergence that falls back to sampling."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    constraints,
    kl_divergence,
    register_kl,
)

from vae_run.errors import ConfigError


class Delta(Distribution):
    """A point mass at `value` [B, D]: the posterior of a deterministic code.

    It has no density, so `log_prob` and every KL divergence from it are undefined.
    """

    arg_constraints: ClassVar = {"value": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, value: Tensor, validate_args: bool | None = None) -> None:
        self.value = value
        super().__init__(value.shape[:-1], value.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.value

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.value)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        return self.value.expand(*sample_shape, *self.value.shape)


class Flat(Distribution):
    """The improper density 1 over all of R^D, of the shape and device of `like` [D]."""

    arg_constraints: ClassVar = {}
    support = constraints.real_vector

    def __init__(self, like: Tensor) -> None:
        self._like = like
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """0: the constant is arbitrary."""
        return torch.zeros_like(value[..., 0])

    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        raise ConfigError(
            "prior=flat is improper: it has no samples. Train with prior=standard_normal, or with "
            "any other prior, to sample."
        )


def _entropy(q: Any) -> Tensor:
    entropy: Tensor = q.entropy()
    return entropy


def _kl_to_flat(q: Independent[Any], p: Flat) -> Tensor:
    """-H(q): the KL up to the constant that a flat prior lacks."""
    return -_entropy(q)


def _kl_full_to_flat(q: MultivariateNormal, p: Flat) -> Tensor:
    return -_entropy(q)


def _kl_full_to_diagonal(q: MultivariateNormal, p: Independent[Any]) -> Tensor:
    """1/2 (tr(P^-1 S) + (m - p)^T P^-1 (m - p) - D + log det P - log det S), P diagonal."""
    if not isinstance(p.base_dist, Normal):
        raise NotImplementedError
    precision = p.base_dist.scale.square().reciprocal()
    trace = (q.scale_tril.square().sum(-1) * precision).sum(-1)
    distance = ((q.mean - p.mean).square() * precision).sum(-1)
    log_det_q = 2 * q.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_det_p = -precision.log().sum(-1)
    kl_sum: Tensor = trace + distance - q.mean.shape[-1] + log_det_p - log_det_q
    return 0.5 * kl_sum


_closed_form: Any = register_kl  # torch leaves it without types
_closed_form(Independent, Flat)(_kl_to_flat)
_closed_form(MultivariateNormal, Flat)(_kl_full_to_flat)
_closed_form(MultivariateNormal, Independent)(_kl_full_to_diagonal)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q_d || p_d) in nats, [B, D], where both are independent normals; None otherwise."""
    if isinstance(q, Independent) and isinstance(p, Independent):
        return kl_divergence(q.base_dist, p.base_dist)
    return None


def kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """KL(q || p) in nats: in closed form where torch knows one, else log q(z) - log p(z).

    Args:
        q: over [B, D].
        p: over [D].
        z: samples of q, [B, D] or [K, B, D]; used only where there is no closed form, where the
            result is a one-sample (or K-sample mean) unbiased estimate.

    Returns:
        Tensor [B].
    """
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        estimate: Tensor = q.log_prob(z) - p.log_prob(z)
        return estimate if z.dim() == 2 else estimate.mean(0)
