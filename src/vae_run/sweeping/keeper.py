"""Runs a sweep's jobs in a pool of processes, and writes down how each does."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vae_run.checkpoints import write_atomically
from vae_run.sweeping.display import SweepDisplay
from vae_run.sweeping.ledger import Entry, Ledger
from vae_run.sweeping.pool import Ended, Job, Pool, Running

SHOWN = ("elbo", "loss", "mse")
"""Figures of a completed job's line: the first two of these that val has."""

MakeJob = Callable[[Sequence[str], int, str], Callable[[int], Job]]
"""A job for the pool from overrides, number and directory."""


@dataclass
class Keeper:
    """Between the pool, which knows processes, and the ledger, which knows jobs."""

    ledger: Ledger
    total: int | None
    done: int
    ended: Callable[[Entry], None]
    tick: Callable[[dict[str, Running]], None]
    _running: dict[str, Entry] = field(default_factory=dict)

    def run(self, pool: Pool, entries: Iterator[Entry | None], job: MakeJob) -> int | None:
        """Do the jobs of `entries`; the signal that ended this early, or None."""
        with SweepDisplay(self.total, self.done).shown() as self.display:
            try:
                return pool.run(self._jobs(entries, job), self._ended, self._tick)
            finally:
                self.ledger.save()

    def _jobs(
        self, entries: Iterator[Entry | None], job: MakeJob
    ) -> Iterator[Callable[[int], Job] | None]:
        for entry in entries:
            if entry is None:
                yield None
                continue
            entry.state, entry.attempts, entry.message = "running", entry.attempts + 1, ""
            self._running[entry.directory] = entry
            self.ledger.save(now=False)
            yield job(entry.overrides, int(entry.directory.split("-")[0]), entry.directory)

    def _tick(self, running: list[Running]) -> None:
        self.display.running(len(running))
        self.tick({str(one.job.key): one for one in running})

    def _ended(self, job: Job, end: Ended) -> None:
        entry = self._running.pop(str(job.key))
        entry.seconds += end.seconds
        entry.exit_code = end.exit_code
        run = self.ledger.folder / entry.directory
        entry.state, entry.message = self._how(run, end, job.surroundings.log)
        self.ended(entry)
        self.ledger.save(now=False)
        self.display.ended(entry, _figures(run), end.seconds, str(job.surroundings.log))

    def _how(self, run: Path, end: Ended, log: Path) -> tuple[str, str]:
        """State and message of a job that ended so; its run directory is told of a kill."""
        status = _read(run / "status.json")
        state, message = str(status.get("state", "")), str(status.get("message", "")).split("\n")[0]
        if end.exit_code == 0:
            return "completed", ""
        if end.stopped is not None:
            by_limit = end.stopped.startswith("ran past")
            state, message = ("failed" if by_limit else "interrupted"), end.stopped
        elif end.exit_code < 0:
            name = signal.Signals(-end.exit_code).name
            state, message = "failed", f"killed by {name}"
        elif state not in ("failed", "diverged", "interrupted"):
            state, message = "failed", _error(log) or f"left with exit code {end.exit_code}"
        if status.get("state") == "running":
            changed = {**status, "state": state, "message": message}
            write_atomically(run / "status.json", (json.dumps(changed, indent=2) + "\n").encode())
        return state, message


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _figures(run: Path) -> dict[str, float]:
    """The main figures of a run on val, or on test where it has no val."""
    metrics = _read(run / "metrics.json")
    for split in ("val", "test"):
        values = metrics.get(split) or {}
        if found := [name for name in SHOWN if name in values][:2]:
            return {f"{split} {name}": values[name] for name in found}
    return {}


def _error(log: Path) -> str:
    """The error that a job ended with before it had a status to say it in."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else ""
