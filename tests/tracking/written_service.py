"""A service for processes of its own: it writes what it receives into a file of the run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_run.tracking.service import Point, Service

FILE = "received.jsonl"


class Written(Service):
    """Each line is a call: its name, what it was given, and the process that made it."""

    option = "written"
    own_process = True

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs

    def _write(self, name: str, *given: Any) -> None:
        with (self.run / FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps([name, *given, os.getpid(), os.environ.get("SAID")]) + "\n")

    def start(self, run: Path, resumed_step: int | None) -> None:
        self.run = run
        self._write("start", resumed_step)

    def points(self, points: Sequence[Point]) -> None:
        if self.hangs:
            time.sleep(600)
        self._write("points", [point.value for point in points])

    def text(self, name: str, markdown: str) -> None:
        if name == "disk":
            raise OSError(28, "No space left on device", "/there")
        raise LookupError(markdown)

    def histogram(self, name: str, values: Any, step: int) -> None:
        self._write("histogram", type(values).__module__, values.tolist())

    def close(self) -> None:
        self._write("close")

    def passes(self, error: Exception) -> bool:
        return isinstance(error, OSError)
