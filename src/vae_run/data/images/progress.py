"""Progress of the decoding of images."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vae_run.system.console import console, draws_bars

log = logging.getLogger(__name__)

_LINE_SECONDS = 60.0


@contextmanager
def decoding_progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that adds to the number of decoded images.

    Progress is a bar on a terminal, and otherwise a logged line per minute.
    """
    done, logged = 0, time.monotonic()

    def line(count: int) -> None:
        nonlocal done, logged
        done += count
        if time.monotonic() - logged >= _LINE_SECONDS:
            logged = time.monotonic()
            log.info("decoded %s of %s images", f"{done:,}", f"{total:,}")

    if not draws_bars():
        yield line
        return
    columns = (TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.advance(task, count)
