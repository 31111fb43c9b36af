"""The lock of a run directory, in which only one process may train, and the removal of leftovers.

The lock is a flock on `train.log`, which every run has. The system releases it when its process
ends, however it ends, so a killed run leaves no stale lock behind. `filelock` is not used here: it
needs a file of its own, and knows no shared flock, with which other tasks look at a run without
keeping its trainer out.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vae_run.errors import ConfigError

FILE = "train.log"
PATIENCE = 0.2
"""Seconds to wait for a holder that only looks whether the lock is held."""


@contextmanager
def held(directory: Path, status: Callable[[], Mapping[str, Any]]) -> Iterator[None]:
    """Hold the lock of the run in `directory` while inside.

    Without flock support no lock is taken.

    Raises:
        ConfigError: another process holds it; it is named as `status` has it.
    """
    with (directory / FILE).open("a", encoding="utf-8") as file:
        give_up = time.monotonic() + PATIENCE
        while not taken(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > give_up:
                raise _in_use(directory, status())
            time.sleep(0.01)
        yield


def refuse_if_held(directory: Path, status: Mapping[str, Any]) -> None:
    """Refuse a run that is being trained.

    Raises:
        ConfigError: another process holds the lock.
    """
    if is_held(directory):
        raise _in_use(directory, status)


def is_held(directory: Path) -> bool:
    """Whether another process holds the lock."""
    try:
        file = (directory / FILE).open(encoding="utf-8")
    except FileNotFoundError:
        return False
    with file:
        return not taken(file.fileno(), fcntl.LOCK_SH)


def is_trained(directory: Path, status: Mapping[str, Any]) -> bool:
    """Whether a living process trains in the run in `directory`, as its `status` says.

    The lock alone does not tell: a process that a killed run had forked holds it until it ends.
    """
    here = status.get("host") == socket.gethostname()
    gone = here and isinstance(pid := status.get("pid"), int) and not is_alive(pid)
    return status.get("state") == "running" and not gone and is_held(directory)


def taken(descriptor: int, kind: int) -> bool:
    """Take a lock of `kind`, such as `fcntl.LOCK_EX`, on an open file; False: another has it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # without flock support, run without a lock
    return True


def _in_use(directory: Path, status: Mapping[str, Any]) -> ConfigError:
    return ConfigError(
        f"run: {directory} is being trained by process {status.get('pid', '(unknown)')} on "
        f"{status.get('host', 'this host')}. Wait for it to end, stop it, or choose another "
        "directory."
    )


def remove_leftovers(directory: Path) -> None:
    """Remove the half-written files of processes that have ended."""
    for path in directory.rglob(".*.tmp"):
        if match := re.fullmatch(r"\..+\.(\d+)\.tmp", path.name):
            pid = int(match[1])
            if pid == os.getpid() or not is_alive(pid):
                path.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether this machine has a process `pid`."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # a process of another user
    return True
