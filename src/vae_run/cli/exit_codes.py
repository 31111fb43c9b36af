"""How a command ends: its message for a person, and its exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import hydra
from omegaconf.errors import OmegaConfBaseException

from vae_run.config.options import CONF
from vae_run.errors import RunError, explain_os_error
from vae_run.system import ranks


class Outcome:
    """The command line of this process and how its jobs ended; Hydra returns no value.

    Attributes:
        exit_code: the greatest of the jobs that have ended.
        error: the first line of the last error that ended a job.
        directory: the run that the command made or works on, or a sweep's folder; None: neither.
        typed: the overrides of the command line, as Hydra is given them.
        tracebacks: whether an error is shown with its traceback, as HYDRA_FULL_ERROR=1 asks.
    """

    exit_code: ClassVar[int] = 0
    error: ClassVar[str] = ""
    directory: ClassVar[Path | None] = None
    typed: ClassVar[tuple[str, ...]] = ()
    tracebacks: ClassVar[bool] = False

    @classmethod
    def begin(cls) -> None:
        """Forget what an earlier command of this process left behind."""
        cls.exit_code, cls.error, cls.directory, cls.typed = 0, "", None, ()
        cls.tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"


def report_error(error: Exception) -> int:
    """Log the message of an error that ended a job; its exit code, which `Outcome` keeps too."""
    from vae_run.system.console import log

    if Outcome.tracebacks:
        traceback.print_exception(error)
    log.error("%s", message(error))
    Outcome.exit_code = max(Outcome.exit_code, exit_code(error))
    Outcome.error = message(error).split("\n")[0]
    return exit_code(error)


@contextmanager
def ending() -> Iterator[None]:
    """Turn an exception into one message on stderr and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        if Outcome.tracebacks:
            traceback.print_exc()
        # Hydra wraps what a launcher or a sweeper raises.
        own = error.__cause__ if isinstance(error.__cause__, RunError) else error
        Outcome.error = message(own).split("\n")[0]
        if ranks.leads():
            _print_error(message(own))
        raise SystemExit(exit_code(own)) from error


def _print_error(text: str) -> None:
    from rich.text import Text

    from vae_run.system.console import errors

    errors.print(Text(f"error: {text}", style="bold red"))


def exit_code(error: Exception) -> int:
    """The exit code of a command that ends with `error`."""
    return error.exit_code if isinstance(error, RunError) else 1


def message(error: Exception) -> str:
    """What a person is told of `error`: one message, without a traceback."""
    if isinstance(error, RunError):
        return str(error)
    if isinstance(error, hydra.errors.OverrideParseException):
        from vae_run.cli.words import unreadable

        return unreadable(error)
    if isinstance(error, (OmegaConfBaseException, hydra.errors.HydraException)):
        from vae_run.cli.composition import explain

        return explain(error, CONF)
    if isinstance(error, OSError) and error.filename is not None:
        return explain_os_error(error)
    return f"{type(error).__name__}: {error}\nSet HYDRA_FULL_ERROR=1 for the traceback."
