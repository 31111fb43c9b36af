"""Places for results: tried before the work, and replaced by others where they fail after it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from vae_run.system.console import console

log = logging.getLogger("vae_run")

PROBE = 2**16
"""Bytes that are written on trial: what a full disk or a quota has no room for."""


def try_place(path: Path) -> None:
    """Try whether `path` can be written, before work that takes long; what is there stays.

    Where its folder does not exist yet, the nearest one above it that does is tried.

    Raises:
        OSError: it cannot, also because the disk or a quota is full; the error names it.
    """
    there = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there, buffering=0) as file:
            file.write(os.urandom(PROBE))
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def keep(path: Path, write: Callable[[Path], None], text: Callable[[], str]) -> None:
    """Write results by `write(path)`; where that fails, keep them elsewhere and say where.

    They go to a file of the same kind in the working directory or, where that cannot be written
    either, in the folder for temporary files; else they are printed whole.

    Args:
        path: where they belong.
        write: writes them to the path that it is given.
        text: the results as they are printed.

    Raises:
        OSError: of `path`, after they were kept elsewhere.
    """
    try:
        write(path)
    except OSError as error:
        other = _written_elsewhere(path, write)
        if other is None:
            console.verbatim(text())
            log.warning("%s cannot be written, so what belongs there is printed above", path)
        else:
            log.warning("%s cannot be written: what belongs there is in %s", path, other)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _written_elsewhere(path: Path, write: Callable[[Path], None]) -> Path | None:
    """The file that took the results in place of `path`; None if there is none."""
    for find in (Path.cwd, lambda: Path(tempfile.gettempdir())):
        try:
            other = find() / f"{path.stem}-kept-{os.getpid()}{path.suffix}"
            write(other)
        except OSError:
            continue
        return other
    return None
