"""A sweep's jobs on other machines, as jobs of a pool.

Every machine must see the sweep's folder, and the program, under the same paths.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vae_run.sweeps.executors.job_end import Cause, JobEnd
from vae_run.sweeps.executors.process_pool import Job, Pool, Running
from vae_run.sweeps.executors.worker import WorkerEnvironment

CAPACITY_SECONDS = 5.0
"""Seconds between two questions for a cluster's capacity."""


@dataclass(frozen=True)
class RemoteJob:
    """A job as it is sent to another machine, where it gets a process of its own.

    Attributes:
        call: does the job, and returns its exit code.
        log: the file that takes what it prints.
        home: the directory that relative paths start from.
        threads: CPU threads of the job.
        time_limit: seconds after which it is stopped, or None.
        grace: seconds that it then has to write its checkpoint.
    """

    call: Callable[[], int]
    log: Path
    home: Path
    threads: int
    time_limit: float | None
    grace: float

    def __call__(self) -> tuple[JobEnd, int | None]:
        """Do it; how it ended, and the signal that this process received meanwhile, if any."""
        sweep = self.log.parent.parent
        if not (self.home.is_dir() and (sweep / "ledger.json").is_file()):
            missing = self.home if not self.home.is_dir() else sweep
            message = (
                f"{missing}: does not exist on {socket.gethostname()}. All machines must share "
                "the file system."
            )
            return JobEnd(1, 0.0, Cause.EXITED, message), None
        os.chdir(self.home)
        environment = WorkerEnvironment(self.log, self.threads, self._variables())
        ends: list[JobEnd] = []
        received = Pool(1, self.time_limit, self.grace).run(
            iter([lambda slot: Job(str(self.log), self.call, environment)]),
            lambda job, end: ends.append(end),
        )
        (end,) = ends or [JobEnd(1, 0.0, Cause.SWEEP_STOPPED, "stopped before it started")]
        return end, received

    def _variables(self) -> Mapping[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads)}

    def stop(self) -> None:
        """Ask the job in this process to write its checkpoint and end; wait until it has."""
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)
            child.join(self.grace)


class Submission(ABC):
    """A job that was sent to a cluster.

    It takes the place of both the process and the connection to it in `process_pool.Running`.
    """

    def send(self, request: None) -> None:
        """Ask it to stop: the pool sends nothing else."""
        self.stop()

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether it waits or runs."""

    @abstractmethod
    def stop(self) -> None:
        """Ask it to stop at its next step."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once, if it still runs."""

    @abstractmethod
    def end(self) -> JobEnd:
        """How it ended."""

    def poll(self) -> bool:
        """Whether a report has come: never, since `end` holds everything."""
        return False

    def join(self) -> None:  # noqa: B027
        """Nothing to wait for."""

    def close(self) -> None:  # noqa: B027
        """Nothing to close."""


@dataclass
class RemotePool(Pool):
    """The machines of a cluster; `size` counts the jobs that wait in its queue as well.

    Attributes:
        threads: CPU threads of a job.
        look_every: seconds between two looks at the submitted jobs.
    """

    threads: int = 1
    look_every: float = 0.25
    _asked: float = 0.0

    @abstractmethod
    def submit(self, job: RemoteJob, name: str) -> Submission:
        """Send a job to the cluster under `name`."""

    def capacity(self) -> int:
        """How many jobs the cluster has room for now."""
        return self.size

    def _start(self, made: Callable[[int], Job], running: list[Running]) -> Running:
        job = made(0)
        remote = RemoteJob(
            job.call, job.environment.log, Path.cwd(), self.threads, self.time_limit, self.grace
        )
        submission: Any = self.submit(remote, str(job.key))
        return Running(job, 0, submission, submission, time.monotonic())

    def _wait(self, running: list[Running]) -> None:
        time.sleep(self.look_every)
        if time.monotonic() - self._asked > CAPACITY_SECONDS:
            self.size, self._asked = max(1, self.capacity()), time.monotonic()

    def _is_late(self, one: Running) -> bool:
        """Never: the time limit is applied where the job runs, so that waiting does not count."""
        return False

    def _end(self, one: Running) -> JobEnd:
        submission: Any = one.process
        end: JobEnd = submission.end()
        if one.stop is not None:
            return replace(end, cause=one.stop.cause, message=one.stop.message)
        return end
