"""What a sweep says while it runs: a line the moment a job ends, and how far all of them are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vae_run.sweeps.ledger import Entry
from vae_run.system.console import console, numbers

STYLES = {"completed": "green", "interrupted": "yellow", "pruned": "cyan"}


class SweepDisplay:
    """Lines of ended jobs, above a bar where there is a terminal to draw one on."""

    def __init__(self, total: int | None, done: int = 0) -> None:
        """`total` jobs, None where nobody knows; `done` of them were completed before."""
        self.total, self.done = total, done
        self._bar: Progress | None = None

    @contextmanager
    def shown(self) -> Iterator[SweepDisplay]:
        if not console.is_terminal:
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
        """Show how many jobs run."""
        if self._bar is not None:
            self._bar.update(self._task, running=count)

    def ended(self, entry: Entry, figures: dict[str, Any], seconds: float, log: str) -> None:
        """Say how a job ended; `figures` are its main ones, `log` where to read on."""
        self.done += 1
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done)
        place = f"{self.done}/{self.total}" if self.total else str(self.done)
        style = STYLES.get(entry.state, "red")
        line = f"{place:>9}  [{style}]{entry.state}[/]  {escape(entry.directory)}"
        if entry.state == "completed":
            console.print(f"{line}  {numbers(figures)}  {seconds:.1f} s")
        elif entry.state in ("interrupted", "pruned"):
            console.print(f"{line}  {escape(entry.message)}")
        else:
            console.print(f"{line}  {escape(entry.message)}  ({escape(log)})")
