"""Jobs in processes of their own, a few at a time: none can harm another, or outlive the sweep."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from vae_run.sweeps.executors import worker
from vae_run.sweeps.executors.worker import Surroundings

TICK = 0.25
"""Seconds between two looks at what runs."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@cache
def processes() -> BaseContext:
    """How processes are made: forked from one that has imported everything, where that is safe."""
    if sys.platform == "darwin":
        return multiprocessing.get_context("spawn")  # its frameworks do not survive a fork
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vae_run.sweeps.executors.preload"])
    return context


def warm_up(threads: int) -> None:
    """Start the process that jobs are forked from, which imports while others compose."""
    if sys.platform == "darwin":
        return
    from multiprocessing.forkserver import ensure_running

    before = os.environ.get("OMP_NUM_THREADS")
    processes()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read when libraries are imported
    try:
        ensure_running()
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        key: tells it from the pool's other jobs.
        call: does it and returns its exit code; pickled.
        surroundings: where it does it.
    """

    key: Any
    call: Callable[[], int]
    surroundings: Surroundings


@dataclass
class Running:
    """A job that has a process.

    Attributes:
        slot: the place it takes among those that run at a time, from 0.
        stopped: why it was asked to stop, if it was.
    """

    job: Job
    slot: int
    process: BaseProcess
    orders: Connection
    started: float
    stopped: str | None = None
    stopped_at: float = 0.0

    def stop(self, reason: str) -> None:
        """Ask it, once, to stop at its next step."""
        if self.stopped is None:
            self.stopped, self.stopped_at = reason, time.monotonic()
            with suppress(OSError):  # it has just ended
                self.orders.send(None)

    def heard(self) -> Iterator[Any]:
        """What it has reported since the last time."""
        with suppress(EOFError, OSError):  # it has ended, and there is no more
            while self.orders.poll():
                yield self.orders.recv()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


@dataclass(frozen=True)
class Ended:
    """How a job ended: its exit code (negative: the signal that killed it), and its duration.

    `stopped` tells why the pool asked it to stop, if it did, and `message` what it ended with.
    """

    exit_code: int
    seconds: float
    stopped: str | None
    message: str = ""


@dataclass
class Pool:
    """Processes for jobs.

    Attributes:
        size: jobs at a time.
        time_limit: seconds after which a job is stopped, or None.
        grace: seconds that a stopped job has to write its checkpoint before it is killed.
    """

    size: int
    time_limit: float | None = None
    grace: float = 30.0

    def run(
        self,
        jobs: Iterator[Callable[[int], Job] | None],
        ended: Callable[[Job, Ended], None],
        tick: Callable[[list[Running]], None] = lambda running: None,
        told: Callable[[Running, Any], None] = lambda running, what: None,
    ) -> int | None:
        """Do all of `jobs`; the signal that ended the sweep early, or None.

        Args:
            jobs: asked for a job, as a function of the slot that it gets, whenever a slot is free;
                None says that there is none until another ends.
            ended: told of every job's end.
            tick: called several times a second with what runs; it may stop some.
            told: given what a job reports (`worker.report`), always before its end.
        """
        running: list[Running] = []
        more, received = True, _Received()
        with received.listening():
            try:
                while True:
                    while more and len(running) < self.size and received.number is None:
                        try:
                            made = next(jobs)
                        except StopIteration:
                            more = False
                            break
                        if made is None:
                            break
                        running.append(self._start(made, running))
                    if not running and (not more or received.number is not None):
                        return received.number
                    self._look_after(running, received)
                    gone = [one for one in running if not one.process.is_alive()]
                    for one in running:
                        for what in one.heard():
                            told(one, what)
                    for one in gone:
                        running.remove(one)
                        ended(one.job, self._end(one))
                    tick(running)
            finally:
                for one in running:
                    one.process.kill()
                    one.process.join()

    def _start(self, made: Callable[[int], Job], running: list[Running]) -> Running:
        slot = min(set(range(self.size)) - {one.slot for one in running})
        job = made(slot)
        theirs, ours = processes().Pipe()
        process = processes().Process(  # type: ignore[attr-defined]
            target=worker.main, args=(job.call, job.surroundings, theirs)
        )
        process.start()
        theirs.close()
        return Running(job, slot, process, ours, time.monotonic())

    def _look_after(self, running: list[Running], received: _Received) -> None:
        """Wait a moment; stop what has to be stopped, kill what did not stop in time."""
        self._wait(running)
        for one in running:
            if received.number is not None:
                one.stop(signal.Signals(received.number).name)
            elif self._is_late(one):
                one.stop(f"ran past hydra.launcher.time_limit={self.time_limit:g} s")
            late = one.stopped is not None and time.monotonic() - one.stopped_at > self.grace
            if late or received.times > 1:
                one.process.kill()
                one.process.join()

    def _wait(self, running: list[Running]) -> None:
        wait([one.process.sentinel for one in running], timeout=TICK)

    def _is_late(self, one: Running) -> bool:
        return self.time_limit is not None and one.seconds > self.time_limit

    def _end(self, one: Running) -> Ended:
        one.process.join()
        one.orders.close()
        code = one.process.exitcode
        one.process.close()
        return Ended(1 if code is None else code, one.seconds, one.stopped)


class _Received:
    """Which signal the sweep got first, and how many there were."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.times = 0

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.number = self.number or number
        self.times += 1

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._take) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
