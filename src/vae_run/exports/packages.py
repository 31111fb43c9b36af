"""Packages that only an export needs."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from vae_run.errors import ConfigError
from vae_run.system.extras import installation


def need(what: str, packages: Iterable[str], extra: str) -> None:
    """Refuse `what` if one of `packages` is not installed.

    Raises:
        ConfigError: names those that are missing, and how they are installed.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        names = " and ".join(name.replace("_", "-") for name in missing)
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigError(
            f"{what} needs {names}, which {verb} not installed: {installation(extra)}"
        )
