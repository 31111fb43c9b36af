"""`status.json` of a run: what it says, and writing it, by the run's process or by another."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_run.errors import DivergedError, Interrupted, explain_os_error
from vae_run.runs.saved_json import read_if_whole
from vae_run.system.files import json_text, write_json

FILE = "status.json"


def about_process() -> dict[str, Any]:
    """What a status says of the process that writes it, with an empty message."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "message": ""}


def write_status(run: Path, content: Mapping[str, Any], *, lasting: bool = True) -> None:
    """Write `status.json` of the run directory `run`; `lasting` as of `replacing`.

    Raises:
        OSError: not even its old content can be overwritten.
    """
    try:
        write_json(run / FILE, content, lasting=lasting)
    except OSError:  # a full disk still has room for what the file itself occupies
        text = json_text(content)
        with (run / FILE).open("r+", encoding="utf-8") as file:
            file.write(text)
            file.truncate()


def ended(error: BaseException) -> tuple[str, str]:
    """State and message of a run that `error` ended."""
    state = "failed"
    if isinstance(error, (Interrupted, DivergedError)):
        state = "interrupted" if isinstance(error, Interrupted) else "diverged"
    if isinstance(error, KeyboardInterrupt):
        state = "interrupted"
    if isinstance(error, OSError) and error.filename:
        return state, explain_os_error(error)
    return state, str(error) or type(error).__name__


def ended_from_outside(run: Path, state: str, message: str) -> None:
    """Record the end of a run whose process could not do so itself, because it was killed.

    A `status.json` that does not say `running` is left as it is: the process had the last word.
    """
    status = read_if_whole(run / FILE)
    if status.get("state") == "running":
        write_json(run / FILE, {**status, "state": state, "message": message})
