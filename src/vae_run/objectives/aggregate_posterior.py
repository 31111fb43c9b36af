"""Objectives on the aggregate posterior q(z) = 1/N sum_n q(z|x_n), estimated from the batch.

Their losses depend on the batch: on val and test its size is `evaluation.batch_size`.
Letters: B batch, D latent dimensions, N training images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal

from vae_run.data.batches import Batch
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives.base import (
    Bound,
    Epoch,
    NonNegative,
    Objective,
    Terms,
    elbo_terms,
    unless_factorised,
)

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


def stratified_log_weights(batch: int, train: int, like: Tensor) -> Tensor:
    """log W [B, B] of minibatch stratified sampling (Chen et al. 2018, appendix C.2).

    Row i has the weights of q(z_i|x_j): 1/N on the diagonal, for the image of z_i, and
    (N - 1) / (N (B - 1)) for each other image. Chen et al. give the weight of the images outside
    the batch to one of the others; this is the average of their estimate over that choice, so it
    has the same mean, less variance, does not depend on the order, and is exact for B = N.
    """
    if batch == 1:
        return torch.zeros(1, 1, dtype=like.dtype, device=like.device)
    own = torch.eye(batch, dtype=like.dtype, device=like.device)
    return (own / train + (1 - own) * (train - 1) / (train * (batch - 1))).log()


def total_correlation_terms(
    q: Distribution, p: Distribution, z: Tensor, train: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Index-code mutual information, total correlation and dimension-wise KL, each [B].

    They sum to log q(z|x) - log p(z), the sampled KL, for any estimate of q(z) (Chen et al.
    2018, eq. 2).
    """
    assert isinstance(q, Independent)
    assert isinstance(p, Independent)
    # torch has no annotations for these
    whole: Any = q
    whole_prior: Any = p
    each: Tensor = whole.base_dist.log_prob(z[:, None])  # [i, j, d] is log q(z_i,d | x_j)
    log_w = stratified_log_weights(len(z), train, z)
    joint = torch.logsumexp(log_w + each.sum(-1), dim=1)
    product = torch.logsumexp(log_w[..., None] + each, dim=1).sum(-1)
    return (whole.log_prob(z) - joint, joint - product, product - whole_prior.log_prob(z))


@dataclass(kw_only=True)
class BetaTC(Bound):
    """The ELBO with its KL in three parts, each with a weight (Chen et al. 2018, eq. 4).

    loss = -E_q log p(x|z) + alpha MI + beta TC + gamma KL_dimensions; if all are 1, it is the ELBO
    with a sampled KL. `total_correlation` and `mutual_information` are reported too.
    """

    shares_batches: ClassVar[bool] = False
    least_batch: ClassVar[int] = 2
    batched: ClassVar[tuple[str, ...]] = ("alpha", "beta", "gamma")
    train_size: int
    alpha: NonNegative = 1.0
    beta: NonNegative = 6.0
    gamma: NonNegative = 1.0

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q, z, reconstruction, divergence = elbo_terms(model, batch)
        p = model.latent_prior()
        information, correlation, dimensions = total_correlation_terms(q, p, z, self.train_size)
        penalty = self.alpha * information + self.beta * correlation + self.gamma * dimensions
        return {
            "loss": reconstruction + penalty,
            "reconstruction": reconstruction,
            "kl": divergence,
            "mutual_information": information,
            "total_correlation": correlation,
        }

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        yield from unless_factorised(settings, "beta_tc")


@dataclass(kw_only=True)
class DIP(Bound):
    """The ELBO with a penalty that draws the covariance of codes to I (Kumar et al. 2018).

    `kind` 1 uses the covariance of the means E_q[z|x], 2 that of z, which adds the mean covariance
    of the posteriors. `off_diagonal` is the weight of squared off-diagonal entries, `diagonal` that
    of squared differences of diagonal entries from 1.
    """

    shares_batches: ClassVar[bool] = False
    least_batch: ClassVar[int] = 2
    batched: ClassVar[tuple[str, ...]] = ("off_diagonal", "diagonal")
    kind: Literal[1, 2] = 2
    off_diagonal: NonNegative = 10.0
    diagonal: NonNegative = 10.0

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q, _, reconstruction, divergence = elbo_terms(model, batch)
        centred = q.mean - q.mean.mean(0)
        with torch.autocast(centred.device.type, enabled=False):  # it would round the products
            covariance = centred.T @ centred / len(centred)
            if self.kind == 2:
                covariance = covariance + covariances(q).mean(0)
        on = covariance.diagonal()
        off = covariance.square().sum() - on.square().sum()
        penalty = self.off_diagonal * off + self.diagonal * (on - 1).square().sum()
        loss = reconstruction + divergence + penalty
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence}

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        if not settings.classes["posterior"].moments:
            yield (
                "objective=dip: needs the mean and covariance of each posterior, and this one "
                "has no closed form of them. Use posterior=normal or full_normal."
            )


def covariances(q: Distribution) -> Tensor:
    """Cov[z|x] of each posterior of q, [B, D, D]."""
    if isinstance(q, MultivariateNormal):
        full: Tensor = q.covariance_matrix
        return full
    return torch.diag_embed(q.variance)


def inverse_multiquadratic(a: Tensor, b: Tensor) -> Tensor:
    """Sum of kernels C / (C + |a - b|^2) over seven scales C of 2 D (Tolstikhin et al. 2018).

    Args:
        a: [n, D].
        b: [m, D].

    Returns:
        Tensor [n, m].
    """
    squared = (a[:, None] - b[None]).square().sum(-1)
    scales = [2.0 * a.shape[1] * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
    return torch.stack([c / (c + squared) for c in scales]).sum(0)


def squared_mmd(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased MMD^2 between the distributions of a and b, [n, D] (Gretton et al. 2012, eq. 3)."""
    n = len(a)
    if n < 2:
        return a.sum() * 0.0
    within = inverse_multiquadratic(a, a) + inverse_multiquadratic(b, b)
    off = (within.sum() - within.diagonal().sum()) / (n * (n - 1))
    return off - 2 * inverse_multiquadratic(a, b).mean()


@dataclass(kw_only=True)
class MMD(Objective):
    """loss = -E_q log p(x|z) + kl_weight KL + weight MMD^2(q(z), p(z)).

    With a deterministic code it is the WAE-MMD (Tolstikhin et al. 2018), with a normal posterior
    the InfoVAE (Zhao et al. 2019). The aggregate posterior, not each q(z|x), is matched to the
    prior.
    """

    shares_batches: ClassVar[bool] = False
    least_batch: ClassVar[int] = 2
    batched: ClassVar[tuple[str, ...]] = ("weight", "kl_weight")
    weight: NonNegative = 100.0
    kl_weight: NonNegative = 0.0
    takes_penalties: ClassVar[bool] = True
    samples = 2  # the second gives samples of the prior

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q, p = model.encode(batch.input), model.latent_prior()
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        distance = squared_mmd(z, p.mean + p.stddev * batch.noise[1])
        terms = {"reconstruction": reconstruction, "mmd": distance.expand(len(batch))}
        loss = reconstruction + self.weight * distance
        if model.posterior.stochastic:
            terms["kl"] = kl(q, p, z)
            loss = loss + self.kl_weight * terms["kl"]
        penalties = model.posterior.penalties(q)
        return {"loss": sum(penalties.values(), loss), **terms, **penalties}

    def merit(self, values: Mapping[str, float]) -> float:
        """Minus the loss: a KL is reported also where `kl_weight` is 0, and nothing trains it."""
        return -values["loss"]

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if not settings.classes["prior"].gaussian:
            yield "objective=mmd: compares codes with prior=standard_normal; choose that prior."
        if options["kl_weight"] and not settings.classes["posterior"].stochastic:
            yield (
                "objective.kl_weight: a deterministic code has no KL. Set it to 0, or use "
                "posterior=normal."
            )
