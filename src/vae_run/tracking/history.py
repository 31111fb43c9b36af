"""`history.csv`: a row an epoch."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vae_run.errors import CheckpointError, explain_os_error
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.files import write_atomically

log = logging.getLogger("vae_run")


class History:
    """`history.csv`: columns grow as quantities appear, rows are appended as epochs end."""

    def __init__(self, path: Path, *, keep_to_step: int | None) -> None:
        """With `keep_to_step`, rows of a former life up to that step stay, later ones go."""
        self._path = path
        self.rows: list[dict[str, float]] = []
        self._columns: list[str] = []
        self._behind = False
        if keep_to_step is not None and path.exists():
            for row in read_history(path):
                if row.get("step", math.inf) <= keep_to_step:
                    self._take(row)
            self._rewrite()

    def _take(self, row: dict[str, float]) -> bool:
        """Add a row; whether it brought a new column."""
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self.rows.append(row)
        return bool(new)

    def _text(self, rows: list[dict[str, float]], *, header: bool) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def _rewrite(self) -> None:
        write_atomically(self._path, self._text(self.rows, header=True).encode())
        self._behind = False

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row; one of the same epoch (a run that was extended) is replaced.

        A row that cannot be written is written with the next one, or by `finish`.
        """
        try:
            self._add(row)
        except OSError as error:
            self._behind = True
            log.warning("%s It is written again with the next row.", explain_os_error(error))

    def finish(self) -> None:
        """Write what could not be written before.

        Raises:
            OSError: it still cannot be.
        """
        if self._behind:
            self._rewrite()

    def _add(self, row: Mapping[str, float]) -> None:
        again = bool(self.rows) and self.rows[-1]["epoch"] == row["epoch"]
        if again:
            self.rows.pop()
        if self._take(dict(row)) or again or self._behind:
            self._rewrite()
            return
        size = self._path.stat().st_size
        try:
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(self._text(self.rows[-1:], header=False))
        except OSError as error:
            os.truncate(self._path, size)  # half a row is no row
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def read_history(path: Path, *, growing: bool = False) -> list[dict[str, float]]:
    """The rows of the `history.csv` at `path`, without empty cells.

    Of a file that is `growing`, the line that is being written is left out.

    Raises:
        CheckpointError: it is none.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = (text[: text.rfind("\n") + 1] if growing else text).splitlines()
        return [
            {str(key): _number(value) for key, value in row.items() if value}
            for row in csv.DictReader(lines)
        ]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise CheckpointError(f"{path}: is no table of numbers: {error}") from error


def _number(text: str) -> float:
    """The number that was written as `text`; epochs and steps come back without a point."""
    return int(text) if text.isdecimal() else float(text)


def history(run: RunDirectory) -> list[dict[str, float]]:
    """The rows of the run's `history.csv`; nothing where there is none."""
    file = run.path / "history.csv"
    if not file.is_file():
        return []
    return read_history(file)


def best_row(rows: Sequence[Mapping[str, float]]) -> Mapping[str, float] | None:
    """The epoch whose weights were kept: of the highest val ELBO, or the lowest val loss."""
    for name, sign in (("val/elbo", 1), ("val/loss", -1)):
        known = [row for row in rows if math.isfinite(row.get(name, math.nan))]
        if known:
            return max(known, key=lambda row: sign * row[name])
    return None
