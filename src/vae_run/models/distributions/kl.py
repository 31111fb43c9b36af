"""KL divergences in nats: closed forms that torch lacks, and a sampled one for the others.

Letters: K samples, B batch, D latent dimensions.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
    register_kl,
)

from vae_run.models.distributions.flat import Flat
from vae_run.models.distributions.layered import LayeredNormal


def _entropy(q: Any) -> Tensor:
    entropy: Tensor = q.entropy()
    return entropy


def _kl_to_flat(q: Independent[Any], p: Flat) -> Tensor:
    """-H(q): the KL up to an arbitrary constant."""
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


_closed_form: Any = register_kl  # torch has no annotations for it
_closed_form(Independent, Flat)(_kl_to_flat)
_closed_form(MultivariateNormal, Flat)(_kl_full_to_flat)
_closed_form(MultivariateNormal, Independent)(_kl_full_to_diagonal)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor | None:
    """KL(q_d || p_d) in nats, [B, D], if q and p are products over dimensions; otherwise None."""
    if isinstance(q, Independent) and isinstance(p, Independent):
        return kl_divergence(q.base_dist, p.base_dist)
    return None


def kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """KL(q || p) in nats: in closed form if one is registered, else log q(z) - log p(z).

    Of two chains of layers drawn in the same order, it is closed layer by layer, given z.

    Args:
        q: over [B, D].
        p: over [D].
        z: samples of q, [B, D] or [K, B, D], used only without a closed form; the result is then
            an unbiased estimate from one sample, or the mean over K samples.

    Returns:
        Tensor [B].
    """
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        estimate: Tensor
        if isinstance(q, LayeredNormal) and isinstance(p, LayeredNormal) and q.upward == p.upward:
            estimate = q.kl(p, z)
        else:
            estimate = q.log_prob(z) - p.log_prob(z)
        return estimate if z.dim() == 2 else estimate.mean(0)
