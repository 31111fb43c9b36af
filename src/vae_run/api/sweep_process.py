"""The process of a sweep that Python starts: `vae-run -m`, which also writes how it ended.

The jobs of a sweep are processes, and they begin by importing the main module again: that of this
process, and not the user's script or notebook.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path

from vae_run.cli.in_process import own_errors
from vae_run.cli.main import main
from vae_run.errors import RunError


def run(answer: Path, words: list[str]) -> None:
    """Do the sweep of `words`; write the class, message and code of its error to `answer`."""
    try:
        main(["-m", *words])
    except SystemExit as end:
        told = {"kind": "", "message": "", "code": end.code}
        try:
            _raise(end.__cause__)
        except RunError as error:
            told |= {"kind": type(error).__name__, "message": str(error)}
        answer.write_text(json.dumps(told), encoding="utf-8")
        raise


def stop_with_the_caller() -> None:
    """Stop the sweep, as SIGTERM does, when the process that started it ends, however it does.

    That process holds the other end of this one's standard input, which ends with it. The jobs get
    an empty standard input instead.
    """
    held = os.dup(0)  # processes that this one starts do not inherit it
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)

    def wait() -> None:
        while os.read(held, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def _raise(error: BaseException | None) -> None:
    """Raise the error of vae-run that `error` is, or was raised for.

    Raises:
        RunError: that error.
    """
    if isinstance(error, Exception):
        own = error.__cause__ if isinstance(error.__cause__, RunError) else error
        with own_errors():
            raise own if isinstance(own, Exception) else error


if __name__ == "__main__":
    stop_with_the_caller()
    run(Path(sys.argv[1]), sys.argv[2:])
