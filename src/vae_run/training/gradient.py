"""Minibatch gradient descent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar

from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.signals import StopRequests
from vae_run.tracking.tracker import Tracker
from vae_run.training.data_support import scalable
from vae_run.training.experiment import Experiment
from vae_run.training.loop import Loop
from vae_run.training.moments import advice_on_scales
from vae_run.training.progress import Progress
from vae_run.training.settings import GradientSettings
from vae_run.training.trainer import Trainer

log = logging.getLogger("vae_run")


@dataclass(kw_only=True)
class Gradient(GradientSettings, Trainer):
    """Minibatch gradient descent for `epochs`, or for `steps` where they are given."""

    shares_batches: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    def loop(self, experiment: Experiment, run: RunDirectory, tracker: Tracker) -> Loop:
        """The training loop of this trainer."""
        return Loop(self, experiment, run, tracker)

    def begin(
        self,
        experiment: Experiment,
        run: RunDirectory,
        tracker: Tracker,
        saved: Mapping[str, Any] | None,
    ) -> Loop:
        """The loop before its first step, or continued from the checkpoint `saved`."""
        loop = self.loop(experiment, run, tracker)
        if saved is None:
            loop.history.restore(0)  # of a run that was stopped before its first checkpoint
            advice = advice_on_scales(experiment.moments, scalable=scalable(experiment.settings))
            if advice is not None:
                log.warning("%s", advice)
            loop.save()
        else:
            with checkpoint_file.understood(run.last):
                loop.restore(saved)
        return loop

    def train(
        self,
        experiment: Experiment,
        run: RunDirectory,
        tracker: Tracker,
        stop: StopRequests,
        saved: Mapping[str, Any] | None,
    ) -> Progress:
        loop = self.begin(experiment, run, tracker, saved)
        if self.is_over(loop.progress):
            return loop.progress
        with closing(loop.display):
            for record in loop.steps():
                if loop.settle(record, stop):
                    break
        return loop.progress
