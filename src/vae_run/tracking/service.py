"""What a service is: a tracker whose server, network or disk may be slow, or gone for a while."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from vae_run.tracking.run_ids import RunIds
from vae_run.tracking.tracker import Tracker


@dataclass(frozen=True)
class Point:
    """One number.

    Attributes:
        name: its full name, such as "val/elbo".
        value: in the unit of its quantity.
        step: optimiser steps done.
        seconds: when it was recorded, in seconds since 1970.
    """

    name: str
    value: float
    step: int
    seconds: float


class Service(Tracker):
    """A tracker that is called from a thread of its own (`vae_run.tracking.background`).

    A method that raises never ends a training. What it was given is tried again later where
    `passes` says so, and is lost otherwise; the calls after it are made either way.

    Attributes:
        option: of the group `tracker`, and the package that it needs, of the same name.
        product: the name of that package in a sentence.
        own_process: whether it is called in a process of its own (`vae_run.tracking.remote`), which
            gets a pickled copy of it, and arrays of NumPy in place of tensors.
        destination: keys that say where it sends to, each with the value that names no place. What
            a run directory from somebody else says there is not followed.
    """

    option: ClassVar[str]
    product: ClassVar[str]
    receives_sweeps = True
    own_process: ClassVar[bool] = False
    destination: ClassVar[Mapping[str, Any]] = {}

    name: str | None = None

    @classmethod
    def conflicts(cls, settings: Any, options: Mapping[str, Any]) -> Any:
        """Refuse to begin without the package, before any data are read."""
        if find_spec(cls.option) is None:
            yield (
                f"tracker={cls.option}: needs {cls.product}, which is not installed. "
                f"pip install {cls.option}; tracker=none does without."
            )

    @property
    def title(self) -> str:
        return self.option

    @property
    def place(self) -> dict[str, Any]:
        """The values of the keys that say where it sends to."""
        return {key: getattr(self, key) for key in self.destination}

    def ids(self, run: Path) -> RunIds:
        """Where the run directory `run` keeps what this service calls the run."""
        return RunIds(run, self.title, self.place)

    def shown_name(self, run: Path) -> str:
        """`name`, or that of the run directory; jobs of a sweep with a `name` have both."""
        own = run.absolute().name
        if self.name is None:
            return own
        return f"{self.name}/{own}" if self.parent(run) is not None else self.name

    def parent(self, run: Path) -> str | None:
        """What this service calls the sweep that `run` is a job of; None for a run alone."""
        return self.ids(run.absolute().parent).known()

    def prepare(self) -> None:
        """Import the package, before the first call: in its own process, or, of a service without
        one, in the training's own thread before the training begins.

        In another thread, the import would hold Python's global interpreter lock for seconds, and
        the training would wait for the lock at each of its steps.
        """

    def restore(self) -> None:
        """Undo what `prepare` changed in the process, such as variables of the environment.

        It is called once for each `prepare`, even for one that failed, when the run is closed. A
        process of its own ends without it.
        """

    @abstractmethod
    def points(self, points: Sequence[Point]) -> None:
        """Receive numbers in the order in which they were recorded, at most 1000 at once."""

    def scalars(self, split: str, values: Mapping[str, float], step: int) -> None:
        """Receive them at once, as `points`."""
        now = time.time()
        self.points([Point(f"{split}/{name}", v, step, now) for name, v in values.items()])

    def passes(self, error: Exception) -> bool:
        """Whether the same call may succeed later, as when a server does not answer."""
        return False
