"""What `${vae_run.NAME:}` stands for in the configuration files."""

from __future__ import annotations

import os
import re
import secrets
from datetime import datetime

from vae_run.cli.hydra_api import register_resolver

LONGEST_NAME = 60
"""Characters of the options in a run directory's name; the whole may have 255 bytes."""


def register_resolvers() -> None:
    """Register them anew, so that each command of one process has names of its own."""
    token = secrets.token_hex(3)

    def unique() -> str:
        """Six hexadecimal digits, the same for the whole command."""
        return token

    def name(*choices: str | None) -> str:
        """A name of the options that were chosen, in letters that any file system takes."""
        words = (re.sub(r"[^\w.+-]+", "_", str(each)) for each in choices if each is not None)
        return "-".join(words)[:LONGEST_NAME]

    def sweep_dir(given: str | None) -> str:
        """The folder of a multirun: `sweep.dir`, or a new one under outputs/."""
        now = datetime.now()
        if given:
            return os.path.expanduser(given)
        return f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-sweep-{token}"

    register_resolver("vae_run.name", name, cached=False)
    register_resolver("vae_run.unique", unique, cached=False)
    register_resolver("vae_run.sweep_dir", sweep_dir, cached=True)
