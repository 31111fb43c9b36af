"""What `${vae_run.NAME:}` stands for in the configuration files."""

from __future__ import annotations

import os
import secrets
from datetime import datetime

from vae_run.cli.hydra_api import register_resolver


def register_resolvers() -> None:
    """Register them anew, so that each command of one process has names of its own."""
    token = secrets.token_hex(3)

    def unique() -> str:
        """Six hexadecimal digits, the same for the whole command."""
        return token

    def sweep_dir(given: str | None) -> str:
        """The folder of a multirun: `sweep.dir`, or a new one under outputs/."""
        now = datetime.now()
        if given:
            return os.path.expanduser(given)
        return f"outputs/{now:%Y-%m-%d}/{now:%H-%M-%S}-sweep-{token}"

    register_resolver("vae_run.unique", unique, cached=False)
    register_resolver("vae_run.sweep_dir", sweep_dir, cached=True)
