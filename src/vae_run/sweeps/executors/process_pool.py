"""Jobs in processes of their own, a limited number at a time.

No job can harm another, and no job outlives the sweep.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from vae_run.sweeps.executors import worker
from vae_run.sweeps.executors.forking import processes
from vae_run.sweeps.executors.job_end import Cause, ErrorReport, JobEnd, RunReport, StopRequest
from vae_run.sweeps.executors.worker import WorkerEnvironment
from vae_run.system.python_path import own_modules_only
from vae_run.system.signals import heeded

TICK = 0.25
"""Seconds between two looks at the running jobs."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Job:
    """The work of one process.

    Attributes:
        key: identifies it among the pool's jobs.
        call: does the work and returns the exit code; it is pickled.
        environment: what the process is given.
    """

    key: Any
    call: Callable[[], int]
    environment: WorkerEnvironment


@dataclass
class Running:
    """A job that has a process.

    Attributes:
        slot: its place among the jobs that run at the same time, from 0.
        stop: the request to stop that it was sent, if any.
        error: the first line of the error that it reported, if any.
    """

    job: Job
    slot: int
    process: BaseProcess
    connection: Connection
    started: float
    stop: StopRequest | None = None
    error: str = ""

    def ask_to_stop(self, cause: Cause, message: str) -> None:
        """Ask it to stop at its next step; only the first request counts."""
        if self.stop is None:
            self.stop = StopRequest(cause, message, time.monotonic())
            with suppress(OSError):  # it has just ended
                self.connection.send(None)

    def reports(self) -> Iterator[RunReport | ErrorReport]:
        """What it has reported since the last call."""
        with suppress(EOFError, OSError):  # it has ended, and nothing more can come
            while self.connection.poll():
                yield self.connection.recv()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


Jobs = Iterator[Callable[[int], Job] | None]


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
        jobs: Jobs,
        ended: Callable[[Job, JobEnd], None],
        tick: Callable[[list[Running]], None] = lambda running: None,
        reported: Callable[[Running, RunReport], None] = lambda running, report: None,
    ) -> int | None:
        """Do all of `jobs`; returns the number of the signal that ended the sweep early, or None.

        Args:
            jobs: yields a job, as a function of the slot that it gets, whenever a slot is free;
                None means that no job can start before another has ended.
            ended: called with every job that has ended, and how.
            tick: called several times a second with the running jobs; it may stop some.
            reported: called with each run of a job that ended before the job itself.
        """
        running: list[Running] = []
        received = _Received()
        with received.listening():
            try:
                while True:
                    more = received.number is None and self._fill(running, jobs)
                    if not running and not more:
                        return received.number
                    self._look_after(running, received)
                    gone = [one for one in running if not one.process.is_alive()]
                    for one in running:
                        self._read(one, reported)
                    for one in gone:
                        running.remove(one)
                        ended(one.job, self._end(one))
                    tick(running)
            finally:
                for one in running:
                    one.process.kill()
                    one.process.join()

    def _fill(self, running: list[Running], jobs: Jobs) -> bool:
        """Start jobs in all free slots; whether there may be more to start later."""
        while len(running) < self.size:
            try:
                made = next(jobs)
            except StopIteration:
                return False
            if made is None:
                break
            running.append(self._start(made, running))
        return True

    def _read(self, one: Running, reported: Callable[[Running, RunReport], None]) -> None:
        for report in one.reports():
            if isinstance(report, ErrorReport):
                one.error = report.message
            else:
                reported(one, report)

    def _start(self, made: Callable[[int], Job], running: list[Running]) -> Running:
        slot = min(set(range(self.size)) - {one.slot for one in running})
        job = made(slot)
        theirs, ours = processes().Pipe()
        process = processes().Process(  # type: ignore[attr-defined]
            target=worker.main, args=(job.call, job.environment, theirs)
        )
        with own_modules_only():
            process.start()
        theirs.close()
        return Running(job, slot, process, ours, time.monotonic())

    def _look_after(self, running: list[Running], received: _Received) -> None:
        """Wait a moment; ask jobs to stop that have to, and kill those that did not in time."""
        self._wait(running)
        for one in running:
            if received.number is not None:
                one.ask_to_stop(Cause.SWEEP_STOPPED, signal.Signals(received.number).name)
            elif self._is_late(one):
                one.ask_to_stop(
                    Cause.TIME_LIMIT, f"ran past hydra.launcher.time_limit={self.time_limit:g} s"
                )
            late = one.stop is not None and time.monotonic() - one.stop.at > self.grace
            if late or received.times > 1:
                one.process.kill()
                one.process.join()

    def _wait(self, running: list[Running]) -> None:
        wait([one.process.sentinel for one in running], timeout=TICK)

    def _is_late(self, one: Running) -> bool:
        return self.time_limit is not None and one.seconds > self.time_limit

    def _end(self, one: Running) -> JobEnd:
        one.process.join()
        one.connection.close()
        code = 1 if one.process.exitcode is None else one.process.exitcode
        one.process.close()
        if one.stop is not None:
            return JobEnd(code, one.seconds, one.stop.cause, one.stop.message)
        if code < 0:
            message = f"killed by {signal.Signals(-code).name}"
            return JobEnd(code, one.seconds, Cause.KILLED, message)
        return JobEnd(code, one.seconds, Cause.EXITED, one.error)


class _Received:
    """Which signal the sweep got first, and how many there were."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.times = 0

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.times += not (number == signal.SIGHUP == self.number)  # the kernel repeats a shell's
        self.number = self.number or number

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._take) for number in heeded(SIGNALS)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
