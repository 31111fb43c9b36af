"""The process of a sweep that Python starts: `vae-run -m`, which also writes how it ended.

The jobs of a sweep are processes, and they begin by importing the main module again: that of this
process, and not the user's script or notebook.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vae_run.api.watched import stop_with_the_caller
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
