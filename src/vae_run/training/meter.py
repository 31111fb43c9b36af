"""Means of the objective's terms over a window of steps, and over the epoch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from vae_run.training.step import StepRecord


class Meter:
    """Means of the objective's terms, weighted by images, over a window and over the epoch.

    Skipped steps count in neither. The window has a row for each step: the sums of its T terms over
    the batch, and `skipped`.
    """

    folded: ClassVar[int] = 256
    """Rows after which they are joined into one tensor, so that the list stays short."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._rows: list[Tensor] = []  # each [n, T + 1]
        self._steps: list[tuple[int, int]] = []  # (step, images) of each row
        self._epoch: list[float] = []
        self._epoch_size = 0

    def add(self, record: StepRecord) -> None:
        """Add a step without reading anything back from the device."""
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
        """Means since the last call, which are added to the epoch's. Waits for the device."""
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
        """Begin the means of the next epoch."""
        self._epoch, self._epoch_size = [], 0

    def state_dict(self) -> dict[str, Any]:
        """The sums so far, for a checkpoint."""
        return {
            "names": self._names,
            "window": torch.cat(self._rows).cpu() if self._rows else None,
            "steps": list(self._steps),
            "epoch": self._epoch,
            "epoch_size": self._epoch_size,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Stand where `state_dict` was taken; a window without its steps is left out.

        The first checkpoints of format 1 have none.
        """
        steps = state.get("steps", [])
        self._names, self._epoch = list(state["names"]), list(state["epoch"])
        self._rows = [state["window"].to(device)] if steps else []
        self._steps = [(step, size) for step, size in steps]
        self._epoch_size = state["epoch_size"]
