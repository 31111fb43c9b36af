"""Objectives with importance-weighted samples. Letters: K samples, M groups, B batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.data.batches import Batch
from vae_run.errors import ConfigError
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.models.posteriors import Posterior
from vae_run.objectives.base import Bound, Epoch, Samples, Terms

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


def log_weights(
    model: LatentVariableModel, batch: Batch, q: Distribution, z: Tensor
) -> tuple[Tensor, Tensor]:
    """log p(x|z) and log w = log p(x|z) + log p(z) - log q(z|x), each [K, B], for z [K, B, D]."""
    likelihood = model.decode(z).log_prob(batch.target)
    return likelihood, likelihood + model.latent_prior().log_prob(z) - q.log_prob(z)


def log_mean_exp(log_w: Tensor) -> Tensor:
    """log of the mean weight over K: [K, ...] -> [...]."""
    return torch.logsumexp(log_w, 0) - math.log(log_w.shape[0])


class _Joint(nn.Module):
    """log p(x|z) and log p(x, z) as a module, so that its parameters can be held constant."""

    def __init__(self, model: LatentVariableModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        likelihood = self.model.decode(z).log_prob(target)
        return likelihood, likelihood + self.model.latent_prior().log_prob(z)


class _Weighted(Bound):
    """An objective whose `loss` is minus a bound on log p(x) of several samples an image.

    Its best checkpoint has the highest such bound, not the highest ELBO, which falls where the
    posterior is trained to be wider than the ELBO's.
    """

    def merit(self, values: Mapping[str, float]) -> float:
        return -values["loss"]


@dataclass(kw_only=True)
class IWAE(_Weighted):
    """loss = -E log 1/K sum_k p(x, z_k) / q(z_k|x) (Burda et al. 2015, eq. 8), and variants.

    `groups` = M > 1 averages M such bounds of K samples (MIWAE, Rainforth et al. 2018, eq. 9).
    `elbo_share` = b gives b ELBO + (1 - b) IWAE (CIWAE, eq. 10). With `partial` only the encoder is
    trained by the mean of the M bounds, and decoder and prior by the one bound of all M K samples,
    which is the reported `loss` (PIWAE, section 5). `gradient` of the encoder:
    reparameterized, or doubly_reparameterized (DReG, Tucker et al. 2019, eq. 8), whose
    signal-to-noise ratio does not decrease with K; it costs a second pass through the decoder.
    """

    batched: ClassVar[tuple[str, ...]] = ("elbo_share",)
    importance_samples: Samples = 5
    groups: Samples = 1
    partial: bool = False
    elbo_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    gradient: Literal["reparameterized", "doubly_reparameterized"] = "reparameterized"

    def __post_init__(self) -> None:
        self.samples = self.importance_samples * self.groups
        if self.elbo_share and self.gradient != "reparameterized":
            raise ConfigError(
                "objective.gradient: doubly_reparameterized is for the pure bound; set "
                "objective.elbo_share=0."
            )
        if self.partial and (self.elbo_share or self.gradient != "reparameterized"):
            raise ConfigError(
                "objective.partial: trains encoder and decoder by bounds of their own. Leave "
                "objective.elbo_share at 0 and objective.gradient=reparameterized."
            )
        if self.partial and self.groups == 1:
            raise ConfigError(
                "objective.partial: with objective.groups=1 encoder and decoder have the same "
                "bound. Set objective.groups, the number of bounds that the encoder averages."
            )

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        doubly = options["gradient"] == "doubly_reparameterized"
        if doubly and settings.classes["posterior"].detached is Posterior.detached:
            yield (
                "objective.gradient: doubly_reparameterized needs a posterior whose parameters "
                "can be held constant. Use posterior=normal or full_normal, or "
                "objective.gradient=reparameterized."
            )

        posterior, prior = settings.classes["posterior"], settings.classes["prior"]
        if options["partial"] and (posterior.shares_prior or prior.shares_posterior):
            yield (
                f"objective.partial: {posterior.__name__} and {prior.__name__} have parameters in "
                "common, which cannot be trained by two bounds. Use posterior=normal "
                "prior=standard_normal, or objective.partial=false."
            )

    def _grouped(self, log_w: Tensor) -> Tensor:
        """[M K, B] -> [K, M, B]."""
        return log_w.reshape(self.groups, self.importance_samples, -1).transpose(0, 1)

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise)
        if self.partial:
            return self._players(model, batch, q, z)
        likelihood, log_w = log_weights(model, batch, q, z)
        bound = log_mean_exp(self._grouped(log_w)).mean(0)
        loss = -(1 - self.elbo_share) * bound - self.elbo_share * log_w.mean(0)
        if self.gradient == "doubly_reparameterized" and torch.is_grad_enabled():
            loss = self._doubly(model, batch, q, z, log_w) + loss.detach()
        divergence = kl(q, model.latent_prior(), z)
        return {"loss": loss, "reconstruction": -likelihood.mean(0), "kl": divergence}

    def _players(
        self, model: LatentVariableModel, batch: Batch, q: Distribution, z: Tensor
    ) -> Terms:
        """The terms of PIWAE: two passes through the decoder, one for each player's gradient.

        A bound's gradient is that of sum_k w~_k log w_k with its normalised weights w~ constant.
        """
        joint = _Joint(model)
        likelihood, log_joint = joint(z.detach(), batch.target)
        density = q.log_prob(z)
        log_w = (log_joint - density).detach()
        loss = -log_mean_exp(log_w)
        if torch.is_grad_enabled():
            held = {name: p.detach() for name, p in joint.named_parameters()}
            _, seen = torch.func.functional_call(joint, held, (z, batch.target))
            own = self._grouped(log_w).softmax(0).transpose(0, 1).flatten(0, 1) / self.groups
            surrogate = -(log_w.softmax(0) * log_joint + own * (seen - density)).sum(0)
            loss = loss + surrogate - surrogate.detach()
        divergence = kl(q, model.latent_prior(), z)
        return {"loss": loss, "reconstruction": -likelihood.mean(0), "kl": divergence}

    def _doubly(
        self, model: LatentVariableModel, batch: Batch, q: Distribution, z: Tensor, log_w: Tensor
    ) -> Tensor:
        """0 [B], whose gradient has weights w~ for the decoder and w~^2 for the encoder."""
        weights = self._grouped(log_w).softmax(0).transpose(0, 1).flatten(0, 1).detach()
        # The gradient through z is multiplied by w~ a second time.
        scaled = weights[..., None] * z
        path = scaled + (z - scaled).detach()
        _, again = log_weights(model, batch, model.posterior.detached(q), path)
        surrogate = -(weights * again).sum(0) / self.groups
        return surrogate - surrogate.detach()


@dataclass(kw_only=True)
class ReweightedWakeSleep(_Weighted):
    """The wake phases of reweighted wake-sleep (Bornschein & Bengio 2015, eqs. 7 and 9).

    Decoder and prior maximise the importance-weighted bound; the encoder minimises
    KL(p(z|x) || q), which is mode-covering, whereas the ELBO's KL(q || p(z|x)) is mode-seeking. The
    reported `loss` is the negative bound.
    """

    importance_samples: Annotated[int, Field(ge=2)] = 10

    def __post_init__(self) -> None:
        self.samples = self.importance_samples

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().conflicts(settings, options)
        posterior = settings.classes["posterior"]
        if posterior.shares_prior:
            yield (
                f"objective=reweighted_wake_sleep: {posterior.__name__} has the prior's parameters "
                "in it, and encoder and prior are trained by different losses. Use "
                "posterior=hierarchical, or objective=iwae."
            )

    @classmethod
    def training_conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        yield from super().training_conflicts(settings, options)
        prior = settings.classes["prior"]
        if prior.shares_posterior:
            yield (
                f"objective=reweighted_wake_sleep: {prior.__name__} has the encoder's parameters "
                "in it, and encoder and prior are trained by different losses. Use "
                "prior=standard_normal, mixture or flow, or objective=iwae."
            )

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise).detach()
        likelihood = model.decode(z).log_prob(batch.target)
        joint, density = likelihood + model.latent_prior().log_prob(z), q.log_prob(z)
        log_w = (joint - density).detach()
        surrogate = -(log_w.softmax(0) * (joint + density)).sum(0)
        loss = surrogate - surrogate.detach() - log_mean_exp(log_w)
        divergence = kl(q, model.latent_prior(), z)
        return {"loss": loss, "reconstruction": -likelihood.mean(0), "kl": divergence}
