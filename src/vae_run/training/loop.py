"""The training loop: what happens between the steps of one training, and where it stands."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

from vae_run.data.batches import TrainingBatches
from vae_run.errors import Interrupted
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective
from vae_run.runs.environment import record_compiled
from vae_run.runs.run_directory import RunDirectory
from vae_run.system import ranks
from vae_run.system.signals import StopRequests, at_once
from vae_run.tracking.history import History
from vae_run.tracking.tracker import Tracker
from vae_run.training import distributed
from vae_run.training.checkpoint_writer import CheckpointWriter
from vae_run.training.compiled_steps import CompiledSteps
from vae_run.training.data_support import scalable
from vae_run.training.display import TrainingDisplay
from vae_run.training.experiment import Experiment
from vae_run.training.meter import Meter
from vae_run.training.nonfinite import DivergenceCheck
from vae_run.training.posterior_collapse import CollapseWatch
from vae_run.training.progress import Progress
from vae_run.training.schedules import Schedule
from vae_run.training.settings import GradientSettings
from vae_run.training.step import StepRecord, fit
from vae_run.training.step_log import StepLog
from vae_run.training.validation import Validation
from vae_run.training.weight_average import WeightAverage

log = logging.getLogger("vae_run")


@dataclass
class Loop:
    """The state of one training, and what happens between its steps; subclasses do more there."""

    batches_type: ClassVar[type[TrainingBatches]] = TrainingBatches

    trainer: GradientSettings
    experiment: Experiment
    run: RunDirectory
    tracker: Tracker
    progress: Progress = field(default_factory=Progress)
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        settings, objective = self.experiment.settings, self.experiment.objective
        self.batches = self.experiment.training_batches(self.trainer.batch_size, self.batches_type)
        self.steps_per_epoch = self.progress.steps_per_epoch = self.batches.steps_per_epoch
        self.total = self.trainer.total_steps(self.steps_per_epoch)
        self.schedule: Schedule = settings.build("schedule")
        self.trainer.refuse_long_warmup(objective, self.schedule, self.steps_per_epoch)
        self.optimizer = self.experiment.optimizer(self.experiment.model)
        self.progress.horizon = self.schedule.horizon or self.total / self.steps_per_epoch
        self.average = WeightAverage(self.experiment.model, self.trainer.ema)
        self.display = TrainingDisplay(self.total, self.steps_per_epoch)
        self.agreement, self.checkpoints = distributed.Agreement(), CheckpointWriter(self.run)
        given = (self.trainer.skip_nonfinite, self.run.last, self.experiment.splits.train)
        self.divergence = DivergenceCheck(*given, scalable=scalable(settings))
        self.history = History(self.run.path / "history.csv")
        parts = (self.experiment, self.run, self.tracker, self.checkpoints)
        self.validation = Validation(*parts, CollapseWatch.of(settings, objective.warmup_epochs))
        self.step_log = StepLog(self.meter, self.divergence, self.tracker, self.display)

    @cached_property
    def compiles(self) -> bool:
        """Whether steps are compiled: as in the run that is continued; False where it failed."""
        return self.trainer.compiles(self.total, self.experiment.device)

    @property
    def epoch(self) -> float:
        """Epochs done, with the share of the present one."""
        return self.progress.epoch

    def steps(self) -> Iterator[StepRecord]:
        """The records of the steps to the end; the time spent in each is added to `progress`."""
        self.ready()
        records = self.records()
        while self.progress.step < self.total:
            started = time.perf_counter()
            record = next(records)
            self.progress.seconds += time.perf_counter() - started - record.preparing
            yield record

    def ready(self) -> None:
        """Prepare the first step."""
        self.schedule.horizon = self.progress.horizon
        distributed.align(self.experiment.model)
        self.experiment.model.train()
        with at_once():  # a resumed stream is read up to its place: an interruption loses nothing
            self.batches.ready()

    def records(self) -> Iterator[StepRecord]:
        """Endless steps, from where `progress` stands."""
        return self.fit(self.experiment.model, self.experiment.objective)

    def fit(self, model: LatentVariableModel, objective: Objective) -> Iterator[StepRecord]:
        """Endless steps of `model` under `objective`, with the loop's batches and optimiser."""
        gave_up = partial(setattr, self, "compiles", False)
        # Before the first step, an interruption of the compiler loses nothing.
        making = nullcontext if self.run.stepped else at_once
        compiled = partial(CompiledSteps, gave_up=gave_up, making=making)
        return fit(
            model,
            objective,
            self.batches,
            self.optimizer,
            self.schedule,
            step=self.progress.step,
            clip_norm=self.trainer.clip_norm,
            precision=self.experiment.precision(),
            at_once=self.trainer.at_once,
            through=compiled if self.compiles else lambda eager: eager,
        )

    def settle(self, record: StepRecord, stop: StopRequests) -> bool:
        """Do everything between the step of `record` and the next; whether training has ended."""
        self.take(record)
        if (reason := self.reason_to_stop(stop)) is not None:
            self.finish(reason, stop)
            return True
        waited = self.checkpoints.seconds
        if self.trainer.save_is_due(self.progress.step, self.steps_per_epoch, waited):
            self.save()
        return False

    def take(self, record: StepRecord) -> None:
        """Count a step; log, evaluate and close the epoch where they are due."""
        self.run.stepped = True
        self.average.update(record.skipped)
        self.progress.step = record.step
        self.progress.examples += record.size
        self.meter.add(record)
        last, epoch_ends = record.step == self.total, record.step % self.steps_per_epoch == 0
        if record.step % self.trainer.log_every == 0 or epoch_ends or last:
            self.log(record)
        if last or self.trainer.evaluation_is_due(record.step, self.steps_per_epoch):
            self.evaluate(final=last)
        if epoch_ends or last:
            self.close_epoch(record.learning_rate, complete=epoch_ends)

    def log(self, record: StepRecord) -> None:
        """Log the window of steps that ends with `record`."""
        self.step_log.write(record, self.progress)

    def evaluate(self, *, final: bool) -> None:
        """Measure on val, and keep the weights if they are the best so far."""
        with self.average.in_use():
            values = self.validation.measure(self.progress, may_be_best=self.may_be_best())
        if values:
            self.display.evaluated(self.progress.step, values, final=final)

    def may_be_best(self) -> bool:
        """Whether the present weights may become `best.pt`, if they are the best."""
        return True

    def close_epoch(self, learning_rate: float, *, complete: bool) -> None:
        """Write the epoch's row of the history; a `complete` epoch's means are then over."""
        row: dict[str, float] = {"epoch": math.ceil(self.epoch), "step": self.progress.step}
        row |= {f"train/{k}": value for k, value in self.meter.epoch().items()}
        row |= {f"val/{k}": value for k, value in self.validation.take_epoch_values().items()}
        row |= {"learning_rate": learning_rate, "train_seconds": round(self.progress.seconds, 3)}
        self.history.add(row)
        if complete:
            self.meter.new_epoch()

    def reason_to_stop(self, stop: StopRequests) -> str | None:
        """Why training ends at this step, or None."""
        own = "interrupted" if stop.received is not None else self.trainer.why_over(self.progress)
        return own if own == "finished" else self.agreement.reason(own, stop)

    def finish(self, reason: str, stop: StopRequests) -> None:
        """Write the last checkpoint and what is left of the history.

        Raises:
            Interrupted: training stops because of a signal.
        """
        if stop.received is not None:
            self.save()
            where = f"interrupted at step {self.progress.step}"
            raise Interrupted(f"{where}; go on with: {self.run.resumed_by}", stop.received)
        if reason != "finished":
            # The steps since the last logging are not logged, but they are checked.
            self.divergence.count(self.meter.skipped(), self.progress.skipped)
            log.info("stopped at epoch %.4g: %s", self.progress.epoch, reason)
            no_val = len(self.experiment.splits.val) == 0  # then the last weights are the best
            if no_val or not self.checkpoints.has_best:
                self.evaluate(final=True)
        with self.average.in_use():
            self.validation.conclude(self.progress)
        self.save()
        self.history.finish()

    def save(self) -> None:
        """Write what the training needs to continue from here.

        Raises:
            DivergedError: a weight is not finite.
        """
        model = self.experiment.model
        self.divergence.weights(model, self.progress.step)
        if not ranks.leads():
            self.checkpoints.skip()
            return
        self.tracker.flush()
        record_compiled(self.run.path, compiled=self.run.stepped and self.compiles)
        state = {
            **self.own_state(),
            **self.average.state_dict(),
            "step": self.progress.step,
            "epoch": self.progress.epoch,
            "model": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "meter": self.meter.state_dict(),
            "progress": asdict(self.progress),
            "val": self.validation.epoch_values,
            "trainer": self.trainer.length(),
            **({"compiles": self.compiles} if "compiles" in vars(self) else {}),  # not yet chosen
        }
        with self.average.in_use():
            self.checkpoints.write(self.experiment.about(), state)

    def own_state(self) -> dict[str, Any]:
        """What a subclass adds to `last.pt` for its own `restore`."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from the checkpoint `saved`."""
        self.progress = Progress(**saved["progress"])
        self.average.load_state_dict(saved)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.batches.load_state_dict(saved["batches"])
        self.meter.load_state_dict(saved["meter"], self.experiment.device)
        if "compiles" in saved:
            self.compiles = bool(saved["compiles"])
        self.history.restore(self.progress.step)
        self.validation.restore(saved["val"], self.progress, self.history.rows)
        self.step_log.begin_window(self.progress)
