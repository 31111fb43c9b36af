"""The checkpoints of one training: `best.pt`, `last.pt`, and when they are written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory


class CheckpointWriter:
    """Holds the best weights until they are written, and the time since the last writing."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._best: dict[str, Any] | None = None
        self._best_is_written = False
        self._written_at = time.monotonic()

    def keep_best(self, weights: Mapping[str, Tensor], step: int, epoch: float) -> None:
        """Hold a copy of `weights`, the best so far, for the next `write`."""
        copied = {name: tensor.clone() for name, tensor in weights.items()}
        self._best = {"step": step, "epoch": epoch, "model": copied}
        self._best_is_written = False

    @property
    def has_best(self) -> bool:
        """Whether there are best weights, of this process or of an earlier one of the same run."""
        return self._best is not None or self._run.best.exists()

    @property
    def seconds(self) -> float:
        """Seconds since the last `write` or `skip`, or since the start."""
        return time.monotonic() - self._written_at

    def skip(self) -> None:
        """Restart the clock without writing, in a process that leaves writing to rank 0."""
        self._written_at = time.monotonic()

    def write(self, about: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Write `best.pt` if it is new, then `last.pt`; the former `last.pt` is `previous.pt`.

        Args:
            about: what both files say of the data (`Experiment.about`).
            state: what `last.pt` holds besides.
        """
        self._run.best.parent.mkdir(exist_ok=True)
        if self._best is not None and not self._best_is_written:
            checkpoint_file.save(self._run.best, {**about, **self._best})
            self._best_is_written = True
        checkpoint_file.keep(self._run.last, self._run.previous.name)
        checkpoint_file.save(self._run.last, {**about, **state})
        self.skip()
