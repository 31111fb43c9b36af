"""Trackio as a tracker: its store on this machine, a database for each project."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from vae_run.tracking.service import Point, Service

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Trackio(Service):
    """Writes to Trackio's store: numbers, hyperparameters, pictures, histograms, texts.

    The store lies in TRACKIO_DIR, or where Trackio has it by default. It is written directly, as
    Trackio's own imports do: what fails is told, where `trackio.log` would only drop it.
    """

    option = "trackio"
    own_process = True
    product = "Trackio"

    def __init__(
        self,
        *,
        project: Annotated[str, Field(pattern=r"^[\w-][\w. -]*$")] = "vae-run",
        name: str | None = None,
    ) -> None:
        self.project, self.name = project, name
        self._known: set[tuple[str, int]] = set()  # numbers that the store has

    def prepare(self) -> None:
        """Import the package."""
        import trackio.sqlite_storage  # noqa: F401

    def start(self, run: Path, resumed_step: int | None) -> None:
        """Begin a run, or go on with the one that `run` had before."""
        from trackio.sqlite_storage import SQLiteStorage

        self._store = SQLiteStorage
        self._store.validate_project_name(self.project)
        ids = self.ids(run)
        known = ids.known()
        self._id = known or secrets.token_hex(16)
        # Trackio makes a folder of this name for pictures.
        self._name = re.sub(r"[^\w.,=+ -]|^\.+", "_", self.shown_name(run))
        self._group = None
        if self.parent(run) is not None:
            self._group = run.absolute().parent.name
        elif (run / "ledger.json").is_file():
            self._group = run.absolute().name
        self._config: dict[str, Any] = {}
        if known:
            rows = self._store.get_logs(self.project, run_id=known)
            self._known = {(name, row["step"]) for row in rows for name in row}
        ids.keep(self._id)

    def points(self, points: Sequence[Point]) -> None:
        new = [point for point in points if (point.name, point.step) not in self._known]
        rows: list[dict[str, Any]] = []
        steps: list[int] = []
        times: list[str] = []
        for (step, seconds), together in groupby(new, key=lambda p: (p.step, p.seconds)):
            rows.append({point.name: point.value for point in together})
            steps.append(step)
            times.append(datetime.fromtimestamp(seconds, UTC).isoformat())
        if rows:
            self._write(rows, steps, times)

    def _write(
        self, rows: list[dict[str, Any]], steps: list[int], times: list[str] | None = None
    ) -> None:
        config = self._config or None
        self._store.bulk_log(
            self.project, self._name, rows, steps, times, config=config, run_id=self._id
        )
        self._config = {}  # it is stored once

    def hparams(self, values: Mapping[str, Any]) -> None:
        now = datetime.now(UTC).isoformat()
        own = {"_Username": None, "_Created": now, "_Group": self._group}
        self._config = {**values, **own}

    def text(self, name: str, markdown: str) -> None:
        from trackio import Markdown

        self._write([{name: Markdown(markdown)._to_dict()}], [0])

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        from trackio import Image

        for name, picture in pictures.items():
            image = Image(picture, caption=name)
            image._save(self.project, self._name, step)
            self._write([{f"images/{name}": image._to_dict()}], [step])

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        from trackio import Histogram

        self._write([{name: Histogram(np.asarray(values))._to_dict()}], [step])

    def passes(self, error: Exception) -> bool:
        """Whether the disk is full, or another process writes to the store."""
        return isinstance(error, sqlite3.OperationalError)
