"""The output of a run: log messages on the terminal and in its `train.log`, and progress bars."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from vae_run.system.line_breaks import fitted

NOTE = 25
"""Level of a message that a reader of the report needs too, but that asks for nothing."""
logging.addLevelName(NOTE, "NOTE")


class _Output(Console):
    """Standard output or error: on a terminal, the lines of a text break between words."""

    def print(self, *objects: Any, **options: Any) -> None:
        if self.is_terminal and self.file.isatty():
            whole = (Text(each) if isinstance(each, str) else each for each in objects)
            objects = tuple(
                fitted(each, self._columns()) if isinstance(each, Text) else each for each in whole
            )
        super().print(*objects, **options)

    def verbatim(self, text: str) -> None:
        """Print what will be copied, such as a program: no line of it is broken."""
        super().print(text, soft_wrap=True)

    def _columns(self) -> int:
        """The columns of its terminal; the other stream, which `width` is by, may be a pipe."""
        with suppress(OSError, ValueError):
            if "COLUMNS" not in os.environ and (own := os.get_terminal_size(self.file.fileno())):
                return own.columns or self.width
        return self.width


# A file or a pipe has no width: tables in it are not truncated.
_free = not (sys.stdout and sys.stdout.isatty()) and "COLUMNS" not in os.environ
# Names of files and classes may hold brackets or colons: no text is read as markup or as emoji.
console, errors = (
    _Output(
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
        width=160 if _free else None,
        stderr=stderr,
        force_jupyter=False,  # a notebook gets lines of text, as a file does
    )
    for stderr in (False, True)
)
log = logging.getLogger("vae_run")


def draws_bars() -> bool:
    """Whether progress is a bar: FORCE_COLOR has rich take a file for a terminal."""
    return console.is_terminal and console.file.isatty() and not console.quiet


_quiet = False


def be_quiet(quiet: bool) -> None:
    """Print only warnings and errors, to standard error; or everything again."""
    global _quiet
    _quiet = console.quiet = quiet


IN_FILE_ALONE = {"in_file_alone": True}
"""`extra` of a message that is for `train.log`, and not for the terminal."""


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "in_file_alone", False):
            return
        style = {"WARNING": "yellow", "ERROR": "bold red"}.get(record.levelname, "")
        prefix = "" if record.levelno < NOTE else f"{record.levelname.lower()}: "
        warns = _quiet and record.levelno >= logging.WARNING
        place = errors if warns or record.levelno >= logging.ERROR else console
        place.print(Text(prefix + record.getMessage(), style=style))


class _LogFile(logging.FileHandler):
    """A log file; if it cannot be written (full disk), it ends with a warning on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        error = sys.exc_info()[1]
        self.setLevel(logging.CRITICAL + 1)
        console.print(Text(f"warning: {self.baseFilename} ends here: {error}", style="yellow"))


def say_only_errors() -> None:
    """Log only errors to the terminal; `train.log` of a run has all messages."""
    say_on_terminal()
    for handler in log.handlers:
        handler.setLevel(logging.ERROR)


def say_on_terminal() -> None:
    """Log to the terminal; has no effect if called again."""
    if not any(isinstance(handler, _ConsoleHandler) for handler in log.handlers):
        log.addHandler(_ConsoleHandler())
    log.setLevel(logging.INFO)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # its messages on the font cache
    log.propagate = False


_own_file: ContextVar[Path] = ContextVar("own_file")


@contextmanager
def also_in_file(path: Path) -> Iterator[None]:
    """Append log messages to the file `path` as well, with time stamps.

    If several runs share a process, each in its own context, a file gets the messages of its run.
    """
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda record: _own_file.get(path) == path)
    log.addHandler(handler)
    before = _own_file.set(path)
    try:
        yield
    finally:
        _own_file.reset(before)
        log.removeHandler(handler)
        with suppress(OSError):  # of a full disk, reported before
            handler.close()


def numbers(values: Mapping[str, float]) -> str:
    """`name value` pairs on one line, with four significant digits."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())
