"""A start that fails before its first step leaves no run directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vae_run.errors import DivergedError, Interrupted
from vae_run.runs.run_directory import RunDirectory


@contextmanager
def nothing_left(run: RunDirectory, before: Collection[str]) -> Iterator[None]:
    """Remove what this start has written into `run` if what is inside fails before a step.

    A start that a signal ends leaves its directory, from which `task=resume` begins again.

    Args:
        run: a new run, whose lock this process holds.
        before: names in its directory before the start. A directory that a run had is left alone.
    """
    try:
        yield
    except (Interrupted, DivergedError):
        raise
    except Exception:
        if not run.stepped and "status.json" not in before:
            _remove(run.path, set(before) - {".hydra"})
        raise


def _remove(directory: Path, kept: Collection[str]) -> None:
    """Remove all of `directory` but the names `kept`, and the directory if it is empty then."""
    with suppress(OSError):  # the error that ended the start is told, not what this one meets
        for path in directory.iterdir():
            if path.name in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        os.rmdir(directory)
