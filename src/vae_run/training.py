"""The training loop, and the sums it keeps on the device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vae_run import distributed
from vae_run.data.batches import TrainingBatches
from vae_run.model import LatentVariableModel
from vae_run.objectives import Objective, Terms
from vae_run.optimizers import step_unless
from vae_run.schedules import Schedule


@dataclass(frozen=True)
class StepRecord:
    """One optimiser step. Tensors stay on the device: reading them is the reader's choice.

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
) -> Iterator[StepRecord]:
    """Train without end, a step a record, from `step` steps done; nothing here reads a result.

    Whether a step is taken is decided on the device, by its own numbers: a loss or a gradient that
    is not finite (or whose norm overflows) leaves parameters and optimiser as they were.
    """
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
        for parameter in parameters:
            parameter.grad = None
        loss = distributed.mean(terms["loss"], batch.share)
        loss.backward()  # type: ignore[no-untyped-call]
        if batch.share is not None:
            terms, loss = distributed.summed(parameters, terms, batch.share)
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        skipped = norm + loss.detach()
        skipped = (skipped - skipped).ne_(0.0)  # x - x is 0, but NaN where x is not finite
        if clip_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
        step_unless(skipped, optimizer)
        step += 1
        yield StepRecord(step, batch.whole, terms, rate, norm, skipped)


class Meter:
    """Means of the objective's terms, weighted by images, over a window and over the epoch.

    Steps that were skipped count in neither. A row of the window is a step: its terms' sums over
    the batch, and `skipped`.
    """

    folded: ClassVar[int] = 256
    """Rows that are put together into one tensor, so that a long window is no long list."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[Tensor] = []  # each [n, T + 1]
        self._steps: list[tuple[int, int]] = []  # (step, images) of each row
        self._epoch: list[float] = []
        self._epoch_size = 0

    def add(self, record: StepRecord) -> None:
        """Take in a step without reading anything back from the device."""
        self._rows.append(record.row())
        self._names = list(record.terms)
        self._steps.append((record.step, record.size))
        if len(self._rows) >= self.folded:
            self._rows = [torch.cat(self._rows)]

    def skipped(self) -> list[int]:
        """The steps of the window that were skipped. Waits for the device."""
        flags = torch.cat(self._rows)[:, -1].tolist() if self._rows else []
        return [step for (step, _), flag in zip(self._steps, flags, strict=True) if flag]

    def window(self) -> dict[str, float]:
        """Means since the last call; they go on into the epoch's. Waits for the device."""
        rows = torch.cat(self._rows).tolist() if self._rows else []
        taken = [
            (row[:-1], size)
            for row, (_, size) in zip(rows, self._steps, strict=True)
            if not row[-1]
        ]
        self._rows, self._steps = [], []
        if not taken:
            return {}
        size = sum(size for _, size in taken)
        sums = [sum(column) for column in zip(*(row for row, _ in taken), strict=True)]
        self._epoch = [a + b for a, b in zip(self._epoch or [0.0] * len(sums), sums, strict=True)]
        self._epoch_size += size
        return {name: total / size for name, total in zip(self._names, sums, strict=True)}

    def epoch(self) -> dict[str, float]:
        """Means over the epoch so far, up to the last `window`."""
        if not self._epoch:
            return {}
        size = self._epoch_size
        return {name: total / size for name, total in zip(self._names, self._epoch, strict=True)}

    def new_epoch(self) -> None:
        self._epoch, self._epoch_size = [], 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "names": self._names,
            "window": torch.cat(self._rows).cpu() if self._rows else None,
            "steps": list(self._steps),
            "epoch": self._epoch,
            "epoch_size": self._epoch_size,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        window, steps = state["window"], state.get("steps")
        if steps is None:  # of the first checkpoints, which hold the sums over the window
            steps = [] if window is None else [(0, state["window_size"])]
            window = None if window is None else torch.cat([window, window.new_zeros(1)])[None]
        self._names, self._epoch = list(state["names"]), list(state["epoch"])
        self._rows = [] if window is None else [window.to(device)]
        self._steps = [(step, size) for step, size in steps]
        self._epoch_size = state["epoch_size"]
