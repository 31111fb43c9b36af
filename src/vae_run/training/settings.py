"""The keys of a training by gradient steps, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field

from vae_run.config.schema import Settings
from vae_run.errors import ConfigError
from vae_run.objectives import Objective
from vae_run.runs.identity import Effect, keys_with
from vae_run.training.accumulation import images_at_once
from vae_run.training.compile import Choice, Decision, chosen, decision
from vae_run.training.progress import Progress
from vae_run.training.schedules import Schedule, long_warmup
from vae_run.training.whole_batches import needing_whole_batches

Count = Annotated[int, Field(ge=1)]


@dataclass(kw_only=True)
class GradientSettings:
    """How long minibatch gradient descent lasts, and what is done between its steps."""

    epochs: Count | None = 100
    steps: Count | None = None
    batch_size: Count = 128
    accumulate: Count = 1
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    evaluate_every: Count = 1
    evaluate_every_steps: Count | None = None
    log_every: Count = 50
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    skip_nonfinite: Annotated[int, Field(ge=0)] = 0
    patience: Count | None = None
    max_time: Annotated[float, Field(gt=0)] | None = None
    compile: Choice = "auto"
    threads: Count | None = None
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 30.0

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        if options["epochs"] is None and options["steps"] is None:
            yield "trainer.epochs: found null, and trainer.steps too; one of them must be a number."
        if options["patience"] is not None and settings.parts["dataset"].get("val_size") == 0:
            yield (
                "trainer.patience: early stopping needs validation images, and dataset.val_size "
                "is 0. Raise dataset.val_size, or leave trainer.patience null."
            )
        if options["accumulate"] > 1:
            yield from _cannot_accumulate(settings, options)

    @property
    def at_once(self) -> int | None:
        """Images in a forward pass where batches are cut; None: whole batches."""
        return images_at_once(self.batch_size, self.accumulate) if self.accumulate > 1 else None

    def compiles(self, steps: int, device: torch.device) -> bool:
        """Whether a training of `steps` steps is compiled."""
        return chosen(self.compile, steps=self._lasting(steps), device=device)

    def compiling(self, steps: int, device: torch.device) -> Decision:
        """Whether a training of `steps` steps would be compiled, and why; nothing is logged."""
        return decision(self.compile, steps=self._lasting(steps), device=device)

    def _lasting(self, steps: int) -> int:
        """How many of `steps` steps will be taken for sure."""
        return steps if self.max_time is None and self.patience is None else 0

    def total_steps(self, steps_per_epoch: int) -> int:
        """The step that training ends at."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return self.epochs * steps_per_epoch

    def length(self) -> dict[str, Any]:
        """The options that `task=resume` may change, which an extended run keeps."""
        return {
            name: getattr(self, name)
            for name in (key.removeprefix("trainer.") for key in keys_with(Effect.LENGTH))
        }

    def refuse_long_warmup(
        self, objective: Objective, schedule: Schedule, steps_per_epoch: int
    ) -> None:
        """Refuse a warm-up of `objective` or of `schedule` that the training does not complete.

        Raises:
            ConfigError: the objective's is longer, or the schedule's leaves no step after it.
        """
        total = self.total_steps(steps_per_epoch)
        epochs = total / steps_per_epoch
        if schedule.warmup_epochs >= epochs:
            length = f"{total} steps, which are {epochs:.4g} epochs"
            raise ConfigError(long_warmup(schedule.warmup_epochs, length))
        if objective.warmup_epochs > epochs:
            found = f"objective.{objective.warmup_key}: found {objective.warmup_epochs:g}"
            raise ConfigError(
                f"{found}, longer than the training of "
                f"{total} steps, which are {epochs:.4g} epochs. Lower it, or train for longer."
            )

    def evaluation_is_due(self, step: int, steps_per_epoch: int) -> bool:
        """Whether the model is measured on val after `step` steps."""
        if self.evaluate_every_steps is not None:
            return step % self.evaluate_every_steps == 0
        epochs, beyond = divmod(step, steps_per_epoch)
        return beyond == 0 and epochs % self.evaluate_every == 0

    def save_is_due(self, step: int, steps_per_epoch: int, waited: float) -> bool:
        """Whether a checkpoint is written after `step` steps, `waited` seconds after the last one.

        Only where the window of steps has just been found finite.
        """
        logged = step % self.log_every == 0 or step % steps_per_epoch == 0
        return logged and waited >= self.checkpoint_seconds

    def plan(self, train_size: int) -> str:
        steps_per_epoch = -(-train_size // self.batch_size)
        total = self.total_steps(steps_per_epoch)
        cut = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
        return f"{total:,}, {steps_per_epoch:,} an epoch of batch {self.batch_size}{cut}"

    def why_over(self, progress: Progress) -> str | None:
        """The reason why a training at `progress` ends, or None if it does not."""
        if progress.step >= self.total_steps(progress.steps_per_epoch):
            return "finished"
        if self.patience is not None and progress.stale >= self.patience:
            return f"no better val figure in {self.patience} evaluations (trainer.patience)"
        if self.max_time is not None and progress.seconds >= self.max_time:
            return f"{self.max_time:g} s of training are over (trainer.max_time)"
        return None


def _cannot_accumulate(settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
    """Messages on what keeps a gradient over parts of a batch from being that of the batch."""
    parts, size = options["accumulate"], options["batch_size"]
    start = f"trainer.accumulate: found {parts}, but"
    if parts > size:
        yield f"{start} a batch has trainer.batch_size={size} images. Use at most that many parts."
    for key, value, remedy in needing_whole_batches(settings):
        yield (
            f"{start} {key}={value} needs each batch as a whole. {remedy}, or use "
            "trainer.accumulate=1."
        )
    if settings.build("network").spectral_norm:
        yield (
            f"{start} network.spectral_norm refines its estimates in each forward pass. Use "
            "trainer.accumulate=1, or network.spectral_norm=false."
        )
