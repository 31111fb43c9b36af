"""How the processes of jobs are made: forked from one that has imported everything already."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from multiprocessing.context import BaseContext
from typing import Any

from vae_run.system.temporary_folder import use_short_temporary_folder

EXAMPLE = "VAE_RUN_SWEEP_EXAMPLE"
"""The environment variable that hands `preload` a job's configuration, as JSON."""


@cache
def processes() -> BaseContext:
    """How processes are made: forked from one that has imported everything, where that is safe."""
    if sys.platform == "darwin":
        return multiprocessing.get_context("spawn")  # macOS frameworks do not survive a fork
    use_short_temporary_folder()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vae_run.sweeps.executors.preload"])
    return context


def warm_up(threads: int, config: Mapping[str, Any] | None = None) -> None:
    """Start the process that jobs are forked from; it imports while the sweep composes its jobs.

    Args:
        threads: CPU threads of a job.
        config: of a job, from which the process learns what else to import.
    """
    if sys.platform == "darwin":
        return
    from multiprocessing.forkserver import ensure_running

    processes()
    with variables(OMP_NUM_THREADS=str(threads), **{EXAMPLE: json.dumps(config, default=str)}):
        ensure_running()  # libraries read the number of threads when they are imported


@contextmanager
def variables(**values: str) -> Iterator[None]:
    """Environment variables that processes inherit which are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
