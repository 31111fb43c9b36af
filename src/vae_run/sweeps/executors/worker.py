"""A process that does one job of a sweep: its environment, its reports, and requests to stop."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import parent_process
from pathlib import Path

from vae_run.sweeps.executors.job_end import ErrorReport, RunReport
from vae_run.system.console import say_only_errors
from vae_run.system.signals import ask_to_stop


@dataclass(frozen=True)
class WorkerEnvironment:
    """What the process of a job is given.

    Attributes:
        log: the file that its standard output and error are appended to.
        threads: CPU threads that torch uses.
        variables: all environment variables, such as those that choose its GPU.
        alike: how many jobs share the program of its compiled step. It is no environment variable,
            since whatever the job starts would inherit that.
    """

    log: Path
    threads: int
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    alike: int = 1


_pool: Connection | None = None


def report(what: RunReport | ErrorReport) -> None:
    """Send a report to the pool; without a pool, do nothing."""
    if _pool is not None:
        _pool.send(what)


def main(job: Callable[[], int], environment: WorkerEnvironment, pool: Connection) -> None:
    """Do `job` and exit with the code that it returns."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment.variables)
    environment.log.parent.mkdir(parents=True, exist_ok=True)
    with environment.log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (
        open(number, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    faulthandler.enable(sys.stderr)
    global _pool
    _pool = pool
    threading.Thread(target=_stop_on_request, args=(pool,), daemon=True).start()
    say_only_errors()
    import torch

    from vae_run.system.denormals import denormals_flushed
    from vae_run.training.compile import share_programs

    share_programs(environment.alike)
    torch.set_num_threads(environment.threads)
    with denormals_flushed():
        sys.exit(job())


def _stop_on_request(pool: Connection) -> None:
    """Ask the job to stop when the pool sends anything, or when the sweep's process has ended."""
    parent = parent_process()
    assert parent is not None
    wait([pool, parent.sentinel])
    ask_to_stop()
