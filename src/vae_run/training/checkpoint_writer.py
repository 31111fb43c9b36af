"""The checkpoints of one training: `best.pt`, `last.pt`, and when they are written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory


class Saves:
    """Holds the best weights until they are on disk, and the time of the last writing."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._best: dict[str, Any] | None = None
        self._best_on_disk = False
        self._saved_at = time.monotonic()

    def keep_best(self, weights: Mapping[str, Tensor], step: int, epoch: float) -> None:
        """Hold a copy of `weights`, the best so far, for the next `write`."""
        copied = {name: tensor.clone() for name, tensor in weights.items()}
        self._best = {"step": step, "epoch": epoch, "model": copied}
        self._best_on_disk = False

    @property
    def has_best(self) -> bool:
        """Whether any weights were the best, in this life of the run or in an earlier one."""
        return self._best is not None or self._run.best.exists()

    @property
    def seconds(self) -> float:
        """Since the last `write` or `skip`, or the start."""
        return time.monotonic() - self._saved_at

    def skip(self) -> None:
        """Count the time anew without writing: another process writes."""
        self._saved_at = time.monotonic()

    def write(self, about: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write `best.pt` if it is new, then `last.pt`, which says which best belongs to it.

        Args:
            about: what either tells of the data.
            state: what `last.pt` holds besides; the `last.pt` of before becomes `previous.pt`.
        """
        self._run.best.parent.mkdir(exist_ok=True)
        if self._best is not None and not self._best_on_disk:
            checkpoint_file.save(self._run.best, {**about, **self._best})
            self._best_on_disk = True
        checkpoint_file.keep(self._run.last, self._run.previous.name)
        checkpoint_file.save(self._run.last, {**about, **state})
        self.skip()
