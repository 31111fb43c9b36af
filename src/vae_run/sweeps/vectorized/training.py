"""Training of several runs side by side in one process, with shared steps."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from contextvars import copy_context
from itertools import groupby

import torch

from vae_run.config.invocation import Call
from vae_run.data.splits import Splits
from vae_run.errors import Interrupted
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.vectorized.grouping import varying
from vae_run.sweeps.vectorized.memory import runs_that_fit
from vae_run.sweeps.vectorized.verification import Disagreement, verified
from vae_run.system.signals import Stop, StopRequests, at_once
from vae_run.tasks.final_evaluation import conclude
from vae_run.tasks.resume import continued, has_checkpoint
from vae_run.tasks.train import begun
from vae_run.training.loop import Loop
from vae_run.training.step import StepRecord
from vae_run.training.threads import computing_with

log = logging.getLogger("vae_run")

Data = dict[str, Splits]
"""Data as they were loaded, by the configuration of the dataset and the names of conditions."""


def _training_of(call: Call, data: Data, stop: StopRequests) -> Generator[Loop, StepRecord, None]:
    """A whole run, from its directory to its pictures: yields its loop whenever it needs a step."""
    run, settings = RunDirectory(call.directory), call.settings
    key = json.dumps([settings.raw["dataset"], settings.fixed.vector_conditions])
    granted = torch.get_num_threads()
    ready = (
        continued(run, call, data.get(key)) if has_checkpoint(run) else begun(call, data.get(key))
    )
    with ready as training:
        if training is None:
            return
        data.setdefault(key, training.experiment.loaded)
        trainer = training.experiment.settings.build("trainer")
        parts = (training.experiment, training.run, training.tracker, training.saved)
        with computing_with(threads_of(run)):
            loop = trainer.begin(*parts)
        with closing(loop.display):
            loop.ready()
            over = trainer.is_over(loop.progress)
            while not over:
                over = loop.settle((yield loop), stop)
        with at_once(), computing_with(granted):
            conclude(training.experiment, training.run, training.tracker, loop.progress)


def threads_of(run: RunDirectory) -> int:
    """The threads that `run` is trained with, as it has recorded them."""
    return int(run.environment()["threads"])


class SharedStop(StopRequests):
    """The signal that had been received when a step was taken: all runs stop at the same step."""

    def update(self) -> None:
        """Take over the signal that this process has received by now, if any."""
        self.received = StopRequests.active.received if StopRequests.active else None


class ActiveRun:
    """One of the runs, with its own context variables.

    Attributes:
        loop: waits for a step; None when the run has ended.
        error: that the run ended with; None for success.
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
        self._training = _training_of(call, data, stop)

    def begin(self) -> None:
        """Do everything before the first step."""
        self._advance(lambda: next(self._training))

    def take(self, record: StepRecord) -> None:
        """Do everything between this step and the next, or after the last."""
        self._advance(lambda: self._training.send(record))

    def fail(self, error: Exception) -> None:
        """End with an error of its steps."""
        self._advance(lambda: self._training.throw(error))

    def _advance(self, act: Callable[[], Loop]) -> None:
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
        self._training.close()
        self._ended(self.call, self.error)


def train_together(
    calls: Sequence[Call],
    *,
    processes: int = 1,
    ended: Callable[[Call, Exception | None], None] = lambda call, error: None,
) -> list[Exception | None]:
    """Train all of `calls`, whose models have the same shapes, to the end of their runs.

    As many are trained at once as the memory holds.

    Args:
        calls: jobs, each of which starts or continues in its own directory.
        processes: how many processes share the memory and do the same at the same time.
        ended: called when a run has ended, with its error, or None for success.

    Returns:
        The error of each run, or None for success. A run that fails does not affect the others.
    """
    differing = varying([call.settings for call in calls])
    stop = SharedStop()
    with StopRequests():
        data: Data = {}
        runs = [ActiveRun(call, data, stop, ended) for call in calls]
        following = iter(runs)
        while waiting := _begun(following, 1):
            first = waiting[0].loop
            assert first is not None
            waiting += _begun(following, runs_that_fit(first, processes) - 1)
            for (_, threads, _), alike in groupby(sorted(waiting, key=_alike), key=_alike):
                with computing_with(threads):
                    _train(list(alike), differing, stop)
    return [run.error for run in runs]


def _begun(runs: Iterator[ActiveRun], most: int) -> list[ActiveRun]:
    """At most `most` of the next runs, those that need a step once they have begun."""
    found: list[ActiveRun] = []
    while len(found) < most and (run := next(runs, None)) is not None:
        run.begin()
        if run.loop is not None:
            found.append(run)
    return found


def _alike(run: ActiveRun) -> tuple[int, int, str]:
    """What is equal in runs that are trained together: step, threads and, if made, the choice.

    That is whether steps are compiled; a run that is continued keeps it.
    """
    assert run.loop is not None
    chosen = vars(run.loop).get("compiles")
    return run.loop.progress.step, threads_of(run.loop.run), str(chosen)


def _train(runs: list[ActiveRun], differing: Sequence[str], stop: SharedStop) -> None:
    """Take steps of `runs`, which are at the same step, until all have ended."""
    try:
        stack = verified(loops(runs), differing)
    except Disagreement as why:
        log.warning("%d runs are trained one after another: %s.", len(runs), why)
        for run in runs:
            _train_alone(run, stop)
        return
    while runs:
        started = time.perf_counter()
        try:
            records = stack.step()
        except Exception as error:
            for run in runs:
                run.fail(error)
            return
        # Each run is charged an equal share of the time, that of compiling apart.
        share = (time.perf_counter() - started - records[0].preparing) / len(runs)
        stop.update()
        for run, loop, record in zip(runs, stack.loops, records, strict=True):
            loop.progress.seconds += share
            run.take(record)
        left = [run for run in runs if run.loop is not None]
        if left and len(left) < len(runs):
            stack = stack.of(loops(left))
        runs = left


def loops(runs: Sequence[ActiveRun]) -> list[Loop]:
    """The loops of the runs that need a step."""
    return [run.loop for run in runs if run.loop is not None]


def _train_alone(run: ActiveRun, stop: SharedStop) -> None:
    loop = run.loop
    assert loop is not None
    try:
        for record in loop.steps():
            stop.update()
            run.take(record)
            if run.loop is None:
                return
    except Exception as error:
        run.fail(error)
