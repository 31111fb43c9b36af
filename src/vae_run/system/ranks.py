"""This process among those that train one model together, as its environment tells (`torchrun`).

Rank 0 speaks, and writes the run directory. The others work in a scratch directory of their own,
which is removed when they end, and say nothing but what only they know.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vae_run.errors import ConfigError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets; a process that lacks one of them is on its own."""


@dataclass(frozen=True)
class Place:
    """Where a process stands.

    Attributes:
        rank: its number among all, from 0.
        size: how many there are.
        local: its number among those of its machine, from 0.
        local_size: how many its machine has.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def slice(self, whole: int) -> slice:
        """Its share of a batch of `whole` images: neighbours, as many as the others' or one off."""
        return slice(whole * self.rank // self.size, whole * (self.rank + 1) // self.size)


@functools.cache
def place() -> Place | None:
    """Where this process stands; None for one that is on its own."""
    if any(name not in os.environ for name in VARIABLES):
        return None
    numbers = [os.environ[name] for name in VARIABLES[:4]]
    return Place(*map(int, numbers)) if all(map(str.isdigit, numbers)) else None


def leads() -> bool:
    """Whether this process speaks and writes: alone, or rank 0."""
    own = place()
    return own is None or own.leads


def refuse_several(what: str) -> None:
    """Refuse `what` in several processes.

    Raises:
        ConfigError: there are several.
    """
    own = place()
    if own is not None and own.size > 1:
        raise ConfigError(
            f"{what}: found {own.size} processes that work together (torchrun), expected one. "
            "Start it without torchrun."
        )


@functools.cache
def scratch() -> Path:
    """A directory for what this process would write if it led; removed when it ends."""
    own = place()
    assert own is not None
    path = Path(tempfile.mkdtemp(prefix=f"vae-run-rank{own.rank}-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def followers_words() -> list[str]:
    """What is added to the command line of a process that does not lead."""
    return [] if leads() else [f"hydra.run.dir='{scratch() / 'run'}'"]


def seen_by_this(run: Path) -> Path:
    """The run directory `run` as this process goes on with it: a follower has a view of its own.

    The view has the run's configuration, and its checkpoints as links to read from.
    """
    if leads():
        return run
    view = scratch() / "view"
    shutil.copytree(run / ".hydra", view / ".hydra")
    (view / "checkpoints").mkdir()
    for file in (run / "checkpoints").glob("*.pt"):
        (view / "checkpoints" / file.name).symlink_to(file.resolve())
    for name in ("status.json", "environment.json", "history.csv"):
        if (run / name).exists():
            shutil.copyfile(run / name, view / name)
    return view
