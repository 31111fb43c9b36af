"""What a run says while it trains: `train.log`; its notes and warnings in `warnings.jsonl`."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from vae_run.system.console import NOTE, also_in_file

LOG, WARNINGS = "train.log", "warnings.jsonl"
MOST = 100
"""Different warnings that a run keeps; later ones are in `train.log` alone."""

LARGEST = 1_000_000
"""Bytes of the file that are read at most."""

_recording: ContextVar[Path] = ContextVar("recording")
"""The run that this context trains: one process can train several, each in a context."""


@contextmanager
def logged(run: Path) -> Iterator[None]:
    """Append what the program logs to the files of the run directory `run`."""
    warnings = _Warnings(run)
    before = _recording.set(run)
    logger = logging.getLogger("vae_run")
    with also_in_file(run / LOG):
        logger.addHandler(warnings)
        try:
            yield
        finally:
            logger.removeHandler(warnings)
            _recording.reset(before)


class _Warnings(logging.Handler):
    """Appends each new note or warning of the run as a line of JSON: time, level and message."""

    def __init__(self, run: Path) -> None:
        super().__init__(NOTE)
        self._run = run
        self._known = set(read_warnings(run))
        self.addFilter(lambda record: record.levelno <= logging.WARNING)
        self.addFilter(lambda record: _recording.get(None) == run)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message in self._known or len(self._known) >= MOST:
            return
        self._known.add(message)
        written = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        level = "warning" if record.levelno >= logging.WARNING else "note"
        line = json.dumps({"time": written, "level": level, "message": message}) + "\n"
        try:
            with (self._run / WARNINGS).open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:  # the disk is full: `train.log` and the terminal have the warning
            self.setLevel(logging.CRITICAL)


def read_warnings(run: Path) -> list[str]:
    """The notes and warnings that the run recorded, each once, in the order they first appeared."""
    return [message for message, _ in read_recorded(run)]


def read_recorded(run: Path) -> list[tuple[str, str]]:
    """The notes and warnings of the run, each once, with its level: "note" or "warning".

    Lines that are damaged are left out; a run of version 0.1.0 or earlier has recorded none. Lines
    without a level are of warnings.
    """
    try:
        with (run / WARNINGS).open("rb") as file:
            lines = file.read(LARGEST).decode(errors="replace").splitlines()
    except OSError:
        return []
    found: dict[str, str] = {}
    for line in lines[: 2 * MOST]:
        try:
            row = json.loads(line)
            message, level = row["message"], row.get("level")
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            continue
        if isinstance(message, str) and message:
            found.setdefault(message, "note" if level == "note" else "warning")
    return list(found.items())
