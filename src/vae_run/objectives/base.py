"""The base class of objectives, and that of bounds on log p(x).

Letters: K samples, B batch, D latent dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_run.data.batches import Batch
from vae_run.models.distributions.kl import kl
from vae_run.models.latent_variable_model import LatentVariableModel

if TYPE_CHECKING:
    from vae_run.config.schema import Settings

Terms = Mapping[str, Tensor]
"""Named terms of an objective, each [B] in nats per example; `loss` is required.

`critic_loss`, of objectives with a critic, is minimised too, by the critic.
"""

Epoch = float | Tensor
"""Training time in epochs: a float, or a tensor [] where the step is compiled.

A compiled step has no value of it: an objective that reads it in Python is not compiled.
"""

NonNegative = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Betas = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)]
Samples = Annotated[int, Field(ge=1)]


class Objective(ABC):
    """A function of a model, a batch and the epoch to `Terms`."""

    samples: int = 1
    """K, the number of posterior samples per image: the noise of a batch is [K, B, D].

    0 where the code is deterministic, so that training batches have no noise; others have a sample.
    """
    warmup_epochs: float = 0.0
    """Epochs until the loss takes its final form."""
    warmup_key: ClassVar[str] = "warmup_epochs"
    """The key that sets `warmup_epochs`."""
    shares_batches: ClassVar[bool] = True
    """Whether an image's terms do not depend on the batch, so that processes can divide it."""
    least_batch: ClassVar[int] = 1
    """Images of the smallest batch whose terms mean something."""
    restores: ClassVar[bool] = False
    """Whether the decoder may see the encoder's input: no bound and no code is asked for."""
    batched: ClassVar[tuple[str, ...]] = ()
    """Options that runs trained as one model may differ in: tensors, with an entry for each run.

    The objective uses them in arithmetic alone. They are those of this class, not of subclasses.
    """
    meanings: ClassVar[Mapping[str, str]] = {}
    """A sentence on each term, in nats, that has no row in the table of quantities."""
    takes_penalties: ClassVar[bool] = False
    """Whether the loss has what the posterior adds to it (`Posterior.penalties`)."""

    critic_rate: float = 1.0
    """The learning rate of the critic, relative to that of the model."""
    critic_betas: list[float] | None = None
    """Adam's betas for the critic; None: those of the model."""

    @classmethod
    def critic(
        cls,
        options: Mapping[str, Any],
        *,
        latent_dim: int,
        latent_shape: tuple[int, ...],
        event_shape: tuple[int, ...],
    ) -> nn.Module | None:
        """A new network of the objective's own, which becomes `model.critic`; None: it has none.

        It is trained in the same step as the model, by `critic_loss` of the terms. So that each
        player has a gradient of its own loss alone, `loss` has to use the critic with its
        parameters held fixed (`frozen`), and `critic_loss` detached codes and images.
        """
        return None

    @classmethod
    def whole_batches(cls, options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """What needs each batch in one pass and in one process, if anything does.

        Full keys, their values, and what to do instead.
        """
        if not cls.shares_batches:
            yield "objective", cls.__name__, "Choose another objective"

    def prepare(self, event_shape: tuple[int, ...], device: torch.device) -> None:
        """Load what it needs for data of `event_shape`, before the first call.

        Raises:
            ConfigError: the data do not fit, or a package is missing.
            DataError: a file is missing or cannot be used.
        """
        return

    def merit(self, values: Mapping[str, float]) -> float:
        """What the best checkpoint has the highest of, given the metrics `values` on val.

        The ELBO is a measure that does not change with weights and warm-ups. An objective that does
        not train the KL, or whose loss is a bound of its own, overrides this.
        """
        return values.get("elbo", -values["loss"])

    @abstractmethod
    def __call__(self, model: LatentVariableModel, batch: Batch, epoch: Epoch) -> Terms:
        """The terms of `batch`; `epoch` is the training time, for schedules."""

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Messages on parts that cannot be combined with this objective."""
        yield from ()

    @classmethod
    def training_conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        """Messages on what is refused of new trainings alone: older runs that have it are read."""
        for group in ("trainer", "evaluation"):
            size = settings.parts[group].get("batch_size", cls.least_batch)
            if size < cls.least_batch:
                yield too_small(f"{group}.batch_size", size, cls)


def too_small(key: str, size: int, cls: type[Objective]) -> str:
    """The message on batches of `size` images, at `key`, which are too small for `cls`."""
    return (
        f"{key}: found {size}, but objective {cls.__name__} compares the images of a batch with "
        f"each other. Use {cls.least_batch} at least."
    )


def frozen(critic: nn.Module) -> Callable[..., Tensor]:
    """`critic` as a function that passes gradients to its inputs, and none to its parameters."""
    tensors = {name: p.detach() for name, p in critic.named_parameters()}
    return lambda *inputs: torch.func.functional_call(critic, tensors, inputs)


def trained_loss(terms: Terms) -> Tensor:
    """What gradients are taken of, [B]: the model's loss, and the critic's if there is one."""
    critic = terms.get("critic_loss")
    return terms["loss"] if critic is None else terms["loss"] + critic


class Bound(Objective):
    """An objective that bounds log p(x), and needs a density q and a prior p."""

    takes_improper_prior = False
    """Whether -H(q) may replace the KL."""
    warms = "the bound"
    """Name of the quantity that a warm-up raises from 0."""

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
    """A message if the prior has parameters, which the objective `name` would not train."""
    prior = settings.classes["prior"]
    if prior.learned:
        yield (
            f"prior: found {prior.__name__}, whose parameters are trained by log p(z), which "
            f"objective={name} has not. Use objective=elbo, or prior=standard_normal or "
            "fitted_gaussian."
        )


def unless_factorised(settings: Settings, name: str) -> Iterator[str]:
    """A message if the KL is not a sum over dimensions, which the objective `name` needs."""
    classes = settings.classes
    if not (classes["posterior"].factorised and classes["prior"].gaussian):
        yield (
            f"objective={name}: needs a posterior and a prior that factorise over dimensions. "
            "Use posterior=normal prior=standard_normal."
        )


def warmed(epoch: Epoch, warmup_epochs: float) -> Epoch:
    """The value of a linear warm-up from 0 to 1 at `epoch`."""
    if isinstance(epoch, Tensor):
        return (epoch / warmup_epochs).clamp(max=1.0) if warmup_epochs > 0 else epoch * 0 + 1.0
    return 1.0 if epoch >= warmup_epochs else epoch / warmup_epochs


def elbo_terms(
    model: LatentVariableModel, batch: Batch
) -> tuple[Distribution, Tensor, Tensor, Tensor]:
    """q(z|x), one sample z of it [B, D], -log p(x|z) [B], and KL(q || p) [B]."""
    q = model.encode(batch.input)
    z = model.posterior.sample(q, batch.noise[0])
    reconstruction = -model.decode(z).log_prob(batch.target)
    return q, z, reconstruction, kl(q, model.latent_prior(), z)
