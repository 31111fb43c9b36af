"""Where a training stands."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Progress:
    """Where a training stands, in plain numbers that a checkpoint carries.

    Attributes:
        step: optimiser steps done.
        seconds: spent in steps so far, evaluation and saving excluded.
        examples: images trained on so far.
        best_value: the highest `Objective.merit` on val so far; None before the first.
        best_step: the step of `best_value`.
        stale: evaluations since then.
        skipped: steps whose loss or gradient was not finite, and which changed nothing.
        horizon: the length in epochs of schedules that end with the training, fixed at its start.
        steps_per_epoch: batches that the training data make.
        pictured: the epoch of the latest pictures that trackers got.
    """

    step: int = 0
    seconds: float = 0.0
    examples: int = 0
    best_value: float | None = None
    best_step: int = 0
    stale: int = 0
    skipped: int = 0
    horizon: float = 0.0
    steps_per_epoch: int = 1
    pictured: float = 0.0

    @property
    def epoch(self) -> float:
        """Epochs done, with the share of the present one."""
        return self.step / self.steps_per_epoch
