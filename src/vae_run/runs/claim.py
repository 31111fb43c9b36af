"""A new run directory is one start's alone, from its first moment until `status.json` records it.

The directory `.hydra` is the claim. Its maker holds a flock on it, which the system releases when
the process is killed, and marks it by a file, since other Hydra programs leave the same files
there. In a directory without a run, a marked or empty `.hydra` that nobody has locked is free.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

MARK = "vae-run.start"
"""The file in `.hydra` that says that vae-run has made it, and that its run is not yet recorded."""
_CONFIGURATION = {MARK, "config.yaml", "hydra.yaml", "overrides.yaml"}
_BEFORE_A_RUN = re.compile(r"\.hydra|train\.log|trackers\.json|\.(status|trackers)\.json\.\d+\.tmp")
"""What a start has written when its run is not yet recorded."""

_TAKEN = (errno.EWOULDBLOCK, errno.EACCES, errno.ENOENT)
"""Errors of a directory that another process has locked, or has removed."""

_held: list[int] = []
"""The descriptor of this process's claim; a later one replaces it, when the first is recorded."""


def claim(directory: Path) -> None:
    """Claim `directory`, which exists, for a run of this process.

    Raises:
        FileExistsError: another process has claimed it, or there is a run in it, or `.hydra` of
            another program.
    """
    folder = directory / ".hydra"
    try:
        folder.mkdir()
        new = True
    except FileExistsError:
        if not _is_free(directory):
            raise
        new = False
    while _held:
        os.close(_held.pop())
    descriptor = _locked(folder, new)
    if descriptor is not None:
        _held.append(descriptor)
    (folder / MARK).touch()


def recorded(directory: Path) -> None:
    """Remove the mark of a start: `status.json` of `directory` says from now on whose it is."""
    with suppress(OSError):
        (directory / ".hydra" / MARK).unlink(missing_ok=True)


def _locked(folder: Path, new: bool) -> int | None:
    """A descriptor of `folder` with a lock; None: a `new` one, without flock support.

    Raises:
        FileExistsError: another process has it, or has had it since this one looked.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked, named = os.fstat(descriptor), os.stat(folder)
        if os.path.samestat(locked, named) and (
            _is_free(folder.parent)
            or (new and not os.listdir(folder) and not (folder.parent / "status.json").exists())
        ):
            return descriptor
        refusal = None
    except OSError as error:
        refusal = error
    os.close(descriptor)
    if new and refusal is not None and refusal.errno not in _TAKEN:
        return None  # without flock support the new directory alone is the claim
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder)) from refusal


def _is_free(directory: Path) -> bool:
    """Whether nothing is in `directory` but what vae-run writes before its run is recorded."""
    inside = set(os.listdir(directory / ".hydra"))
    return (
        (not inside or MARK in inside)
        and inside <= _CONFIGURATION
        and all(map(_BEFORE_A_RUN.fullmatch, os.listdir(directory)))
    )
