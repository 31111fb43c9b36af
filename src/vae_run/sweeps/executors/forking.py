"""How the processes of jobs are made: forked from one that has imported everything already."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Mapping
from functools import cache
from multiprocessing.context import BaseContext
from typing import Any

from vae_run.system.python_path import own_modules_only
from vae_run.system.temporary_folder import use_short_temporary_folder

EXAMPLE = "VAE_RUN_SWEEP_EXAMPLE"
"""The environment variable that hands `preload` a job's configuration, as JSON."""
LONGEST = 100_000
"""Bytes that it can hold: Linux starts no process with a variable of 128 KiB or more."""


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
        config: of a job, from which the process learns what else to import, unless it is too long.
    """
    if sys.platform == "darwin":
        return
    from multiprocessing.forkserver import ensure_running

    processes()
    with own_modules_only(OMP_NUM_THREADS=str(threads), **{EXAMPLE: _example(config)}):
        ensure_running()  # libraries read the number of threads when they are imported


def _example(config: Mapping[str, Any] | None) -> str:
    text = json.dumps(config, default=str)
    return text if len(text.encode()) <= LONGEST else "null"
