"""One training: what happens between its steps, and where it stands."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch

from vae_run.data.batches import TrainingBatches
from vae_run.data.streamed_batches import StreamedBatches
from vae_run.errors import ConfigError, DivergedError, Interrupted
from vae_run.evaluation.codes import calibrate
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.objectives import Objective
from vae_run.runs.run_directory import RunDirectory
from vae_run.system import ranks
from vae_run.system.signals import StopRequests, at_once
from vae_run.tracking.tracker import Tracker
from vae_run.training import distributed
from vae_run.training.checkpoint_writer import Saves
from vae_run.training.compile import Compiled, chosen
from vae_run.training.display import TrainingDisplay
from vae_run.training.experiment import Experiment
from vae_run.training.meter import Meter
from vae_run.training.posterior_collapse import CollapseWatch
from vae_run.training.progress import Progress
from vae_run.training.schedules import Schedule
from vae_run.training.settings import GradientSettings
from vae_run.training.step import StepRecord, fit

log = logging.getLogger("vae_run")


@dataclass
class Loop:
    """The state of one training and what happens between its steps."""

    batches_type: ClassVar[type[TrainingBatches]] = TrainingBatches

    trainer: GradientSettings
    experiment: Experiment
    run: RunDirectory
    tracker: Tracker
    progress: Progress = field(default_factory=Progress)
    meter: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        settings, model = self.experiment.settings, self.experiment.model
        self.batches = self._batches()
        self.steps_per_epoch = self.batches.steps_per_epoch
        self.total = self.trainer.total_steps(self.steps_per_epoch)
        epochs, warmup = self.total / self.steps_per_epoch, self.experiment.objective.warmup_epochs
        if warmup > epochs:
            raise ConfigError(
                f"objective.warmup_epochs: found {warmup:g}, longer than the training of "
                f"{self.total} steps, which are {epochs:.4g} epochs. Lower it, or train for longer."
            )
        self.optimizer = settings.build(
            "optimizer", params=[p for p in model.parameters() if p.requires_grad]
        )
        self.schedule: Schedule = settings.build("schedule")
        self.progress.steps_per_epoch = self.steps_per_epoch
        self.progress.horizon = self.schedule.horizon or epochs
        self.compiles = chosen(
            self.trainer.compile,
            steps=self.total if self.trainer.max_time is None else 0,  # nobody knows how many
            conditional=settings.fixed.condition is not None,
            device=self.experiment.device,
        )
        self.display = TrainingDisplay(self.total, self.steps_per_epoch)
        self.agreement = distributed.Agreement()
        self.collapse = CollapseWatch(self.total, warmup)
        self.saves = Saves(self.run)
        self._val: dict[str, float] = {}
        self._window_start = (0, 0.0)

    def _batches(self) -> TrainingBatches:
        """What is trained on, from its beginning."""
        experiment, fixed = self.experiment, self.experiment.settings.fixed
        given: dict[str, Any] = {
            "batch_size": self.trainer.batch_size,
            "noise": (experiment.objective.samples, fixed.latent_dim),
            "seed": fixed.seed,
        }
        train, stream = experiment.splits.train, experiment.splits.stream
        if stream is None:
            return self.batches_type(train, experiment.corruption, **given)
        classes = experiment.model.classes
        return StreamedBatches(stream, train, experiment.corruption, classes=classes, **given)

    def steps(self) -> Iterator[StepRecord]:
        """The records until the end, with the time spent in each step added up."""
        self.ready()
        records = self.records()
        while self.progress.step < self.total:
            started = time.perf_counter()
            record = next(records)
            self.progress.seconds += time.perf_counter() - started
            yield record

    def ready(self) -> None:
        """Do what the first step needs."""
        self.schedule.horizon = self.progress.horizon
        distributed.align(self.experiment.model)
        self.experiment.model.train()
        if isinstance(self.batches, StreamedBatches):
            with at_once():  # reading up to where a run stood can take long, and loses nothing
                self.batches.ready()

    def records(self) -> Iterator[StepRecord]:
        """Steps without end, from where `progress` stands."""
        objective = self.experiment.objective
        if self.compiles:
            objective = Compiled(objective, self.trainer.batch_size)
        return self.fit(self.experiment.model, objective)

    def fit(self, model: LatentVariableModel, objective: Objective) -> Iterator[StepRecord]:
        """Steps without end of `model` under `objective`, with the loop's batches and optimiser."""
        return fit(
            model,
            objective,
            self.batches,
            self.optimizer,
            self.schedule,
            step=self.progress.step,
            clip_norm=self.trainer.clip_norm,
            precision=self.precision(),
        )

    def precision(self) -> AbstractContextManager[Any]:
        """What a forward pass of training runs under."""
        if self.experiment.settings.fixed.precision == "bfloat16":
            return torch.autocast(self.experiment.device.type, dtype=torch.bfloat16)
        return nullcontext()

    @property
    def epoch(self) -> float:
        return self.progress.step / self.steps_per_epoch

    def settle(self, record: StepRecord, stop: StopRequests) -> bool:
        """Do all that is due between this step and the next; whether training has ended."""
        self.take(record)
        if (reason := self.reason_to_stop(stop)) is not None:
            self.finish(reason, stop)
            return True
        if self.save_is_due():
            self.save()
        return False

    def take(self, record: StepRecord) -> None:
        """Count a step; log, evaluate and close the epoch where they are due."""
        self.progress.step = record.step
        self.progress.examples += record.size
        self.meter.add(record)
        last = record.step == self.total
        epoch_ends = record.step % self.steps_per_epoch == 0
        if record.step % self.trainer.log_every == 0 or epoch_ends or last:
            self.log(record)
        if self._evaluation_is_due(epoch_ends) or last:
            self.evaluate(final=last)
        if epoch_ends or last:
            self.close_epoch(record.learning_rate, complete=epoch_ends)

    def _evaluation_is_due(self, epoch_ends: bool) -> bool:
        if self.trainer.evaluate_every_steps is not None:
            return self.progress.step % self.trainer.evaluate_every_steps == 0
        epochs = self.progress.step // self.steps_per_epoch
        return epoch_ends and epochs % self.trainer.evaluate_every == 0

    def log(self, record: StepRecord) -> None:
        """Read the sums of the window back from the device, and write them out."""
        started = time.perf_counter()
        skipped = self.skipped()  # waits for the device: that wait belongs to the steps
        self.progress.seconds += time.perf_counter() - started
        self.progress.skipped += len(skipped)
        window = self.meter.window()
        if wrong := [value for value in window.values() if not math.isfinite(value)]:
            raise DivergedError(self._diverged(f"by step {record.step}: a term is {wrong[0]}"))
        examples, seconds = self._window_start
        rate = (self.progress.examples - examples) / max(self.progress.seconds - seconds, 1e-9)
        self._window_start = (self.progress.examples, self.progress.seconds)
        self.display.update(self.progress.step, {**window, "images/s": rate})
        extra = {"learning_rate": record.learning_rate, "examples_per_second": rate}
        if math.isfinite(norm := float(record.grad_norm)):
            extra["grad_norm"] = norm
        if "kl" in window:
            extra["elbo"] = -(window["reconstruction"] + window["kl"])
        self.tracker.scalars("train", {**window, **extra}, self.progress.step)

    def skipped(self) -> list[int]:
        """The steps of the window that were skipped for a loss or gradient that is not finite.

        Raises:
            DivergedError: they are more than `skip_nonfinite` in all.
        """
        steps, allowed = self.meter.skipped(), self.trainer.skip_nonfinite
        if not steps:
            return []
        if self.progress.skipped + len(steps) > allowed:
            what = "the loss or its gradient is not finite"
            more = f", more often than trainer.skip_nonfinite={allowed}" if allowed else ""
            raise DivergedError(self._diverged(f"at step {steps[0]}: {what}{more}"))
        log.warning(
            "skipped step %s, whose loss or gradient is not finite (%d of "
            "trainer.skip_nonfinite=%d).",
            ", ".join(str(step) for step in steps),
            self.progress.skipped + len(steps),
            allowed,
        )
        return steps

    def evaluate(self, *, final: bool) -> None:
        """Measure on val, and keep the weights if they are the best so far."""
        experiment, progress = self.experiment, self.progress
        calibrate(experiment.view(experiment.splits.train, self.epoch))
        if len(experiment.splits.val) == 0:
            if self.may_be_best():
                self._keep_best()
            return
        values = experiment.evaluation.measure(
            experiment.view(experiment.splits.val, self.epoch), experiment.evaluation.while_training
        )
        self._val = values = distributed.of_rank_0(values)
        self.tracker.scalars("val", values, progress.step)
        self.display.evaluated(progress.step, values, final=final)
        self.run.status(epoch=self.epoch, step=progress.step)
        self.collapse.see(values, progress.step, self.epoch, final=final)
        if not self.may_be_best():
            return
        value = values.get("elbo", -values["loss"])
        progress.stale += 1
        if math.isfinite(value) and (progress.best_value is None or value > progress.best_value):
            progress.best_value, progress.stale = value, 0
            self._keep_best()

    def may_be_best(self) -> bool:
        """Whether the weights as they stand are what the training is after."""
        return True

    def _keep_best(self) -> None:
        self.progress.best_step = self.progress.step
        self.saves.keep_best(self.experiment.model.state_dict(), self.progress.step, self.epoch)

    def close_epoch(self, learning_rate: float, *, complete: bool) -> None:
        """Write the epoch's row of the history."""
        row: dict[str, float] = {"epoch": math.ceil(self.epoch), "step": self.progress.step}
        row |= {f"train/{name}": value for name, value in self.meter.epoch().items()}
        row |= {f"val/{name}": value for name, value in self._val.items()}
        row |= {"learning_rate": learning_rate, "train_seconds": round(self.progress.seconds, 3)}
        self.tracker.history.add(row)
        self._val = {}
        if complete:
            self.meter.new_epoch()

    def reason_to_stop(self, stop: StopRequests) -> str | None:
        """Why training ends at this step, or None."""
        own = "interrupted" if stop.received is not None else self.trainer.why_over(self.progress)
        return own if own == "finished" else self.agreement.reason(own, stop)

    def finish(self, reason: str, stop: StopRequests) -> None:
        """Write the last checkpoint, and tell an interruption from an end."""
        if stop.received is not None:
            self.save()
            raise Interrupted(
                f"interrupted at step {self.progress.step}; go on with: "
                f"vae-run task=resume 'run={self.run.path}'",
                stop.received,
            )
        if reason != "finished":
            self.skipped()  # of a window that is not logged
            log.info("stopped at epoch %.4g: %s", self.epoch, reason)
            no_val = len(self.experiment.splits.val) == 0  # then the last weights are the best
            if no_val or not self.saves.has_best:
                self.evaluate(final=True)
        self.save()

    def save_is_due(self) -> bool:
        """At most every `checkpoint_seconds`, and only where the sums were just found finite."""
        at_log = self.progress.step % self.trainer.log_every == 0
        at_end = self.progress.step % self.steps_per_epoch == 0
        return (at_log or at_end) and self.saves.seconds >= self.trainer.checkpoint_seconds

    def save(self) -> None:
        """Write what the training needs to go on from here, if its weights are numbers."""
        model = self.experiment.model
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise DivergedError(
                self._diverged(f"by step {self.progress.step}: a weight is not finite")
            )
        if not ranks.leads():
            self.saves.skip()
            return
        self.tracker.flush()
        state = {
            **self.own_state(),
            "step": self.progress.step,
            "epoch": self.epoch,
            "model": model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches.state_dict(),
            "meter": self.meter.state_dict(),
            "progress": asdict(self.progress),
            "val": self._val,
            "trainer": {key: getattr(self.trainer, key) for key in ("epochs", "steps", "max_time")},
        }
        self.saves.write(self.experiment.about(), state)

    def own_state(self) -> dict[str, Any]:
        """What a kind of training adds to `last.pt`, for its own `restore`."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Stand where the checkpoint `saved` stood."""
        self.progress = Progress(**saved["progress"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.batches.load_state_dict(saved["batches"])
        self.meter.load_state_dict(saved["meter"], self.experiment.device)
        self._val = dict(saved["val"])
        self._window_start = (self.progress.examples, self.progress.seconds)

    def _diverged(self, what: str) -> str:
        return (
            f"training diverged {what}. The last good checkpoint is kept in {self.run.last}. Lower "
            "optimizer.lr, set trainer.clip_norm, or allow for some with trainer.skip_nonfinite."
        )
