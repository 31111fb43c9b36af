"""Learning-rate schedules: a factor on `optimizer.lr` as a function of the time in epochs."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from vae_run.config.schema import Settings
from vae_run.errors import ConfigError

Epochs = Annotated[float, Field(gt=0)]


class Schedule(ABC):
    """A factor on the learning rate that depends on time alone, so that a run can be resumed."""

    horizon: float | None = None
    """Length in epochs of a schedule that has an end. None becomes the length of the training when
    the run starts, and keeps that value when the run is extended."""
    warmup_epochs: float = 0.0
    """Epochs in which the rate rises to `optimizer.lr`: fewer than the training has."""

    @abstractmethod
    def factor(self, epoch: float) -> float:
        """What the learning rate is multiplied by at `epoch` (0 at the start)."""


@dataclass(kw_only=True)
class Constant(Schedule):
    """The same rate throughout."""

    def factor(self, epoch: float) -> float:
        return 1.0


@dataclass(kw_only=True)
class MultiStep(Schedule):
    """The rate is multiplied by `gamma` at each of the `milestones`, given in epochs."""

    milestones: list[Epochs] = field(default_factory=list)
    gamma: Annotated[float, Field(gt=0)] = 0.1

    def factor(self, epoch: float) -> float:
        return float(self.gamma ** sum(epoch >= milestone for milestone in self.milestones))


@dataclass(kw_only=True)
class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to `final` times the rate at `horizon`."""

    horizon: Epochs | None = None
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    final: Annotated[float, Field(ge=0, le=1)] = 0.0

    def __post_init__(self) -> None:
        if self.horizon is not None and self.horizon <= self.warmup_epochs:
            raise ConfigError(
                f"schedule.warmup_epochs: found {self.warmup_epochs}, which leaves nothing of the "
                f"horizon of {self.horizon} epochs. Lower it, or raise schedule.horizon."
            )

    @classmethod
    def conflicts(cls, settings: Settings, options: Mapping[str, Any]) -> Iterator[str]:
        trainer, warmup = settings.parts["trainer"], options["warmup_epochs"]
        epochs = trainer.get("epochs") if trainer.get("steps") is None else None
        if epochs is not None and warmup >= epochs:
            yield long_warmup(warmup, f"{epochs} epochs")

    def factor(self, epoch: float) -> float:
        assert self.horizon is not None, "the trainer fills the horizon"
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        span = max(self.horizon - self.warmup_epochs, 1e-9)
        progress = min(1.0, (epoch - self.warmup_epochs) / span)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


def long_warmup(found: float, length: str) -> str:
    """The message on a warm-up of `found` epochs that lasts for the whole training of `length`."""
    return (
        f"schedule.warmup_epochs: found {found:g}, expected less than the training of {length}, "
        "or the rate never reaches optimizer.lr. Lower it, or train for longer."
    )
