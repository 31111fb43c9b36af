"""What torch.distributions lacks: a point mass, and a KL divergence that falls back to sampling."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, constraints, kl_divergence


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
