"""What a run says: lines on the terminal and in its `train.log`, and a live progress bar."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from rich.console import Console
from rich.text import Text

# A file or a pipe has no width of its own: tables in it are not cut.
_free = not sys.stdout.isatty() and "COLUMNS" not in os.environ
console = Console(highlight=False, soft_wrap=True, width=160 if _free else None)
log = logging.getLogger("vae_run")


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        style = {"WARNING": "yellow", "ERROR": "bold red"}.get(record.levelname, "")
        prefix = "" if record.levelno < logging.WARNING else f"{record.levelname.lower()}: "
        console.print(Text(prefix + record.getMessage(), style=style))


class _LogFile(logging.FileHandler):
    """A file that fills the disk up ends, with a word on the terminal, instead of the program."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        self.setLevel(logging.CRITICAL + 1)
        console.print(Text(f"warning: {self.baseFilename} ends here: {error}", style="yellow"))


def say_only_errors() -> None:
    """Send errors alone to the terminal: the rest is in a run's own `train.log`."""
    say_on_terminal()
    for handler in log.handlers:
        handler.setLevel(logging.ERROR)


def say_on_terminal() -> None:
    """Send what the program logs to the terminal; safe to call again."""
    if not any(isinstance(handler, _ConsoleHandler) for handler in log.handlers):
        log.addHandler(_ConsoleHandler())
    log.setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of its font cache
    log.propagate = False


_own_file: ContextVar[Path] = ContextVar("own_file")


@contextmanager
def also_in_file(path: Path) -> Iterator[None]:
    """Append what is said to the file `path` as well, with the time.

    Of several runs in one process, each in a context of its own, a file gets what its run says.
    """
    handler = _LogFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: _own_file.get(path) == path)
    log.addHandler(handler)
    before = _own_file.set(path)
    try:
        yield
    finally:
        _own_file.reset(before)
        log.removeHandler(handler)
        with suppress(OSError):  # of a full disk, which was told
            handler.close()


def numbers(values: Mapping[str, float]) -> str:
    """`name value` pairs on one line, with four significant digits or so."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
