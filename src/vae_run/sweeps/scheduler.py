"""Runs a sweep's jobs in a pool of processes, and writes down how each does."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Place
from vae_run.runs.saved_json import read_if_whole
from vae_run.sweeps.display import SweepDisplay
from vae_run.sweeps.executors.process_pool import Ended, Job, Pool, Running
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.system.files import write_atomically

MakeJob = Callable[[Sequence[Entry]], Callable[[int], Job]]
"""A job for the pool that does one or several of the sweep's."""


@dataclass
class Keeper:
    """Between the pool, which knows processes, and the ledger, which knows jobs."""

    ledger: Ledger
    total: int | None
    done: int
    ended: Callable[[Entry], None]
    tick: Callable[[dict[str, Running]], None]
    _running: dict[str, list[Entry]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    def run(self, pool: Pool, items: Iterator[Sequence[Entry] | None], job: MakeJob) -> int | None:
        """Do the jobs of `items`, each item's in a process; the signal that ended this, or None.

        Where a process does several, it reports each one's end: directory, exit code, message.
        """
        with SweepDisplay(self.total, self.done).shown() as self.display:
            try:
                return pool.run(self._jobs(items, job), self._ended, self._tick, self._told)
            finally:
                self.ledger.save()

    def _jobs(
        self, items: Iterator[Sequence[Entry] | None], job: MakeJob
    ) -> Iterator[Callable[[int], Job] | None]:
        for entries in items:
            if entries is None:
                yield None
                continue
            for entry in entries:
                entry.state, entry.attempts, entry.message = "running", entry.attempts + 1, ""
            made = job(entries)
            self._running[entries[0].directory] = list(entries)
            self._sizes[entries[0].directory] = len(entries)
            self.ledger.save(now=False)
            yield made

    def _tick(self, running: list[Running]) -> None:
        self.display.running(sum(len(self._running[str(one.job.key)]) for one in running))
        self.tick({str(one.job.key): one for one in running})
        self.ledger.catch_up()

    def _told(self, one: Running, what: tuple[str, int, str]) -> None:
        directory, code, message = what
        left = self._running[str(one.job.key)]
        entry = next(entry for entry in left if entry.directory == directory)
        share = one.seconds / self._sizes[str(one.job.key)]  # each has its part of what all took
        left.remove(entry)
        end = Ended(code, share, one.stopped, message)
        self._end(entry, end, self.ledger.folder / directory / "train.log")

    def _ended(self, job: Job, end: Ended) -> None:
        for entry in self._running.pop(str(job.key)):
            self._end(entry, end, job.surroundings.log)

    def _end(self, entry: Entry, end: Ended, log: Path) -> None:
        entry.seconds += end.seconds
        entry.exit_code = end.exit_code
        run = self.ledger.folder / entry.directory
        entry.state, entry.message = self._how(run, end, log)
        self.ended(entry)
        self.ledger.save(now=False)
        self.display.ended(entry, _figures(run), end.seconds, str(log))

    def _how(self, run: Path, end: Ended, log: Path) -> tuple[str, str]:
        """State and message of a job that ended so; its run directory is told of a kill."""
        status = read_if_whole(run / "status.json")
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
            state, message = (
                "failed",
                end.message or _error(log) or f"left with exit code {end.exit_code}",
            )
        if status.get("state") == "running":
            changed = {**status, "state": state, "message": message}
            write_atomically(run / "status.json", (json.dumps(changed, indent=2) + "\n").encode())
        return state, message


def _figures(run: Path) -> dict[str, float]:
    """The main figures of a run on val, or on test where it has no val."""
    metrics = read_if_whole(run / "metrics.json")
    for split in ("val", "test"):
        values = metrics.get(split) or {}
        if found := [name for name in TABLE.shown(Place.TABLES) if name in values][:2]:
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
