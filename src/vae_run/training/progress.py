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
        best_value: the highest val ELBO (or negative val loss) so far; None before the first.
        best_step: the step of it.
        stale: evaluations since it.
        skipped: steps whose loss or gradient was not finite, and which changed nothing.
        horizon: epochs that schedules with an end run over, fixed at the start.
        steps_per_epoch: of the training data and batch size.
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
