"""Runs that go through their lives side by side, and take their steps as one."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from contextvars import copy_context
from itertools import groupby

from vae_run.config.invocation import Call
from vae_run.data.splits import Splits
from vae_run.errors import Interrupted
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.vectorized.grouping import varying
from vae_run.sweeps.vectorized.memory import runs_that_fit
from vae_run.sweeps.vectorized.verification import Disagreement, verified
from vae_run.system.signals import Stop, StopRequests, at_once
from vae_run.tasks.final_evaluation import conclude
from vae_run.tasks.resume import continued
from vae_run.tasks.train import begun
from vae_run.training.loop import Loop
from vae_run.training.step import StepRecord

log = logging.getLogger("vae_run")

Data = dict[str, Splits]
"""What was loaded, by the configuration that it was loaded for."""


def _lifetime(call: Call, data: Data, stop: StopRequests) -> Generator[Loop, StepRecord, None]:
    """A run from its directory to its figures: yields its loop whenever it wants a step taken."""
    run, key = RunDirectory(call.directory), json.dumps(call.settings.raw["dataset"])
    ready = (
        continued(run, call, data.get(key)) if run.last.is_file() else begun(call, data.get(key))
    )
    with ready as training:
        if training is None:
            return
        data.setdefault(key, training.experiment.splits)
        trainer = training.experiment.settings.build("trainer")
        loop = trainer.begin(training.experiment, training.run, training.tracker, training.saved)
        with closing(loop.display):
            loop.ready()
            over = trainer.is_over(loop.progress)
            while not over:
                over = loop.settle((yield loop), stop)
        with at_once():
            conclude(training.experiment, training.run, training.tracker, loop.progress)


class Seen(StopRequests):
    """What had been received when a step was taken, so that all runs stop at the same one."""

    def look(self) -> None:
        """Take over what a signal has told this process by now."""
        self.received = StopRequests.active.received if StopRequests.active else None


class Life:
    """One of the runs, in a context of its own.

    Attributes:
        loop: what waits for a step; None when the run has ended.
        error: what it ended with, if not with its figures.
    """

    def __init__(
        self,
        call: Call,
        data: Data,
        stop: StopRequests,
        ended: Callable[[Call, Exception | None], None],
    ) -> None:
        self.call, self._ended = call, ended
        self.loop: Loop | None = None
        self.error: Exception | None = None
        self._context = copy_context()
        self._life = _lifetime(call, data, stop)

    def begin(self) -> None:
        """Do all that comes before the first step."""
        self._go_on(lambda: next(self._life))

    def take(self, record: StepRecord) -> None:
        """Do all that comes between this step and the next, or after the last."""
        self._go_on(lambda: self._life.send(record))

    def fail(self, error: Exception) -> None:
        """End with an error that its steps met with."""
        self._go_on(lambda: self._life.throw(error))

    def _go_on(self, act: Callable[[], Loop]) -> None:
        try:
            self.loop = self._context.run(act)
            return
        except StopIteration:
            pass
        except Stop as stop:
            self.error = Interrupted("interrupted", stop.number)
        except Exception as error:
            self.error = error
        self.loop = None
        self._life.close()
        self._ended(self.call, self.error)


def train_together(
    calls: Sequence[Call],
    *,
    processes: int = 1,
    ended: Callable[[Call, Exception | None], None] = lambda call, error: None,
) -> list[Exception | None]:
    """Train all of `calls`, whose models have the same shapes, to their figures.

    As many at once as the memory holds, where this process is one of `processes` that share it.

    Args:
        calls: jobs that start in directories of their own, or go on with what is there.
        processes: that do the same at the same time.
        ended: told of each run's end as it comes, with the error that it ended with, if any.

    Returns:
        What each ended with: None for success. A run that fails ends alone.
    """
    differing = varying([call.settings for call in calls])
    seen = Seen()
    with StopRequests():
        data: Data = {}
        lives = [Life(call, data, seen, ended) for call in calls]
        following = iter(lives)
        while waiting := _begun(following, 1):
            first = waiting[0].loop
            assert first is not None
            waiting += _begun(following, runs_that_fit(first, processes) - 1)
            for _, alike in groupby(sorted(waiting, key=_step), key=_step):
                _train(list(alike), differing, seen)
    return [life.error for life in lives]


def _begun(lives: Iterator[Life], most: int) -> list[Life]:
    """The next of `lives`, `most` of them, that wait for a step."""
    found: list[Life] = []
    while len(found) < most and (life := next(lives, None)) is not None:
        life.begin()
        if life.loop is not None:
            found.append(life)
    return found


def _step(life: Life) -> int:
    assert life.loop is not None
    return life.loop.progress.step


def _train(lives: list[Life], differing: Sequence[str], seen: Seen) -> None:
    """Take steps of `lives`, which stand at the same one, until all have ended."""
    try:
        stack = verified(loops(lives), differing)
    except Disagreement as why:
        log.warning("%d runs are trained one after another: %s.", len(lives), why)
        for life in lives:
            _train_alone(life, seen)
        return
    while lives:
        started = time.perf_counter()
        try:
            records = stack.step()
        except Exception as error:
            for life in lives:
                life.fail(error)
            return
        # A run's share of the time: what it would cost alone at this speed.
        share = (time.perf_counter() - started) / len(lives)
        seen.look()
        for life, loop, record in zip(lives, stack.loops, records, strict=True):
            loop.progress.seconds += share
            life.take(record)
        left = [life for life in lives if life.loop is not None]
        if left and len(left) < len(lives):
            stack = stack.of(loops(left))
        lives = left


def loops(lives: Sequence[Life]) -> list[Loop]:
    """What waits for a step."""
    return [life.loop for life in lives if life.loop is not None]


def _train_alone(life: Life, seen: Seen) -> None:
    loop = life.loop
    assert loop is not None
    try:
        for record in loop.steps():
            seen.look()
            life.take(record)
            if life.loop is None:
                return
    except Exception as error:
        life.fail(error)
