"""The rank of this process among those that train one model together (`torchrun`).

Rank 0 logs, and writes the run directory. Each other process writes to a scratch directory of its
own, which is removed when it ends, and logs only errors of its own.
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
"""Environment variables that torchrun sets; without one of them a process is independent."""


@dataclass(frozen=True)
class Place:
    """The rank of a process.

    Attributes:
        rank: its index among all processes, from 0.
        size: number of processes.
        local: its index among those of its machine, from 0.
        local_size: number of processes of its machine.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which logs and writes."""
        return self.rank == 0

    def slice(self, whole: int) -> slice:
        """Its share of a batch of `whole` images: consecutive; shares differ by one at most."""
        return slice(whole * self.rank // self.size, whole * (self.rank + 1) // self.size)


@functools.cache
def place() -> Place | None:
    """The rank of this process; None for an independent process."""
    if any(name not in os.environ for name in VARIABLES):
        return None
    numbers = [os.environ[name] for name in VARIABLES[:4]]
    return Place(*map(int, numbers)) if all(map(str.isdigit, numbers)) else None


def leads() -> bool:
    """Whether this process logs and writes: it is independent, or rank 0."""
    own = place()
    return own is None or own.leads


def share_of(whole: int) -> tuple[slice, tuple[int, int] | None]:
    """The slice of a batch of `whole` images that this process takes, and (images of it, `whole`).

    The latter is None if the process is independent. One whose slice is empty takes one image, of
    which none counts.
    """
    own = place()
    if own is None:
        return slice(None), None
    mine = own.slice(whole)
    count = mine.stop - mine.start
    return (mine if count else slice(0, 1)), (count, whole)


def refuse_several(what: str) -> None:
    """Refuse `what` if several processes train together.

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
    """The scratch directory of a process other than rank 0; removed when the process ends."""
    own = place()
    assert own is not None
    path = Path(tempfile.mkdtemp(prefix=f"vae-run-rank{own.rank}-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def seen_by_this(run: Path) -> Path:
    """The run directory `run` for this process to resume; other ranks than 0 have a copy.

    The copy has the run's configuration, and symbolic links to its checkpoints.
    """
    if leads():
        return run
    view = scratch() / "view"
    shutil.copytree(run / ".hydra", view / ".hydra")
    (view / "checkpoints").mkdir()
    for file in (run / "checkpoints").glob("*.pt"):
        (view / "checkpoints" / file.name).symlink_to(file.resolve())
    for name in ("status.json", "environment.json", "history.csv", "data.json"):
        if (run / name).exists():
            shutil.copyfile(run / name, view / name)
    return view
