"""Objectives with a critic of codes: FactorVAE and the adversarial autoencoder.

Letters: B batch, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softplus

from vae_run.data.batches import Batch
from vae_run.models.critics import CodeCritic
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives.base import (
    Betas,
    Bound,
    Epoch,
    NonNegative,
    Objective,
    Rate,
    Terms,
    elbo_terms,
)

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Widths = list[Annotated[int, Field(ge=1)]]


def cross_entropy(first: Tensor, second: Tensor) -> Tensor:
    """-(log D + log(1 - D')) / 2 of the logits of D and D': log 2 where the critic is at chance.

    At the optimum the logit is the log ratio of the first density to the second (Goodfellow et al.
    2014, proposition 1).
    """
    return 0.5 * (softplus(-first) + softplus(second))


def judged(critic: CodeCritic, z: Tensor, others: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The critic's logits [B] of the codes z and of `others` [B, D], in one pass.

    Returns:
        The logits of z with a gradient at z alone, for the model's loss; those of z and of the
        others with a gradient at the critic's parameters alone, for the critic's.
    """
    logits, slopes = critic.with_slopes(torch.cat((z, others)))
    own, other = logits.chunk(2)
    moved = ((z - z.detach()) * slopes[: len(z)]).sum(-1)  # 0, with the gradient of the logit
    return own.detach() + moved, own, other


def permuted(z: Tensor, noise: Tensor) -> Tensor:
    """z [B, D] with each dimension permuted over the batch: samples of prod_d q(z_d).

    The permutation of a dimension is the order of its column of `noise` [B, D] (Kim & Mnih 2018,
    algorithm 1).
    """
    return z.gather(0, noise.argsort(0))


@dataclass(kw_only=True)
class CriticOfCodes(Objective):
    """An objective whose critic sees codes. Its learning rate is `critic_rate` times the model's.

    `critic_betas` are Adam's.
    """

    critic_widths: Widths = field(default_factory=lambda: [256, 256, 256])
    critic_rate: Rate = 1.0
    critic_betas: Betas = field(default_factory=lambda: [0.5, 0.9])
    samples = 2  # the second is the critic's

    @classmethod
    def critic(
        cls,
        options: Mapping[str, Any],
        *,
        latent_dim: int,
        latent_shape: tuple[int, ...],
        event_shape: tuple[int, ...],
    ) -> CodeCritic:
        return CodeCritic(latent_dim, options["critic_widths"])


@dataclass(kw_only=True)
class FactorVAE(CriticOfCodes, Bound):
    """loss = -E_q log p(x|z) + KL(q(z|x) || p(z)) + gamma TC (Kim & Mnih 2018, eq. 2).

    TC = KL(q(z) || prod_d q(z_d)), the total correlation, is estimated by a critic that tells codes
    from codes with each dimension permuted over the batch: log D(z) / (1 - D(z)), its logit, which
    is reported as `tc_critic`. The model does not train the critic, nor the critic the model.
    """

    shares_batches: ClassVar[bool] = False
    least_batch: ClassVar[int] = 2
    batched: ClassVar[tuple[str, ...]] = ("gamma",)
    gamma: NonNegative = 10.0

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        assert isinstance(model.critic, CodeCritic)
        _, z, reconstruction, divergence = elbo_terms(model, batch)
        correlation, own, other = judged(model.critic, z, permuted(z, batch.noise[1]))
        return {
            "loss": reconstruction + divergence + self.gamma * correlation,
            "reconstruction": reconstruction,
            "kl": divergence,
            "tc_critic": correlation,
            "critic_loss": cross_entropy(own, other),
        }

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        if settings.fixed.latent_dim < 2:
            yield (
                f"latent_dim: found {settings.fixed.latent_dim}, but objective=factor is about the "
                "dependence between dimensions, so it needs two."
            )


@dataclass(kw_only=True)
class AAE(CriticOfCodes):
    """loss = -E_q log p(x|z) - weight log D(z) (Makhzani et al. 2015), D a critic of codes.

    The critic tells samples of the prior, D near 1, from codes, near 0; the encoder's term is the
    non-saturating one (Goodfellow et al. 2014, section 3), reported as `adversarial`: log 2 where
    the critic is at chance, as it is when q(z) = p(z). The code is deterministic or sampled; a KL
    is reported for a sampled one, and not trained.

    The best checkpoint is that of the best reconstruction: the critic's word of two epochs cannot
    be compared.
    """

    batched: ClassVar[tuple[str, ...]] = ("weight",)
    weight: NonNegative = 10.0
    critic_rate: Rate = 0.2  # a critic as fast as the encoder tells all codes from the prior

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        assert isinstance(model.critic, CodeCritic)
        q, p = model.encode(batch.input), model.latent_prior()
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        drawn = p.mean + p.stddev * batch.noise[1]
        logit, own, other = judged(model.critic, z, drawn)
        word = softplus(-logit)
        terms = {
            "loss": reconstruction + self.weight * word,
            "reconstruction": reconstruction,
            "adversarial": word,
            "critic_loss": cross_entropy(other, own),
        }
        if model.posterior.stochastic:
            terms["kl"] = kl(q, p, z)
        return terms

    def merit(self, values: Mapping[str, float]) -> float:
        return -values["reconstruction"]

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        if not settings.classes["prior"].gaussian:
            yield "objective=aae: compares codes with prior=standard_normal; choose that prior."
