"""Steps of gradient descent, each with a record that stays on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vae_run.data.batches import TrainingBatches
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
            the sum over it.
        learning_rate: of this step.
        grad_norm: 2-norm of the gradient before clipping, [].
        skipped: 1.0 where the loss or that norm is not finite and nothing was updated, else 0.0,
            float [].
    """

    step: int
    size: int
    terms: Terms
    learning_rate: float
    grad_norm: Tensor
    skipped: Tensor

    def row(self) -> Tensor:
        """The terms' sums over the batch, and `skipped`: [1, T + 1] for T terms."""
        with torch.no_grad():
            sums = [term.sum() for term in self.terms.values()]
            return torch.stack([*sums, self.skipped])[None]


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
) -> Iterator[StepRecord]:
    """Endless training steps from `step` on, without waiting for the device.

    Whether a step is taken is decided on the device: a loss or a gradient that is not finite, or
    whose norm overflows, leaves parameters and optimiser as they were. `at_once` is the number of
    images in a forward pass; None: whole batches.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    base_rate = optimizer.defaults["lr"]
    while True:
        epoch = step / batches.steps_per_epoch
        rate = base_rate * schedule.factor(epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("relative_rate", 1.0)
        batch = batches.next()
        for parameter in parameters:
            parameter.grad = None
        terms, loss = gradient(model, objective, batch, epoch, precision, at_once)
        if batch.share is not None:
            terms, loss = distributed.summed(parameters, terms, batch.share)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        skipped = not_finite(norm + loss.detach())
        if clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        step_unless(skipped, optimizer)
        model.after_step(skipped)
        step += 1
        yield StepRecord(step, batch.whole, terms, rate, norm, skipped)
