"""What a sweep prints while it runs: a line when a job ends, and a bar with its progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vae_run.sweeps.ledger import Entry
from vae_run.system.console import console, draws_bars, numbers

STYLES = {"completed": "green", "interrupted": "yellow", "pruned": "cyan"}


class SweepDisplay:
    """Lines of ended jobs, above a progress bar where the output is a terminal."""

    def __init__(self, total: int | None, done: int = 0) -> None:
        """`total` jobs, or None where that is not known; `done` of them were completed before."""
        self.total, self.done = total, done
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[SweepDisplay]:
        if not draws_bars():
            yield self
            return
        columns = (
            TextColumn("{task.fields[running]} running"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=console, transient=True, refresh_per_second=4) as bar:
            self._bar = bar
            self._task = bar.add_task("", total=self.total, completed=self.done, running=0)
            yield self
        self._bar = None

    def running(self, count: int) -> None:
        """Update the number of running jobs."""
        if self._bar is not None:
            self._bar.update(self._task, running=count)

    def ended(self, entry: Entry, metrics: dict[str, Any], seconds: float, log: str) -> None:
        """Print how a job ended; `metrics` are its main ones, `log` its log file."""
        self.done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done)
        place = f"{self.done}/{self.total}" if self.total else str(self.done)
        if entry.state == "completed":
            more = f"{numbers(metrics)}  {seconds:.1f} s"
        elif entry.state in ("interrupted", "pruned"):
            more = entry.message
        else:
            where = f"  ({log})" if Path(log).exists() else ""  # it never began
            more = f"{entry.message}{where}"
        state = (entry.state, STYLES.get(entry.state, "red"))
        console.print(Text.assemble(f"{place:>9}  ", state, f"  {entry.directory}  {more}"))
