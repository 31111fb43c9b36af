"""The training loop, and the sums it keeps on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vae_run.data.batches import TrainingBatches
from vae_run.model import LatentVariableModel
from vae_run.objectives import Objective, Terms
from vae_run.schedules import Schedule


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step. Tensors stay on the device: reading them is the reader's choice.

    Attributes:
        step: steps done so far, this one included.
        size: images in the batch.
        terms: the objective's terms, each [B].
        learning_rate: of this step.
        grad_norm: 2-norm of the gradient before clipping, at steps where it was asked for.
    """

    step: int
    size: int
    terms: Terms
    learning_rate: float
    grad_norm: Tensor | None


def fit(
    model: LatentVariableModel,
    objective: Objective,
    batches: TrainingBatches,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    *,
    step: int,
    clip_norm: float | None,
    norm_every: int,
    precision: AbstractContextManager[Any],
) -> Iterator[StepRecord]:
    """Train without end, a step a record, from `step` steps done; nothing here reads a result."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    base_rate = optimizer.defaults["lr"]
    while True:
        epoch = step / batches.steps_per_epoch
        rate = base_rate * schedule.factor(epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = batches.next()
        with precision:
            terms = objective(model.given(batch.label), batch, epoch)
        optimizer.zero_grad()
        terms["loss"].mean().backward()  # type: ignore[no-untyped-call]
        step += 1
        norm = None
        if clip_norm is not None:
            norm = nn.utils.clip_grad_norm_(parameters, clip_norm)
        elif step % norm_every == 0:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        optimizer.step()
        yield StepRecord(step, len(batch), terms, rate, norm)


class Meter:
    """Means of the objective's terms, weighted by images, over a window and over the epoch."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._window: Tensor | None = None
        self._window_size = 0
        self._epoch: list[float] = []
        self._epoch_size = 0

    def add(self, record: StepRecord) -> None:
        """Take in a step without reading anything back from the device."""
        sums = torch.stack([term.detach().sum() for term in record.terms.values()])
        if self._window is None:
            self._names, self._window = list(record.terms), sums
        else:
            self._window += sums
        self._window_size += record.size

    def window(self) -> dict[str, float]:
        """Means since the last call; they go on into the epoch's. Waits for the device."""
        if self._window is None:
            return {}
        sums, size = self._window.tolist(), self._window_size
        self._epoch = [a + b for a, b in zip(self._epoch or [0.0] * len(sums), sums, strict=True)]
        self._epoch_size += size
        self._window, self._window_size = None, 0
        return {name: total / size for name, total in zip(self._names, sums, strict=True)}

    def epoch(self) -> dict[str, float]:
        """Means over the epoch so far, up to the last `window`."""
        size = self._epoch_size
        return {name: total / size for name, total in zip(self._names, self._epoch, strict=True)}

    def new_epoch(self) -> None:
        self._epoch, self._epoch_size = [], 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "names": self._names,
            "window": None if self._window is None else self._window.cpu().clone(),
            "window_size": self._window_size,
            "epoch": self._epoch,
            "epoch_size": self._epoch_size,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        window = state["window"]
        self._names, self._epoch = list(state["names"]), list(state["epoch"])
        self._window = None if window is None else window.to(device)
        self._window_size, self._epoch_size = state["window_size"], state["epoch_size"]
