"""Means of the objective's terms over a window of steps, and over the epoch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from vae_run.training.step import StepRecord


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
