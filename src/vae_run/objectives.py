"""Objectives: what is minimised, in nats per example.

Letters: K samples, B batch, D latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from torch import Tensor

from vae_run.data.batches import Batch
from vae_run.distributions import kl
from vae_run.model import LatentVariableModel

if TYPE_CHECKING:
    from vae_run.config import Settings

Terms = Mapping[str, Tensor]
"""Named parts of an objective, each [B] in nats per example; `loss` is always there."""


class Objective(ABC):
    """Consumes the distributions that the model returns."""

    samples: int = 1
    """K, the posterior samples an image: the noise of a batch is [K, B, D]."""

    @abstractmethod
    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        """Terms of `batch`; `epoch` is the time since the start of training, for warm-up."""

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Messages on parts that this objective cannot be combined with."""
        yield from ()


@dataclass(kw_only=True)
class Reconstruction(Objective):
    """loss = -E_q log p(x|z): the code is not held to any prior."""

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        return {"loss": reconstruction, "reconstruction": reconstruction}


@dataclass(kw_only=True)
class ELBO(Objective):
    """loss = -E_q log p(x|z) + beta KL(q(z|x) || p(z)) (Kingma & Welling 2014, eq. 3).

    beta = 1 is the negative evidence lower bound, other values are the beta-VAE of Higgins et
    al. 2017. beta rises linearly from 0 over the first `warmup_epochs` (Bowman et al. 2016).
    """

    beta: Annotated[float, Field(ge=0)] = 1.0
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0

    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        q = model.encode(batch.input)
        z = model.posterior.sample(q, batch.noise[0])
        reconstruction = -model.decode(z).log_prob(batch.target)
        divergence = kl(q, model.latent_prior(), z)
        loss = reconstruction + self.beta_at(epoch) * divergence
        return {"loss": loss, "reconstruction": reconstruction, "kl": divergence}

    def beta_at(self, epoch: float) -> float:
        """The weight of the KL term at `epoch`."""
        if epoch >= self.warmup_epochs:
            return self.beta
        return self.beta * epoch / self.warmup_epochs

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if not settings.classes["posterior"].stochastic:
            yield (
                "objective: an ELBO needs a posterior with a density, and a deterministic code "
                "has none. Use posterior=normal, or objective=reconstruction."
            )
        if not settings.classes["prior"].generative:
            yield (
                "objective: an ELBO needs a prior, and prior=fitted_gaussian is none while "
                "training. Use prior=standard_normal, or objective=reconstruction."
            )
        epochs, warmup = settings.parts["trainer"].get("epochs"), options.get("warmup_epochs", 0)
        if epochs is not None and warmup > epochs:
            yield (
                f"objective.warmup_epochs: found {warmup}, longer than the training of "
                f"{epochs} epochs, so beta would never be reached. Lower it, or raise "
                "trainer.epochs."
            )
