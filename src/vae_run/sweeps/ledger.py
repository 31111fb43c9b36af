"""The ledger of a sweep: its jobs, the run directory of each, and the state of each."""

from __future__ import annotations

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

from filelock import Timeout

from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs import lock
from vae_run.runs.identity import identity
from vae_run.runs.saved_json import read_if_whole
from vae_run.system.files import json_text, write_atomically
from vae_run.system.lock_files import acquire, lock_file

FORMAT = 1
"""Version of `ledger.json`."""

TO_DO = ("pending", "running", "interrupted", "failed")
"""States of jobs that the same command runs again; a diverged job would only diverge again."""

SAVE_EVERY = 1.0
"""Shortest time between two writings of the file, in seconds; its size grows with the jobs."""

SAVE_SHARE = 0.05
"""Largest share of the time that is spent on writing it."""

NAME = 60
"""Bytes of a directory's name after its number."""


def directory_name(number: int, overrides: Iterable[str], swept: Sequence[str]) -> str:
    """A short name of a job's directory: its number, and the values of the keys that vary.

    A key is shortened to its last part, unless another swept key ends in the same one.
    """
    varied = {key.lstrip("+") for key in swept}
    endings = [key.rsplit(".", 1)[-1] for key in varied]
    words = []
    for override in overrides:
        key, _, value = override.partition("=")
        if (key := key.lstrip("+")) in varied:
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
        overrides: that it is composed from.
        state: pending, running, completed, failed, diverged, interrupted or pruned.
        attempts: how often it was started.
        exit_code: of its last attempt; negative: the number of the signal that killed it.
        seconds: the duration of all its attempts together.
        message: one line about its end; empty for a completed job.
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
        jobs: entries by identity, in the order in which they were added.
        about: the kind of the sweep, for commands that continue it and for reports.
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
        """The ledger of `folder`, or an empty one where there is none yet.

        Raises:
            ConfigError: the folder is not empty, and has no ledger.
            CheckpointError: the ledger has a format that is newer than this version's.
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
            ledger.jobs = dict(_found_in(folder))  # damaged: it is rebuilt from the run directories
        ledger.refresh()
        return ledger

    def add(
        self, config: Mapping[str, Any], overrides: Sequence[str], swept: Sequence[str]
    ) -> tuple[str, Entry]:
        """The identity of a job and its entry, which is new if the sweep has no equal job."""
        name = identity(config)
        if name not in self.jobs:
            number = self._number()
            self.jobs[name] = Entry(directory_name(number, overrides, swept), list(overrides))
        return name, self.jobs[name]

    def _number(self) -> int:
        """The number of the next job."""
        if self._next_number is None:
            numbers = [int(entry.directory.split("-")[0]) for entry in self.jobs.values()]
            self._next_number = max(numbers, default=-1) + 1
        self._next_number += 1
        return self._next_number - 1

    def refresh(self) -> None:
        """Update states from the run directories: a killed sweep has not written the last ones."""
        for entry in self.jobs.values():
            if entry.state not in ("completed", "pruned"):
                self.take_state(entry)

    def take_state(self, entry: Entry) -> None:
        """Bring one entry up to date with its run directory's `status.json`.

        A job is running as long as a process trains in its directory, whichever process that is.
        """
        status = read_if_whole(self.folder / entry.directory / "status.json")
        if "state" not in status:
            return
        state, message = str(status["state"]), str(status.get("message", ""))
        trained = lock.is_trained(self.folder / entry.directory, status)
        if entry.state == "failed" and state in ("running", "interrupted") and not trained:
            return  # the sweep stopped it, for example at a time limit, and knows why
        if state == "running" and not trained:
            state, message = "interrupted", message or entry.message or "ended without a message"
        entry.state, entry.message = state, message.split("\n")[0]

    def told(self, entry: Entry) -> dict[str, Any]:
        """What a program is told of a job: where it is, how it ended, and its metrics."""
        path = self.folder / entry.directory
        return {
            "path": path,
            "overrides": entry.overrides,
            "status": entry.state,
            "exit_code": entry.exit_code,
            "metrics": read_if_whole(path / "metrics.json"),
            "message": entry.message,
        }

    def save(self, *, now: bool = True) -> None:
        """Write the file; unless `now`, not too soon after the last time (see `catch_up`)."""
        self._changed, began = True, time.monotonic()
        if not now and began < self._save_after:
            return
        write_atomically(self.path, self._text().encode())
        self._changed, took = False, time.monotonic() - began
        self._save_after = began + max(SAVE_EVERY, took / SAVE_SHARE)

    def _text(self) -> str:
        """The file's content, with one line for each job: faster by far than an indented tree."""
        start = json_text({"format": FORMAT, "about": self.about}, indent=1).removesuffix("\n}")
        jobs = (f"  {json.dumps(name)}: {json_text(vars(e))}" for name, e in self.jobs.items())
        listed = ",\n".join(jobs)
        return f'{start},\n "jobs": {{\n{listed}\n }}\n}}\n'

    def catch_up(self) -> None:
        """Write what `save` has postponed, if enough time has passed."""
        if self._changed:
            self.save(now=False)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from running the same sweep while inside.

        The lock ends with the process, however that ends. Where the file system supports no locks,
        none is taken.

        Raises:
            ConfigError: another process runs the sweep.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = lock_file(self.folder / ".lock")
        try:
            acquire(lock, blocking=False)
        except Timeout:
            owner = (self.folder / ".lock").read_text(encoding="utf-8") or "another process"
            raise ConfigError(
                f"sweep.dir: the sweep in {self.folder} is being run by {owner}. Wait for it "
                "to end, or stop it."
            ) from None
        try:
            owner = f"process {os.getpid()} on {socket.gethostname()}"
            (self.folder / ".lock").write_text(owner, encoding="utf-8")
            yield
        finally:
            lock.release()


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
