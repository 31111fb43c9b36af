"""Steps of gradient descent, each with a record that stays on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vae_run.data.batches import Batch, TrainingBatches
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective, Terms
from vae_run.training import distributed
from vae_run.training.accumulation import gradient
from vae_run.training.optimizers import not_finite, step_unless
from vae_run.training.schedules import Schedule


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step. Its tensors stay on the device until they are read.

    Attributes:
        step: steps done so far, this one included.
        size: images in the batch.
        terms: the objective's terms, each [B]; or, where processes share the batch, each [1],
            the sum over it; or, of a compiled step, each [], that sum too.
        learning_rate: of this step.
        grad_norm: 2-norm of the gradient before clipping, [].
        skipped: 1.0 where the loss or that norm is not finite and nothing was updated, else 0.0,
            float [].
        sums: what `row` returns, where it has been computed already.
        preparing: seconds that compiling took before the step, with or without success. They do
            not count as training; of steps that several runs take together, they are those of all.
    """

    step: int
    size: int
    terms: Terms
    learning_rate: float
    grad_norm: Tensor
    skipped: Tensor
    sums: Tensor | None = None
    preparing: float = 0.0

    def row(self) -> Tensor:
        """The terms' sums over the batch, and `skipped`: [1, T + 1] for T terms."""
        if self.sums is not None:
            return self.sums
        with torch.no_grad():
            sums = [term.sum() for term in self.terms.values()]
            return torch.stack([*sums, self.skipped])[None]


class EagerSteps:
    """Steps whose operations torch carries out one by one: the reference for all others.

    Whether a step is taken is decided on the device: a loss or a gradient that is not finite, or
    whose norm overflows, leaves parameters and optimiser as they were. `at_once` is the number of
    images in a forward pass; None: whole batches.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        batches: TrainingBatches,
        optimizer: torch.optim.Optimizer,
        *,
        clip_norm: float | None,
        precision: AbstractContextManager[Any],
        at_once: int | None = None,
    ) -> None:
        self.model, self.objective, self.batches = model, objective, batches
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self.precision, self.at_once = precision, at_once
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    def take(self, step: int, epoch: float, rate: float) -> StepRecord:
        """The step after `step` steps, of the next batch, at learning rate `rate`."""
        return self.of(self.batches.next(), step, epoch, rate)

    def of(self, batch: Batch, step: int, epoch: float, rate: float) -> StepRecord:
        """The same of `batch`."""
        parameters, clip_norm = self._parameters, self.clip_norm
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("relative_rate", 1.0)
        for parameter in parameters:
            parameter.grad = None
        how = (batch, epoch, self.precision, self.at_once)
        terms, loss = gradient(self.model, self.objective, *how)
        if batch.share is not None:
            terms, loss = distributed.summed(parameters, terms, batch.share)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        skipped = not_finite(norm + loss.detach())
        if clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        step_unless(skipped, self.optimizer)
        self.model.after_step(skipped)
        return StepRecord(step + 1, batch.whole, terms, rate, norm, skipped)


class Steps(Protocol):
    """What takes steps."""

    def take(self, step: int, epoch: float, rate: float) -> StepRecord:
        """The step after `step` steps, at learning rate `rate`."""


def fit(
    model: LatentVariableModel,
    objective: Objective,
    batches: TrainingBatches,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    step: int,
    clip_norm: float | None,
    precision: AbstractContextManager[Any],
    at_once: int | None = None,
    through: Callable[[EagerSteps], Steps] = lambda eager: eager,
) -> Iterator[StepRecord]:
    """Endless training steps from `step` on, without waiting for the device.

    The arguments are those of `EagerSteps`; `through` gives steps that are taken in another way.
    """
    how: dict[str, Any] = {"clip_norm": clip_norm, "precision": precision, "at_once": at_once}
    steps = through(EagerSteps(model, objective, batches, optimizer, **how))
    base_rate = optimizer.defaults["lr"]
    while True:
        epoch = step / batches.steps_per_epoch
        yield steps.take(step, epoch, base_rate * schedule.factor(epoch))
        step += 1
