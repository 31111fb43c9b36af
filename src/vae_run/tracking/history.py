"""`history.csv`, a row an epoch: written by a training, read by everything else."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vae_run.errors import CheckpointError, explain_os_error
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.files import csv_text, write_atomically
from vae_run.system.machine_lines import write_line

log = logging.getLogger("vae_run")

LARGEST = 100_000_000
"""Bytes of the largest history that is read: 100,000 epochs have about 30 MB."""


class History:
    """Writes `history.csv`: a row an epoch, and a column for every quantity that a row had.

    A row that cannot be written, because the disk is full, is written together with the next one,
    or by `finish`.
    """

    def __init__(self, path: Path) -> None:
        """Begin with no rows. The first row replaces what the file at `path` held."""
        self._path = path
        self._rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        self._whole = False

    @property
    def rows(self) -> Sequence[Mapping[str, float]]:
        """The rows so far."""
        return self._rows

    def restore(self, step: int) -> None:
        """Take over the rows that the file has up to `step`, and remove later ones from it."""
        if self._path.exists():
            for row in read_history(self._path):
                if row.get("step", math.inf) <= step:
                    self._take(row)
            self._rewrite()

    def _take(self, row: dict[str, float]) -> bool:
        """Add a row; whether it has a new column."""
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append(row)
        return bool(new)

    def _rewrite(self) -> None:
        self._whole = False
        write_atomically(self._path, csv_text(self._rows, self._columns).encode())
        self._whole = True

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row. It replaces the last one if that is of the same epoch.

        Two rows have the same epoch where a run that ended within an epoch was extended.
        """
        again = bool(self._rows) and self._rows[-1]["epoch"] == row["epoch"]
        if again:
            self._rows.pop()
        grown = self._take(dict(row))
        write_line("epoch", path=self._path.parent, **row)
        try:
            if grown or again or not self._whole:
                self._rewrite()
            else:
                self._append()
        except OSError as error:
            self._whole = False
            log.warning("%s It is written again with the next row.", explain_os_error(error))

    def _append(self) -> None:
        size = self._path.stat().st_size
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(csv_text(self._rows[-1:], self._columns, header=False))
        except OSError as error:
            os.truncate(self._path, size)  # half a row would be read as a whole one
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def finish(self) -> None:
        """Write the rows that could not be written before.

        Raises:
            OSError: they still cannot be.
        """
        if self._rows and not self._whole:
            self._rewrite()


def read_history(path: Path, *, growing: bool = False) -> list[dict[str, float]]:
    """The rows of the `history.csv` at `path`, without empty cells.

    Args:
        path: the file.
        growing: whether it is still written: an incomplete last line is then left out.

    Raises:
        CheckpointError: it is no table of numbers.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8")
        lines = (text[: text.rfind("\n") + 1] if growing else text).splitlines()
        return [
            {str(key): _number(value) for key, value in row.items() if value}
            for row in csv.DictReader(lines)
        ]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise CheckpointError(f"{path}: is no table of numbers: {error}") from error


def _number(text: str) -> float:
    """The number that `text` stands for, an integer where it has no decimal point."""
    return int(text) if text.isdecimal() else float(text)


def history(run: RunDirectory) -> list[dict[str, float]]:
    """The rows of the run's `history.csv`; none if there is no file."""
    file = run.path / "history.csv"
    if not file.is_file():
        return []
    return read_history(file)


def best_epoch(rows: Sequence[Mapping[str, float]], metrics: Mapping[str, Any]) -> float | None:
    """The epoch whose weights were kept, by the `metrics` of the run.

    Where these do not say, in a run that is not complete or of an earlier version, it is that of
    the highest val ELBO, or the lowest val loss, in the `rows` of the history: most objectives
    choose by these.
    """
    kept = (metrics.get("train") or {}).get("best_epoch")
    if kept is not None:
        return float(kept)
    for name, sign in (("val/elbo", 1), ("val/loss", -1)):
        known = [row for row in rows if math.isfinite(row.get(name, math.nan))]
        if known:
            return max(known, key=lambda row: sign * row[name])["epoch"]
    return None
