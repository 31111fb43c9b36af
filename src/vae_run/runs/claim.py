"""A new run directory is one start's alone, from its first moment until `status.json` records it.

The directory `.hydra` is the claim, and its maker holds a flock on it. The system releases that
when a process is killed, so that a directory without a run and without a lock is nobody's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from pathlib import Path

_CONFIGURATION = {"config.yaml", "hydra.yaml", "overrides.yaml"}
_BEFORE_A_RUN = re.compile(r"\.hydra|train\.log|trackers\.json|\.(status|trackers)\.json\.\d+\.tmp")
"""What a start has written when its run is not yet recorded."""

_held: list[int] = []
"""The descriptor of this process's claim; a later one replaces it, when the first is recorded."""


def claim(directory: Path) -> None:
    """Claim `directory`, which exists, for a run of this process.

    Raises:
        FileExistsError: another process has claimed it, or there is a run in it.
    """
    folder = directory / ".hydra"
    try:
        folder.mkdir()
        new = True
    except FileExistsError:
        if not _is_nobodys(directory):
            raise
        new = False
    while _held:
        os.close(_held.pop())
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES) or not new:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from error
        return  # without flock support the new directory alone is the claim
    _held.append(descriptor)


def _is_nobodys(directory: Path) -> bool:
    """Whether nothing is in `directory` but what a start writes before its run is recorded."""
    return all(map(_BEFORE_A_RUN.fullmatch, os.listdir(directory))) and (
        set(os.listdir(directory / ".hydra")) <= _CONFIGURATION
    )
