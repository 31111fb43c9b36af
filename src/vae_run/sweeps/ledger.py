"""The ledger of a sweep: which jobs it has, where each lives, and how each stands."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs import lock
from vae_run.runs.identity import identity
from vae_run.runs.saved_json import read_if_whole
from vae_run.system.files import write_atomically

FORMAT = 1
"""Version of `ledger.json`."""


TO_DO = ("pending", "running", "interrupted", "failed")
"""States of jobs that the same command again takes up; a divergence would only repeat itself."""

SAVE_EVERY = 1.0
"""Least seconds between two writings of the file, whose size grows with the number of jobs."""
SAVE_SHARE = 0.05
"""Most of the time that goes into writing it."""

NAME = 60
"""Characters of a directory's name after its number."""


def directory_name(number: int, overrides: Iterable[str], swept: Sequence[str]) -> str:
    """A short name of a job's directory: its number, and the values of the keys that vary.

    Of a key its last part is taken, as long as it is the only swept key that ends so.
    """
    endings = [key.rsplit(".", 1)[-1] for key in swept]
    words = []
    for override in overrides:
        key, _, value = override.partition("=")
        if (key := key.lstrip("+")) in swept:
            short = key.rsplit(".", 1)[-1]
            words.append(f"{short if endings.count(short) == 1 else key}={value}")
    readable = re.sub(r"[^\w.=,+-]+", "_", ",".join(words))
    readable = readable.encode()[:NAME].decode(errors="ignore").strip("_,")
    return f"{number:03d}-{readable}" if readable else f"{number:03d}"


@dataclass
class Entry:
    """A job.

    Attributes:
        directory: its run directory's name in the sweep's folder.
        overrides: what it was composed from.
        state: pending, running, or how it ended (`status.json`); pruned, by a search.
        attempts: how often it was started.
        exit_code: of its last attempt; negative, the signal that killed it.
        seconds: all its attempts took together.
        message: the first line of what it ended with.
    """

    directory: str
    overrides: list[str]
    state: str = "pending"
    attempts: int = 0
    exit_code: int | None = None
    seconds: float = 0.0
    message: str = ""


@dataclass
class Ledger:
    """`ledger.json` of the sweep in `folder`.

    Attributes:
        jobs: entries by identity, in the order in which they came into the sweep.
        about: what kind of sweep it is, for whoever goes on with it.
    """

    folder: Path
    jobs: dict[str, Entry] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    _save_after: float = -math.inf
    _changed: bool = False
    _next_number: int | None = None

    @property
    def path(self) -> Path:
        return self.folder / "ledger.json"

    @classmethod
    def open(cls, folder: Path) -> Ledger:
        """The ledger of `folder`, empty where there is none yet.

        Raises:
            ConfigError: the folder holds something that is no sweep.
            CheckpointError: the ledger is of a later format.
        """
        ledger = cls(folder)
        try:
            content = json.loads(ledger.path.read_text(encoding="utf-8"))
            version, jobs = content["format"], content["jobs"]
            if version > FORMAT:
                raise CheckpointError(
                    f"{ledger.path}: has format {version}, this version reads up to {FORMAT}. "
                    "Update vae-run."
                )
            ledger.jobs = {name: Entry(**entry) for name, entry in jobs.items()}
            ledger.about = dict(content.get("about", {}))
        except FileNotFoundError:
            strange = [path for path in _inside(folder) if not path.name.startswith(".")]
            if strange:
                raise ConfigError(
                    f"sweep.dir: {folder} is not empty, and holds no sweep (no ledger.json). "
                    "Choose another folder."
                ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            ledger.jobs = dict(_found_in(folder))  # damaged: the run directories tell it again
        ledger.refresh()
        return ledger

    def add(
        self, config: Mapping[str, Any], overrides: Sequence[str], swept: Sequence[str]
    ) -> tuple[str, Entry]:
        """The entry of a job, a new one if the sweep has none like it; and its identity."""
        name = identity(config)
        if name not in self.jobs:
            number = self._number()
            self.jobs[name] = Entry(directory_name(number, overrides, swept), list(overrides))
        return name, self.jobs[name]

    def _number(self) -> int:
        """The next job's."""
        if self._next_number is None:
            numbers = [int(entry.directory.split("-")[0]) for entry in self.jobs.values()]
            self._next_number = max(numbers, default=-1) + 1
        self._next_number += 1
        return self._next_number - 1

    def refresh(self) -> None:
        """Take the states from the run directories, which know better after a kill."""
        for entry in self.jobs.values():
            if entry.state not in ("completed", "pruned"):
                self.take_state(entry)

    def take_state(self, entry: Entry) -> None:
        """Bring one entry up to date with its run directory's `status.json`."""
        status = read_if_whole(self.folder / entry.directory / "status.json")
        if "state" not in status:
            return
        state, message = str(status["state"]), str(status.get("message", ""))
        if state == "running" and entry.state in TO_DO:
            state = entry.state if entry.state == "failed" else "interrupted"
            message = message or entry.message or "ended without a word"
        entry.state, entry.message = state, message.split("\n")[0]

    def save(self, *, now: bool = True) -> None:
        """Write the file; not `now`, some time after the last time (`catch_up`)."""
        self._changed, began = True, time.monotonic()
        if not now and began < self._save_after:
            return
        write_atomically(self.path, self._text().encode())
        self._changed, took = False, time.monotonic() - began
        self._save_after = began + max(SAVE_EVERY, took / SAVE_SHARE)

    def _text(self) -> str:
        """The file's content: a line a job, which is many times quicker than an indented tree."""
        start = json.dumps({"format": FORMAT, "about": self.about}, indent=1).removesuffix("\n}")
        jobs = (f"  {json.dumps(name)}: {json.dumps(vars(e))}" for name, e in self.jobs.items())
        listed = ",\n".join(jobs)
        return f'{start},\n "jobs": {{\n{listed}\n }}\n}}\n'

    def catch_up(self) -> None:
        """Write what `save` has put off, if it is time."""
        if self._changed:
            self.save(now=False)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from running the same sweep; ends with the process, however that ends.

        A file system that knows no locks gives none.

        Raises:
            ConfigError: another process runs it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("a+", encoding="utf-8") as file:
            if not lock.taken(file.fileno(), fcntl.LOCK_EX):
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise ConfigError(
                    f"sweep.dir: the sweep in {self.folder} is being run by {owner}. Wait for it "
                    "to end, or stop it."
                )
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _found_in(folder: Path) -> Iterator[tuple[str, Entry]]:
    """The jobs whose run directories lie in `folder`."""
    from vae_run.runs.run_directory import RunDirectory

    for path in _inside(folder):
        run = RunDirectory(path)
        if not re.match(r"\d+", path.name) or not run.config_file.is_file():
            continue
        try:
            yield identity(run.config()), Entry(path.name, run.overrides())
        except CheckpointError:
            continue
