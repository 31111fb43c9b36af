"""`sweep`: many runs in processes of their own, as `vae-run -m` does."""

from __future__ import annotations

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from vae_run import errors
from vae_run.api import sweep_process
from vae_run.api.comparing import Compared
from vae_run.api.overrides import overrides, typed, written
from vae_run.api.run import Run
from vae_run.api.views import Figures, Page, Table, pictures_in
from vae_run.api.watched import watched
from vae_run.cli.words import text_of
from vae_run.config.commands import override
from vae_run.errors import ConfigError, Interrupted, RunError
from vae_run.reports.sweep import NAME
from vae_run.sweeps.ledger import Ledger
from vae_run.sweeps.pictures import swept_keys
from vae_run.sweeps.summary import rows_of

_WENT_ON = ("JobsFailedError", "Interrupted")
"""Errors that end a sweep whose jobs have results."""


class Sweep:
    """The runs of a sweep.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """The sweep in the folder `path`.

        Raises:
            ConfigError: there is none.
        """
        self.path = Path(os.path.abspath(os.path.expanduser(path)))
        if not (self.path / "ledger.json").is_file():
            raise ConfigError(f"path: {path} holds no sweep (there is no ledger.json).")

    @property
    def table(self) -> Table:
        """A row for each job: its overrides, state and metrics, in the order of their numbers."""
        return Table(rows_of(Ledger.open(self.path)))

    @property
    def runs(self) -> list[Run]:
        """The runs, in the order of `table`, of jobs that have begun."""
        places = [self.path / each["run"] for each in self.table]
        return [Run(place) for place in places if (place / ".hydra" / "config.yaml").is_file()]

    @cached_property
    def comparison(self) -> Compared:
        """The completed runs, in groups that differ in their seed alone.

        Raises:
            ConfigError: no job is completed.
        """
        rows = self.table
        done = [self.path / each["run"] for each in rows if each["state"] == "completed"]
        if not done:
            raise ConfigError("no job of the sweep is completed; `table` says what happened.")
        keys = [key for key in swept_keys(rows) if key != "seed"]
        return Compared(done, None, keys)

    @property
    def best(self) -> Run:
        """The best run on val, of the group that is ranked first.

        Raises:
            ConfigError: the runs could not be ranked, or none is completed.
        """
        return self.comparison.best

    @property
    def figures(self) -> Figures:
        """The pictures of the sweep's page."""
        return pictures_in(self.path)

    @property
    def report(self) -> Page:
        """The page of the sweep; a notebook shows it."""
        return Page(self.path / NAME)

    def __repr__(self) -> str:
        return f"Sweep({str(self.path)!r})\n{self.table!r}"

    def _repr_html_(self) -> str:
        return self.table._repr_html_() + self.figures._repr_html_()


def sweep(
    axes: Mapping[str, str | Iterable[Any]],
    *words: str,
    directory: str | os.PathLike[str] | None = None,
    quiet: bool = False,
    **keys: Any,
) -> Sweep:
    """Train every combination of `axes`, in processes of their own.

    Args:
        axes: {key: its values}; a text is a range of a search, such as "interval(1e-4,1e-2)".
        words: as they are typed after `vae-run -m`.
        directory: the folder of the sweep; None: a new one below `outputs/`. The same call with the
            folder of an earlier sweep goes on with it.
        quiet: whether nothing is printed.
        keys: more keys, with Python values, the same in all runs.

    Returns:
        The sweep. After Ctrl-C, and where jobs failed, `table` says which jobs are not completed.

    Raises:
        ConfigError: a key or its value is wrong.
        RunError: the sweep could not be begun, or its process died.
        KeyboardInterrupt: Ctrl-C came before there was a sweep.
    """
    swept = [_axis(key, values) for key, values in axes.items()]
    given = [*typed(words), *overrides(keys), *swept]
    named = directory or text_of(given, "sweep.dir") or _new_folder()
    folder = Path(named).expanduser()
    given = [word for word in given if not word.startswith("sweep.dir=")]
    interrupted = _run([*given, override("sweep.dir", os.fspath(folder))], quiet=quiet)
    if interrupted and not (folder / "ledger.json").is_file():
        raise KeyboardInterrupt  # before there was a sweep
    return Sweep(folder)


def _axis(key: str, values: str | Iterable[Any]) -> str:
    if isinstance(values, str):
        return f"{key}={values}"
    if not isinstance(values, Iterable) or not (listed := list(values)):
        raise ConfigError(f"{key}: found {values!r}, expected values to sweep over.")
    return f"{key}={','.join(_choice(key, value) for value in listed)}"


def _choice(key: str, value: Any) -> str:
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    return override(key, text).partition("=")[2] if isinstance(text, str) else written(key, value)


def _new_folder() -> Path:
    now = datetime.now()
    return Path(f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-sweep-{secrets.token_hex(3)}")


def _run(words: Sequence[str], *, quiet: bool) -> bool:
    """Run `vae-run -m` with `words`; the error that it ended with is raised here.

    Returns:
        Whether Ctrl-C ended it.
    """
    with tempfile.TemporaryDirectory(prefix="vae-run-") as scratch:
        answer = Path(scratch) / "ended.json"
        command = [sys.executable, "-m", sweep_process.__name__, str(answer), *words]
        ended = watched(command, quiet=quiet)
        told = json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else {}
    if ended.interrupted or told.get("kind") == Interrupted.__name__:
        return True
    if ended.code and not told.get("kind"):
        raise RunError(ended.message)
    if told:
        _raise(told)
    return False


def _raise(told: Mapping[str, Any]) -> None:
    """Raise the error that the process told of, unless the sweep went on to its end."""
    kind = str(told["kind"])
    if not told["code"] or kind in _WENT_ON:
        return
    found = getattr(errors, kind, RunError)
    raise (found if issubclass(found, RunError) else RunError)(told["message"])
