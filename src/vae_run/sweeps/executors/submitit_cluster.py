"""Slurm, or processes of this machine in its manner, as a pool, through submitit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import submitit

from vae_run.errors import ConfigError, RunError
from vae_run.sweeps.executors.process_pool import Ended, Running
from vae_run.sweeps.executors.remote import Errand, RemotePool, Sent


@dataclass
class Submitted:
    """What a job of Slurm does: the errand; when Slurm wants its place back, it is queued again."""

    errand: Errand

    def __call__(self) -> Ended:
        end, received = self.errand()
        if received is None:
            return end
        # No result: a preempted job is queued again, if it does not end before Slurm ends it.
        while _is_preempted():
            time.sleep(1.0)
        os._exit(128 + received)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit ahead of a time limit or a preemption; what it returns is queued."""
        self.errand.stop()
        return submitit.helpers.DelayedSubmission(self)


@dataclass
class SlurmJob(Sent):
    """A job of submitit; `pool` knows what is in the queue."""

    job: submitit.Job[Ended]
    pool: SlurmPool
    lag: float
    _missed: float | None = None

    def is_alive(self) -> bool:
        if self.job.paths.result_pickle.exists():
            return False
        if self.pool.has(self.job):
            self._missed = None
            return True
        self._missed = self._missed or time.monotonic()
        return time.monotonic() - self._missed < self.lag

    def stop(self) -> None:
        self.lag = 1.0  # it is to leave no result
        if self.pool.executor == "local":  # its own `cancel` gives the job a second to end
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.job.job_id), signal.SIGTERM)
        else:
            self.job.cancel(check=False)

    def kill(self) -> None:
        if self.is_alive():
            self.job.cancel(check=False)

    def end(self) -> Ended:
        paths = self.job.paths
        if not paths.result_pickle.exists():
            message = f"job {self.job.job_id} left the queue without a result ({paths.stderr})"
            return Ended(1, 0.0, None, message)
        try:
            end: Ended = self.job.result()
            return end
        except submitit.core.utils.FailedJobError as error:
            what = [line for line in str(error).splitlines() if line.strip()]
            return Ended(1, 0.0, None, f"job {self.job.job_id}: {what[-1]} ({paths.stderr})")


@dataclass
class SlurmPool(RemotePool):
    """Jobs in the queue of Slurm.

    Attributes:
        executor: submitit's: slurm, or local, processes of this machine.
        folder: of submitit's own files.
        parameters: of each job, as submitit names them.
    """

    executor: str = "slurm"
    folder: Path = Path()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    _executor: Any = field(init=False, default=None)
    _queue: frozenset[str] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        try:
            again = {f"{self.executor}_max_num_timeout": REQUEUES}
            self._executor = submitit.AutoExecutor(self.folder, self.executor, **again)
        except RuntimeError as error:
            raise RunError(f"hydra/launcher=slurm: {error}. Start it where sbatch is.") from error
        try:
            self._executor.update_parameters(**self.parameters)
        except (NameError, TypeError, ValueError) as error:
            raise ConfigError(f"hydra.launcher.parameters: {error}") from error

    def send(self, errand: Errand, name: str) -> Sent:
        self._executor.update_parameters(name=name)
        try:
            job = self._executor.submit(Submitted(errand))
        except submitit.core.utils.FailedJobError as error:
            raise RunError(f"hydra/launcher=slurm: sbatch: {str(error).strip()}") from error
        return SlurmJob(job, self, LAG if self.executor == "slurm" else 1.0)

    def has(self, job: submitit.Job[Ended]) -> bool:
        """Whether `job` waits or runs, as far as is known."""
        if self.executor == "local":
            return bool(job.state == "RUNNING")
        return self._queue is None or job.job_id in self._queue

    def _wait(self, running: list[Running]) -> None:
        super()._wait(running)
        if self.executor == "slurm":
            self._queue = _queue()


def _is_preempted() -> bool:
    """Whether Slurm wants this job's place for another; False for one that is cancelled."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return False
    command = ["scontrol", "--oneliner", "show", "job", number]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return True  # in doubt: if it is not, Slurm ends it in a moment
    return "JobState=CANCELLED" not in done.stdout


REQUEUES = 1000
"""Time limits after which a job is queued once more."""
LAG = 30.0
"""Seconds that a shared file system may take to show the result of a job that left the queue."""


def _queue() -> frozenset[str] | None:
    """The numbers of the user's jobs that wait or run; None where Slurm does not answer."""
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(done.stdout.split())
