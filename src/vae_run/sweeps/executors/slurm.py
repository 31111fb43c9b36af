"""Slurm as a pool, through submitit; or processes of this machine in the same manner."""

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
from vae_run.sweeps.executors.job_end import Cause, JobEnd
from vae_run.sweeps.executors.process_pool import Running
from vae_run.sweeps.executors.remote import RemoteJob, RemotePool, Submission

REQUEUES = 1000
"""Time limits after which a job is queued again."""

LAG = 30.0
"""Seconds that a shared file system may take to show the result of a job that left the queue."""


@dataclass
class SlurmTask:
    """What a job of Slurm executes; when Slurm preempts it, it is queued again.

    The name `checkpoint` is submitit's.
    """

    job: RemoteJob

    def __call__(self) -> JobEnd:
        _queued(submitit.JobEnvironment().paths).unlink(missing_ok=True)
        end, received = self.job()
        if received is None:
            return end
        # Leave no result: Slurm queues a preempted job again if it has not ended by itself.
        while _is_preempted():
            time.sleep(1.0)
        os._exit(128 + received)

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Called by submitit ahead of a time limit or a preemption; what it returns is queued."""
        self.job.stop()
        _queued(submitit.JobEnvironment().paths).touch()
        return submitit.helpers.DelayedSubmission(self)


@dataclass
class SlurmJob(Submission):
    """A job of submitit.

    Attributes:
        task: what it executes.
        name: of the job.
        pool: knows what is in the queue.
        lag: seconds to wait for the result of a job that left the queue.
    """

    task: SlurmTask
    name: str
    pool: SlurmPool
    lag: float
    job: submitit.Job[JobEnd] = field(init=False)
    _missed: float | None = None
    _stopped: bool = False

    def __post_init__(self) -> None:
        self.job = self.pool.submitted(self.task, self.name)

    def is_alive(self) -> bool:
        if self.job.paths.result_pickle.exists():
            return False
        if self.pool.has(self.job):
            self._missed = None
            return True
        if self.pool.executor == "local" and not self._stopped and _queued(self.job.paths).exists():
            # submitit queues a local job six times at most, whatever `max_num_timeout` says.
            _queued(self.job.paths).unlink()
            self.job = self.pool.submitted(self.task, self.name)
            return True
        self._missed = self._missed or time.monotonic()
        return time.monotonic() - self._missed < self.lag

    def stop(self) -> None:
        self.lag, self._stopped = 1.0, True  # a stopped job leaves no result
        if self.pool.executor == "local":  # its own `cancel` gives the job a second to end
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.job.job_id), signal.SIGTERM)
        else:
            self.job.cancel(check=False)

    def kill(self) -> None:
        if self.is_alive():
            self.job.cancel(check=False)

    def end(self) -> JobEnd:
        paths = self.job.paths
        if not paths.result_pickle.exists():
            message = f"job {self.job.job_id} left the queue without a result ({paths.stderr})"
            return JobEnd(1, 0.0, Cause.LOST, message)
        try:
            end: JobEnd = self.job.result()
            return end
        except submitit.core.utils.FailedJobError as error:
            what = [line for line in str(error).splitlines() if line.strip()]
            message = f"job {self.job.job_id}: {what[-1]} ({paths.stderr})"
            return JobEnd(1, 0.0, Cause.EXITED, message)


@dataclass
class SlurmPool(RemotePool):
    """Jobs in the queue of Slurm.

    Attributes:
        executor: submitit's: slurm, or local, processes of this machine.
        folder: where submitit keeps its files.
        parameters: of each job, by submitit's names.
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
            raise RunError(
                f"hydra/launcher=slurm: {error}. Run it where sbatch is installed."
            ) from error
        try:
            self._executor.update_parameters(**self.parameters)
        except (NameError, TypeError, ValueError) as error:
            raise ConfigError(f"hydra.launcher.parameters: {error}") from error

    def submit(self, job: RemoteJob, name: str) -> Submission:
        return SlurmJob(SlurmTask(job), name, self, LAG if self.executor == "slurm" else 1.0)

    def submitted(self, task: SlurmTask, name: str) -> submitit.Job[JobEnd]:
        """Put `task` into the queue."""
        self._executor.update_parameters(name=name)
        try:
            return self._executor.submit(task)
        except submitit.core.utils.FailedJobError as error:
            raise RunError(f"hydra/launcher=slurm: sbatch: {str(error).strip()}") from error

    def has(self, job: submitit.Job[JobEnd]) -> bool:
        """Whether `job` waits or runs, as far as Slurm has answered."""
        if self.executor == "local":
            return bool(job.state == "RUNNING")
        return self._queue is None or job.job_id in self._queue

    def _wait(self, running: list[Running]) -> None:
        super()._wait(running)
        if self.executor == "slurm":
            self._queue = _queue()


def _queued(paths: submitit.core.utils.JobPaths) -> Path:
    """The file that says that a job ended to be queued again."""
    return Path(paths.folder) / f"{paths.job_id}_queued"


def _is_preempted() -> bool:
    """Whether Slurm takes this job's place for another; False for a cancelled job."""
    number = os.environ.get("SLURM_JOB_ID")
    if number is None:
        return False
    command = ["scontrol", "--oneliner", "show", "job", number]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return True  # unknown: if it is not preempted, Slurm ends it in a moment
    return "JobState=CANCELLED" not in done.stdout


def _queue() -> frozenset[str] | None:
    """The numbers of the user's jobs that wait or run; None where Slurm does not answer."""
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return frozenset(done.stdout.split())
