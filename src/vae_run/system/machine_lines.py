"""Lines of JSON on standard output, for programs: what `--json` asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from vae_run.system import ranks
from vae_run.system.files import json_text

_stream: TextIO | None = None


@contextmanager
def on_standard_output() -> Iterator[None]:
    """Write lines to standard output; everything else that is printed goes to standard error."""
    global _stream
    before = sys.stdout
    _stream, sys.stdout = before, sys.stderr
    try:
        yield
    finally:
        _stream, sys.stdout = None, before


def write_line(event: str, *, path: Path | str | None, **about: Any) -> None:
    """Write what has happened as one object; has no effect unless `--json` was given.

    Args:
        event: start, epoch, job or end.
        path: of the run or the sweep, which is told as an absolute one.
        about: plain values; numbers that are not finite are left out.
    """
    if _stream is not None and ranks.leads():
        where = None if path is None else str(Path(path).absolute())
        line = json_text({"event": event, "path": where, **about})
        print(line, file=_stream, flush=True)
