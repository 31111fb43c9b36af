"""How parameters are found: the trainers and their settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from vae_run import checkpoints
from vae_run.compiling import Choice
from vae_run.config import Settings
from vae_run.experiment import Experiment
from vae_run.loop import Loop
from vae_run.progress import Progress
from vae_run.runs import RunDirectory
from vae_run.signals import StopRequests
from vae_run.tracking import Tracker

Count = Annotated[int, Field(ge=1)]


class Trainer(ABC):
    """Finds the parameters of an experiment's model, and leaves checkpoints in its run."""

    shares_batches: ClassVar[bool] = False
    """Whether several processes may train together, each with its share of every batch."""
    streams: ClassVar[bool] = False
    """Whether it takes training images as they come, and needs them nowhere as a whole."""

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

        Raises:
            Interrupted: a signal asked to stop; the checkpoint is written.
            DivergedError: a loss, gradient or weight is not finite; the last good checkpoint is
                kept.
        """

    @abstractmethod
    def plan(self, train_size: int) -> str:
        """How many steps training on `train_size` images would take, for a person."""

    @abstractmethod
    def is_over(self, progress: Progress) -> bool:
        """Whether a training that stands at `progress` has nothing left to do."""


@dataclass(kw_only=True)
class Gradient(Trainer):
    """Minibatch gradient descent for `epochs`, or for `steps` where they are given."""

    shares_batches: ClassVar[bool] = True
    streams: ClassVar[bool] = True
    epochs: Count | None = 100
    steps: Count | None = None
    batch_size: Count = 128
    evaluate_every: Count = 1
    evaluate_every_steps: Count | None = None
    log_every: Count = 50
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    skip_nonfinite: Annotated[int, Field(ge=0)] = 0
    patience: Count | None = None
    max_time: Annotated[float, Field(gt=0)] | None = None
    compile: Choice = "auto"
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options.get("epochs", cls.epochs) is None and options.get("steps") is None:
            yield "trainer.epochs: found null, and trainer.steps too; one of them must be a number."
        if options.get("patience") is not None and settings.parts["dataset"].get("val_size") == 0:
            yield (
                "trainer.patience: early stopping needs validation images, and dataset.val_size "
                "is 0. Raise dataset.val_size, or leave trainer.patience null."
            )

        if options.get("compile") is True and settings.fixed.condition is not None:
            yield (
                "trainer.compile: found true, but a conditional model is put together anew at "
                "every step. Use trainer.compile=auto, or condition=null."
            )

    def total_steps(self, steps_per_epoch: int) -> int:
        """The step that training ends at."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * steps_per_epoch

    def plan(self, train_size: int) -> str:
        steps_per_epoch = -(-train_size // self.batch_size)
        total = self.total_steps(steps_per_epoch)
        return f"{total:,}, {steps_per_epoch:,} an epoch of batch {self.batch_size}"

    def why_over(self, progress: Progress) -> str | None:
        """What ends a training that stands at `progress`, or None."""
        if progress.step >= self.total_steps(progress.steps_per_epoch):
            return "finished"
        if self.patience is not None and progress.stale >= self.patience:
            return f"no better val figure in {self.patience} evaluations (trainer.patience)"
        if self.max_time is not None and progress.seconds >= self.max_time:
            return f"{self.max_time:g} s of training are over (trainer.max_time)"
        return None

    def is_over(self, progress: Progress) -> bool:
        return self.why_over(progress) is not None

    def loop(self, experiment: Experiment, run: RunDirectory, tracker: Tracker) -> Loop:
        """What happens between the steps of this trainer."""
        return Loop(self, experiment, run, tracker)

    def begin(
        self,
        experiment: Experiment,
        run: RunDirectory,
        tracker: Tracker,
        saved: Mapping[str, Any] | None,
    ) -> Loop:
        """A loop before its first step, or where the checkpoint `saved` stood."""
        loop = self.loop(experiment, run, tracker)
        if saved is None:
            loop.save()
        else:
            with checkpoints.understood(run.last):
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
