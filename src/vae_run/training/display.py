"""The progress of one training: a bar on a terminal, and a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from vae_run.system.console import console, draws_bars, log, numbers

PLAIN_INTERVAL = 5.0
"""Seconds between progress lines where there is no terminal to draw a bar on."""


BESIDE = 36
"""Columns of the bar's line that its numbers leave free, for the bar and the time left."""


class _Numbers(ProgressColumn):
    """As many of the numbers as fit the line, which are whole."""

    def render(self, task: Task) -> Text:
        room, shown = console.width - BESIDE - len(task.fields["epoch"]), ""
        for pair in task.fields["numbers"].split("  "):
            if len(f"{shown}  {pair}") > room:
                break
            shown = f"{shown}  {pair}".lstrip()
        return Text(shown, style="cyan", no_wrap=True)


class TrainingDisplay:
    """The progress of one training: a bar on a terminal, and a line every few seconds elsewhere."""

    def __init__(self, total: int, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._epochs = f"{total / steps_per_epoch:.4g}"
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if draws_bars():
            columns = (
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(bar_width=20),
                _Numbers(),
                TimeRemainingColumn(compact=True),
            )
            self._bar = Progress(*columns, console=console, transient=True, refresh_per_second=5)
            self._task = self._bar.add_task("", total=total, epoch=f"0/{self._epochs}", numbers="")
            self._bar.start()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show the means of the latest window of steps."""
        if self._bar is not None:
            epoch = f"{step / self.steps_per_epoch:.1f}/{self._epochs}"
            self._bar.update(self._task, completed=step, epoch=epoch, numbers=numbers(values))

    def evaluated(self, step: int, values: Mapping[str, float], *, final: bool) -> None:
        """Log an evaluation, at most every `PLAIN_INTERVAL` seconds unless it is `final`."""
        now = time.monotonic()
        if final or now - self._last_line >= PLAIN_INTERVAL:
            self._last_line = now
            epoch = step / self.steps_per_epoch
            log.info("epoch %.4g/%s  val %s", epoch, self._epochs, numbers(values))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
