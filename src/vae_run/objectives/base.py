"""What every objective is, and what those share that bound log p(x).

Letters: K samples, B batch, D latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from vae_run.data.batches import Batch
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Terms = Mapping[str, Tensor]
"""Named parts of an objective, each [B] in nats per example; `loss` is always there."""

NonNegative = Annotated[float, Field(ge=0)]
Samples = Annotated[int, Field(ge=1)]


class Objective(ABC):
    """Consumes the distributions that the model returns."""

    samples: int = 1
    """K, the posterior samples an image: the noise of a batch is [K, B, D]."""
    warmup_epochs: float = 0.0
    """Epochs until the loss has its final form."""
    shares_batches: ClassVar[bool] = True
    """Whether the terms of an image are its own, so that several processes may share a batch."""

    @abstractmethod
    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: float) -> Terms:
        """Terms of `batch`; `epoch` is the time since the start of training, for warm-up."""

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Messages on parts that this objective cannot be combined with."""
        yield from ()


class Bound(Objective):
    """An objective that needs a density of q and a prior p: what every bound on log p(x) shares."""

    takes_improper_prior = False
    """Whether -H(q) may stand in for the KL."""
    warms = "the bound"
    """What a warm-up raises from 0, where the objective has one."""

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if not settings.classes["posterior"].stochastic:
            yield (
                "objective: an ELBO needs a posterior with a density, and a deterministic code "
                "has none. Use posterior=normal, or objective=reconstruction."
            )
        if not settings.classes["prior"].trained_with:
            yield (
                "objective: an ELBO needs a prior, and one that is fitted to the codes afterwards "
                "is none while training. Use prior=standard_normal, or objective=reconstruction."
            )
        if not settings.classes["prior"].proper and not cls.takes_improper_prior:
            yield (
                "objective: prior=flat is improper, so there is no bound on log p(x) to train on. "
                "Use objective=elbo, whose KL becomes -H(q), or prior=standard_normal."
            )
        trainer, warmup = settings.parts["trainer"], options.get("warmup_epochs", 0)
        epochs = trainer.get("epochs") if trainer.get("steps") is None else None
        if epochs is not None and warmup > epochs:
            yield (
                f"objective.warmup_epochs: found {warmup}, longer than the training of "
                f"{epochs} epochs, so {cls.warms} would never be reached. Lower it, or raise "
                "trainer.epochs."
            )


def unless_trained(settings: Settings, name: str) -> Iterator[str]:
    """The refusal of a prior with parameters that the objective `name` would leave as they are."""
    prior = settings.classes["prior"]
    if prior.learned:
        yield (
            f"prior: found {prior.__name__}, whose parameters are trained by log p(z), which "
            f"objective={name} has not. Use objective=elbo, or prior=standard_normal or "
            "fitted_gaussian."
        )


def unless_factorised(settings: Settings, name: str) -> Iterator[str]:
    """The refusal of parts whose KL is no sum over dimensions, by the objective `name`."""
    classes = settings.classes
    if not (classes["posterior"].factorised and classes["prior"].gaussian):
        yield (
            f"objective={name}: needs a posterior and a prior that factorise over dimensions. "
            "Use posterior=normal prior=standard_normal."
        )


def warmed(epoch: float, warmup_epochs: float) -> float:
    """How far a linear warm-up from 0 is at `epoch`, in [0, 1]."""
    return 1.0 if epoch >= warmup_epochs else epoch / warmup_epochs


def elbo_terms(
    model: LatentVariableModel, batch: Batch
) -> tuple[Distribution, Tensor, Tensor, Tensor]:
    """q(z|x), one sample z of it [B, D], -log p(x|z) [B] and KL(q || p) [B]."""
    q = model.encode(batch.input)
    z = model.posterior.sample(q, batch.noise[0])
    reconstruction = -model.decode(z).log_prob(batch.target)
    return q, z, reconstruction, kl(q, model.latent_prior(), z)
