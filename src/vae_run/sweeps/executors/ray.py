"""A Ray cluster (https://docs.ray.io) as a pool: each job is a task of it."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray

from vae_run.errors import RunError
from vae_run.sweeps.executors.job_end import Cause, JobEnd
from vae_run.sweeps.executors.remote import RemoteJob, RemotePool, Submission


@dataclass
class RayTask(Submission):
    """A task of Ray."""

    reference: Any

    def is_alive(self) -> bool:
        done, _ = ray.wait([self.reference], timeout=0, fetch_local=False)
        return not done

    def stop(self) -> None:
        ray.cancel(self.reference)  # raises KeyboardInterrupt in the task

    def kill(self) -> None:
        if self.is_alive():
            ray.cancel(self.reference, force=True)

    def end(self) -> JobEnd:
        try:
            end: JobEnd
            end, _ = ray.get(self.reference)
        except ray.exceptions.TaskCancelledError:
            return JobEnd(143, 0.0, Cause.EXITED, "cancelled")
        except ray.exceptions.RayError as error:
            own = isinstance(error, ray.exceptions.RayTaskError)  # raised by the task itself
            message = f"Ray: {str(error).splitlines()[0]}"
            return JobEnd(1, 0.0, Cause.EXITED if own else Cause.LOST, message)
        return end


@dataclass
class RayPool(RemotePool):
    """Tasks of a Ray cluster.

    Attributes:
        jobs: at a time; None: as many as the cluster's machines hold, which may come and go.
        num_cpus: of a task.
        num_gpus: of a task; a fraction where several tasks share a GPU.
        retries: times that a task is started again because its machine was lost.
    """

    jobs: int | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    retries: int = 3

    def __post_init__(self) -> None:
        self.size = max(1, self.capacity())

    def submit(self, job: RemoteJob, name: str) -> Submission:
        task: Any = ray.remote(_do)
        wanted = {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus}
        return RayTask(task.options(**wanted, max_retries=self.retries, name=name).remote(job))

    def capacity(self) -> int:
        if self.jobs is not None:
            return self.jobs
        available = ray.cluster_resources()
        needed = {"CPU": self.num_cpus, "GPU": self.num_gpus}
        return int(min(available.get(what, 0) // each for what, each in needed.items() if each))


def connect(address: str | None) -> None:
    """Connect to the cluster at `address`.

    None means that of RAY_ADDRESS, else one that runs on this machine, else a new one.

    Raises:
        RunError: no cluster answers at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        _check_answers(address or os.environ.get("RAY_ADDRESS") or "")
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, namespace="vae-run")
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"hydra.launcher.address: found {address}, where no Ray cluster answers: {reason}. "
            "Start one: ray start --head."
        ) from error


def _check_answers(address: str) -> None:
    """Check that anything answers at HOST:PORT; Ray itself would try for minutes.

    Raises:
        OSError: nothing answers.
    """
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _do(job: RemoteJob) -> Any:
    return job()
