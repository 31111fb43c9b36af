"""Where the records of a run directory may go, which somebody else may have written."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vae_run.config.commands import override
from vae_run.errors import ConfigError
from vae_run.tracking.service import Service
from vae_run.tracking.several import parts
from vae_run.tracking.tracker import Tracker


def confirmed(run: Path, tracker: Tracker, typed: Tracker) -> Tracker:
    """`tracker`, of the configuration of the run directory `run`, if it may be followed.

    It may where it names no server or account, where this user sent the run there before
    (`vae_run.tracking.run_ids`), and where `typed`, of the command line, names the same.

    Raises:
        ConfigError: it may not; the message says what to type.
    """
    said = [one.place for one in parts(typed) if isinstance(one, Service)]
    for one in parts(tracker):
        if not isinstance(one, Service) or one.place in said or one.ids(run).signed():
            continue
        named = {key: value for key, value in one.place.items() if value != one.destination[key]}
        if named:
            key = next(iter(named))
            keys = [_word(f"tracker.{name}", value) for name, value in named.items()]
            words = shlex.join([f"tracker={one.option}", *keys])
            raise ConfigError(
                f"tracker.{key}: the run directory names {named[key]}, but you have not sent this "
                f"run there before. To send its records there, say {words}; to send nothing, "
                "tracker=none."
            )
    return tracker


@contextmanager
def signed(run: Path, tracker: Tracker) -> Iterator[None]:
    """Write down that this user sends the new run `run` to where `tracker` sends it.

    A service does so when it is asked for the first time, which may be seconds later; a run that is
    killed before would be taken for somebody else's.
    """
    for one in parts(tracker):
        if isinstance(one, Service) and not one.ids(run).signed():
            with suppress(OSError):  # the service meets it as well, and says so
                one.ids(run).keep()
    yield


def _word(key: str, value: object) -> str:
    """KEY=VALUE for Hydra, of a truth value or a text."""
    return f"{key}={str(value).lower()}" if isinstance(value, bool) else override(key, str(value))
