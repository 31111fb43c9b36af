"""What the codes know of the images, and how far their whole is from the prior.

Letters: N images, B batch, D latent dimensions, M posteriors of a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_run.data.batches import NOISE_CHUNK
from vae_run.evaluation.base import metric
from vae_run.evaluation.principal_components import wide
from vae_run.models.distributions.kl import kl

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.evaluation.view import View

MOST_IMAGES = 10_000
"""Images of the aggregate posterior at most: the time grows with their square."""
MOST_OTHERS = 2_000
"""The same for a posterior that is no product of normals, whose densities cost more."""


def _conflicts(settings: Settings) -> Iterator[str]:
    """Why the metric cannot exist with these parts."""
    if settings.fixed.latent_dim < 2 and not settings.classes["posterior"].stochastic:
        yield "a single dimension of a deterministic code correlates with nothing."


@metric(conflicts=_conflicts, of_codes=True)
def latent(view: View) -> dict[str, float]:
    """`mutual_information`, `aggregate_gap` and `code_correlation`.

    kl = I_q(x; z) + KL(q(z) || p(z)) (Hoffman & Johnson 2016, "ELBO surgery", eq. 5), in nats,
    with the aggregate posterior q(z) = 1/N sum_n q(z|x_n) over the images of this split: 10,000
    at most, 2,000 where q is no product of normals, evenly spaced. `mutual_information` is the mean
    of log q(z_n|x_n) - log q(z_n), one sample z_n an image with fixed noise, and `aggregate_gap`
    the kl of the same images less that. The bias: N images cannot tell more than log N apart,
    which is 9.2 nats of 10,000. Of all the data the first is a lower bound in expectation, tight
    only where it stays well below log N, and the second an upper bound.

    `code_correlation` in [0, 1]: the absolute correlation of two dimensions of the expected codes
    E_q[z], mean over pairs of dimensions that vary.
    """
    found = correlation(view)
    posterior, prior = view.model.posterior, view.model.prior
    if posterior.stochastic and prior.generative and view.size > 1 and not view.model.conditional:
        most = MOST_IMAGES if posterior.factorised else MOST_OTHERS
        found |= information(replace(view, limit=min(view.size, most)))
    return found


def correlation(view: View) -> dict[str, float]:
    """`code_correlation`; nothing for fewer than two images or varying dimensions."""
    model = view.model
    found = [
        model.posterior.expectation(model.given(b.given).encode(b.input)) for b in view.batches()
    ]
    means = torch.cat(found).cpu().double()
    if len(means) < 2:
        return {}
    scale = means.std(0)
    means = means[:, scale > 1e-6 * scale.max()]
    pairs = means.shape[1] * (means.shape[1] - 1)
    if not pairs:
        return {}
    return {"code_correlation": (float(means.T.corrcoef().abs().sum()) - means.shape[1]) / pairs}


def information(view: View) -> dict[str, float]:
    """`mutual_information` and `aggregate_gap` of the images of `view`, in nats.

    log q(z|x) - log p(z) serves as control variate where the mean of it, the kl, is known exactly.
    """
    model = view.model
    prior = model.latent_prior()
    posteriors, codes = list[Distribution](), list[Tensor]()
    own, ratio, exact = list[Tensor](), list[Tensor](), list[Tensor]()
    for batch in replace(view, batch_size=NOISE_CHUNK).batches():
        q = model.given(batch.given).encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        posteriors.append(q)
        codes.append(z)
        own.append(pairwise(q, z).diagonal())
        ratio.append(own[-1] - wide(prior.log_prob(z)))
        exact.append(wide(kl(q, prior, z)))
    divergence, control = torch.cat(exact).mean(), torch.cat(ratio)
    aggregate = torch.cat([_aggregate(posteriors, z) for z in codes]) - math.log(view.size)
    gained = torch.cat(own) - aggregate
    slope = torch.stack([gained, control]).cov()[0, 1] / control.var().clamp(min=1e-12)
    found = gained.mean() - slope * (control.mean() - divergence)
    return {"mutual_information": float(found), "aggregate_gap": float(divergence - found)}


def _aggregate(posteriors: list[Distribution], z: Tensor) -> Tensor:
    """log sum_n q(z|x_n) of codes z [B, D] over all posteriors, [B]."""
    return torch.stack([pairwise(q, z).logsumexp(1) for q in posteriors]).logsumexp(0)


def pairwise(q: Distribution, z: Tensor) -> Tensor:
    """log q(z_b|x_m) of codes z [B, D] under each of M posteriors, float64 [B, M].

    For products of normals by matrix products: (z - mu)^2 / s^2 is multiplied out, which float64
    can afford.
    """
    if isinstance(q, Independent) and isinstance(q.base_dist, Normal):
        z, loc, scale = wide(z), wide(q.base_dist.loc), wide(q.base_dist.scale)
        precision = scale.square().reciprocal()
        distances = z.square() @ precision.T - 2 * z @ (loc * precision).T
        own = (loc.square() * precision + 2 * scale.log() + math.log(2 * math.pi)).sum(1)
        return -0.5 * (distances + own)
    density: Any = q
    found: Tensor = density.log_prob(z[:, None])
    return wide(found)
