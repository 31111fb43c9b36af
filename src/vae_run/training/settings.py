"""The keys of a training by gradient steps, and what they say of its length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from vae_run.config.schema import Settings
from vae_run.training.compile import Choice
from vae_run.training.progress import Progress

Count = Annotated[int, Field(ge=1)]


@dataclass(kw_only=True)
class GradientSettings:
    """How long minibatch gradient descent goes on, and what is done between its steps."""

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
        if options["epochs"] is None and options["steps"] is None:
            yield "trainer.epochs: found null, and trainer.steps too; one of them must be a number."
        if options["patience"] is not None and settings.parts["dataset"].get("val_size") == 0:
            yield (
                "trainer.patience: early stopping needs validation images, and dataset.val_size "
                "is 0. Raise dataset.val_size, or leave trainer.patience null."
            )

        if options["compile"] is True and settings.fixed.condition is not None:
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
