"""The folder of multiprocessing's sockets, where TMPDIR is too long a path for them."""

from __future__ import annotations

import os
import tempfile
from multiprocessing.util import get_temp_dir

from vae_run.errors import RunError

LONGEST = 103
"""Bytes of the address of a Unix socket at most: 107 on Linux, 103 on macOS."""

SHORT = "/tmp"  # noqa: S108 - multiprocessing makes a private folder in it


def use_short_temporary_folder() -> None:
    """Let multiprocessing keep its sockets in /tmp where the path of TMPDIR is too long for one.

    multiprocessing makes its folder once, at the first call, and removes it when this process
    ends; processes that it starts inherit it.

    Raises:
        RunError: /tmp cannot be written to either.
    """
    longest = f"{tempfile.gettempdir()}/pymp-12345678/listener-12345678"
    if len(os.fsencode(longest)) <= LONGEST:
        return
    before, tempfile.tempdir = tempfile.tempdir, SHORT
    try:
        get_temp_dir()
    except OSError as error:
        raise RunError(
            f"TMPDIR: {before} is too long a path for the sockets of a sweep's processes, and /tmp "
            f"cannot be written to ({error.strerror}). Set TMPDIR to a shorter path."
        ) from error
    finally:
        tempfile.tempdir = before
