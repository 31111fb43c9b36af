"""The progress of one training: a bar on a terminal, and a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from vae_run.system.console import console, draws_bars, log, numbers

PLAIN_INTERVAL = 5.0
"""Seconds between progress lines where there is no terminal to draw a bar on."""


BESIDE = 30
"""Columns of the bar's line, besides where it stands, for the word, the bar and the time left."""


class _Numbers(ProgressColumn):
    """As many of the numbers as fit the line, which are whole."""

    def render(self, task: Task) -> Text:
        room, shown = console.width - BESIDE - len(task.fields["place"]), ""
        for pair in task.fields["numbers"].split("  "):
            if len(f"{shown}  {pair}") > room:
                break
            shown = f"{shown}  {pair}".lstrip()
        return Text(shown, style="cyan", no_wrap=True)


class TrainingDisplay:
    """The progress of one training: a bar on a terminal, and a line every few seconds elsewhere."""

    def __init__(self, total: int, steps_per_epoch: int) -> None:
        self.total, self.steps_per_epoch = total, steps_per_epoch
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if draws_bars():
            columns = (
                TextColumn("{task.fields[place]}"),
                BarColumn(bar_width=20),
                _Numbers(),
                TimeRemainingColumn(compact=True),
            )
            self._bar = Progress(*columns, console=console, transient=True, refresh_per_second=5)
            self._task = self._bar.add_task(
                "", total=total, place=self._place(0, ".0f"), numbers=""
            )
            self._bar.start()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show the means of the latest window of steps."""
        if self._bar is not None:
            place = self._place(step, ".1f")
            self._bar.update(self._task, completed=step, place=place, numbers=numbers(values))

    def evaluated(self, step: int, values: Mapping[str, float], *, final: bool) -> None:
        """Log an evaluation, at most every `PLAIN_INTERVAL` seconds unless it is `final`."""
        now = time.monotonic()
        if final or now - self._last_line >= PLAIN_INTERVAL:
            self._last_line = now
            log.info("%s  val %s", self._place(step, ".4g"), numbers(values))

    def _place(self, step: int, form: str) -> str:
        """Where the training stands: in steps where it does not last whole epochs."""
        epochs, beyond = divmod(self.total, self.steps_per_epoch)
        if beyond:
            return f"step {step:,}/{self.total:,}"
        return f"epoch {step / self.steps_per_epoch:{form}}/{epochs}"

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
