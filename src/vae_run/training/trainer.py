"""What a trainer is: a part that finds the parameters of a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from vae_run.runs.run_directory import RunDirectory
from vae_run.system.signals import StopRequests
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment
from vae_run.training.progress import Progress


class Trainer(ABC):
    """Finds the parameters of an experiment's model, and writes checkpoints into its run."""

    shares_batches: ClassVar[bool] = False
    """Whether several processes may train together, each with its share of every batch."""
    streams: ClassVar[bool] = False
    """Whether it can train on a stream of images that are never in memory all together."""

    @abstractmethod
    def train(
        self,
        experiment: Experiment,
        run: RunDirectory,
        tracker: Tracker,
        stop: StopRequests,
        saved: Mapping[str, Any] | None,
    ) -> Progress:
        """Train to the end, from the checkpoint `saved` if there is one.

        Args:
            experiment: data, model and objective.
            run: gets checkpoints, `history.csv` and `status.json`.
            tracker: gets `train/` and `val/` metrics.
            stop: says whether a signal has asked to stop.
            saved: the content of `last.pt` of a resumed run.

        Raises:
            Interrupted: a signal asked to stop; the checkpoint is written.
            DivergedError: a loss, gradient or weight is not finite; the last good checkpoint is
                kept.
        """

    @abstractmethod
    def plan(self, train_size: int) -> str:
        """How many steps training on `train_size` images would take, as text."""

    @abstractmethod
    def why_over(self, progress: Progress) -> str | None:
        """The reason why a training at `progress` ends, or None if it does not.

        It is "finished" at the planned end; any other reason names the key that ends it earlier.
        """

    def is_over(self, progress: Progress) -> bool:
        """Whether a training at `progress` is over."""
        return self.why_over(progress) is not None
