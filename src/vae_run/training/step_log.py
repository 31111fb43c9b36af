"""What is logged of training steps: the means of a window, and how fast they went."""

from __future__ import annotations

import math
import time

from vae_run.tracking.tracker import Tracker
from vae_run.training.display import TrainingDisplay
from vae_run.training.meter import Meter
from vae_run.training.nonfinite import DivergenceCheck
from vae_run.training.progress import Progress
from vae_run.training.step import StepRecord


class StepLog:
    """Reads a window of steps back from the device, checks it, and sends it to the tracker."""

    def __init__(
        self, meter: Meter, divergence: DivergenceCheck, tracker: Tracker, display: TrainingDisplay
    ) -> None:
        self._meter, self._divergence = meter, divergence
        self._tracker, self._display = tracker, display
        self._examples, self._seconds = 0, 0.0  # of `progress` where the window begins

    def begin_window(self, progress: Progress) -> None:
        """Measure the speed from `progress` on."""
        self._examples, self._seconds = progress.examples, progress.seconds

    def check_skipped(self, progress: Progress) -> None:
        """Count the skipped steps of the window in `progress`. Waits for the device.

        Raises:
            DivergedError: they are too many.
        """
        started = time.perf_counter()
        skipped = self._meter.skipped()
        progress.seconds += time.perf_counter() - started  # the steps took that time
        self._divergence.count(skipped, progress.skipped)
        progress.skipped += len(skipped)

    def write(self, record: StepRecord, progress: Progress) -> None:
        """Log the window that ends with the step of `record`.

        Raises:
            DivergedError: a mean is not finite, or too many steps were skipped.
        """
        self.check_skipped(progress)
        window = self._meter.window()
        self._divergence.terms(window, record.step)
        seconds = max(progress.seconds - self._seconds, 1e-9)
        rate = (progress.examples - self._examples) / seconds
        self.begin_window(progress)
        self._display.update(progress.step, {**window, "examples/s": rate})
        extra = {"learning_rate": record.learning_rate, "examples_per_second": rate}
        if math.isfinite(norm := float(record.grad_norm)):
            extra["grad_norm"] = norm
        if "kl" in window:
            extra["elbo"] = -(window["reconstruction"] + window["kl"])
        self._tracker.scalars("train", {**window, **extra}, progress.step)
