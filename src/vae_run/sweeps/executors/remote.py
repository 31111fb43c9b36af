"""A sweep's jobs on other machines: sent there as errands, and looked after as if they were here.

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

from vae_run.sweeps.executors.process_pool import Ended, Job, Pool, Running
from vae_run.sweeps.executors.worker import Surroundings


@dataclass(frozen=True)
class Errand:
    """A job as it is sent to another machine, where a process of its own does it.

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

    def __call__(self) -> tuple[Ended, int | None]:
        """Do it; how it ended, and the signal that this process was sent meanwhile, if any."""
        sweep = self.log.parent.parent
        if not (self.home.is_dir() and (sweep / "ledger.json").is_file()):
            missing = self.home if not self.home.is_dir() else sweep
            message = f"{missing}: {socket.gethostname()} does not see it; share the file system."
            return Ended(1, 0.0, None, message), None
        os.chdir(self.home)
        surroundings = Surroundings(self.log, self.threads, self._environment())
        ends: list[Ended] = []
        received = Pool(1, self.time_limit, self.grace).run(
            iter([lambda slot: Job(str(self.log), self.call, surroundings)]),
            lambda job, end: ends.append(end),
        )
        (end,) = ends or [Ended(1, 0.0, None, "it was stopped before it began")]
        return end, received

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "OMP_NUM_THREADS": str(self.threads)}

    def stop(self) -> None:
        """Let the job that this process does write its checkpoint and end; waits for that."""
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)
            child.join(self.grace)


class Sent(ABC):
    """An errand on its way. It looks to the pool like a process, and like the line to it."""

    def send(self, order: None) -> None:
        """What the pool tells a process to stop it."""
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
    def end(self) -> Ended:
        """How it ended."""

    def poll(self) -> bool:
        """Whether it has something to report: never, its files tell."""
        return False

    def join(self) -> None:  # noqa: B027
        """There is nothing to wait for."""

    def close(self) -> None:  # noqa: B027
        """There is nothing to close."""


@dataclass
class RemotePool(Pool):
    """The machines of a cluster; `size` counts the jobs that wait in its queue as well.

    Attributes:
        threads: CPU threads of a job.
        look_every: seconds between two looks at what was sent.
    """

    threads: int = 1
    look_every: float = 0.25
    _asked: float = 0.0

    @abstractmethod
    def send(self, errand: Errand, name: str) -> Sent:
        """Take an errand to the cluster, which calls it `name`."""

    def capacity(self) -> int:
        """How many jobs the cluster has room for now."""
        return self.size

    def _start(self, made: Callable[[int], Job], running: list[Running]) -> Running:
        job = made(0)
        errand = Errand(
            job.call, job.surroundings.log, Path.cwd(), self.threads, self.time_limit, self.grace
        )
        sent: Any = self.send(errand, str(job.key))
        return Running(job, 0, sent, sent, time.monotonic())

    def _wait(self, running: list[Running]) -> None:
        time.sleep(self.look_every)
        if time.monotonic() - self._asked > ASK_EVERY:
            self.size, self._asked = max(1, self.capacity()), time.monotonic()

    def _is_late(self, one: Running) -> bool:
        """The time limit is kept where the job runs: what waits in a queue loses nothing."""
        return False

    def _end(self, one: Running) -> Ended:
        sent: Any = one.process
        end: Ended = sent.end()
        return replace(end, stopped=one.stopped or end.stopped)


ASK_EVERY = 5.0
"""Seconds between two questions for a cluster's capacity."""
