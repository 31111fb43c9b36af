"""The process of a sweep that Python starts: `vae-run -m`, which also writes how it ended.

The jobs of a sweep are processes, and they begin by importing the main module again: that of this
process, and not the user's script or notebook.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vae_run.cli.main import main
from vae_run.errors import RunError


def _own(error: BaseException | None) -> RunError | None:
    """The error of vae-run that `error` is, or was raised for."""
    while error is not None and not isinstance(error, RunError):
        error = error.__cause__
    return error


def run(answer: Path, words: list[str]) -> None:
    """Do the sweep of `words`; write the class, message and code of its error to `answer`."""
    try:
        main(["-m", *words])
    except SystemExit as end:
        error = _own(end.__cause__)
        told = {
            "kind": type(error).__name__ if error is not None else "",
            "message": str(error) if error is not None else str(end.__cause__ or ""),
            "code": end.code,
        }
        answer.write_text(json.dumps(told), encoding="utf-8")
        raise


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
