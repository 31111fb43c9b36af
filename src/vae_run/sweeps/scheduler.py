"""Runs a sweep's jobs in a pool of processes, and keeps the ledger up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vae_run.evaluation.quantities import TABLE
from vae_run.evaluation.quantity import Place
from vae_run.runs import lock
from vae_run.runs.saved_json import read_if_whole
from vae_run.runs.status import ended_from_outside
from vae_run.sweeps.display import SweepDisplay
from vae_run.sweeps.executors.job_end import Cause, JobEnd, RunReport
from vae_run.sweeps.executors.process_pool import Job, Pool, Running
from vae_run.sweeps.ledger import Entry, Ledger

STATES: Mapping[Cause, str] = {
    Cause.KILLED: "failed",
    Cause.TIME_LIMIT: "failed",
    Cause.PRUNED: "pruned",
    Cause.SEARCH_ENDED: "interrupted",
    Cause.SWEEP_STOPPED: "interrupted",
}
"""The state of a job that did not end by itself, whatever its run directory says."""

NOT_BEGUN = "it failed before its first step, or the launcher did not start it"
"""What is known of a job of another plugin's launcher that has left no run directory."""

TRAINED = "another process trains in its directory"
"""Why a job was not run by this sweep, though the state of its run is running."""

MakeJob = Callable[[Sequence[Entry]], Callable[[int], Job]]
"""Makes a job for the pool that does one or several entries of the ledger."""


@dataclass
class Scheduler:
    """Hands entries of a ledger to a pool as jobs, and writes down how each of them ends.

    Attributes:
        ledger: of the sweep.
        total: jobs of the sweep, or None where that is not known.
        done: how many of them were completed before.
        ended: called with each entry that has ended.
        tick: called several times a second with what runs, by directory.
    """

    ledger: Ledger
    total: int | None
    done: int
    ended: Callable[[Entry], None]
    tick: Callable[[dict[str, Running]], None]
    _running: dict[str, list[Entry]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    def run(self, pool: Pool, items: Iterator[Sequence[Entry] | None], job: MakeJob) -> int | None:
        """Do the jobs of `items`, each item's in a process of its own.

        Returns:
            The number of the signal that ended the sweep early, or None.
        """
        with SweepDisplay(self.total, self.done).shown() as self.display:
            try:
                return pool.run(self._jobs(items, job), self._ended, self._tick, self._reported)
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

    def _reported(self, one: Running, report: RunReport) -> None:
        """Write down the end of one of several runs in a process."""
        left = self._running[str(one.job.key)]
        entry = next(entry for entry in left if entry.directory == report.directory)
        share = one.seconds / self._sizes[str(one.job.key)]  # of the time that all took together
        left.remove(entry)
        end = JobEnd(report.exit_code, share, Cause.EXITED, report.message)
        if one.stop is not None:
            end = JobEnd(report.exit_code, share, one.stop.cause, one.stop.message)
        self._end(entry, end, self.ledger.folder / entry.directory / "train.log")

    def _ended(self, job: Job, end: JobEnd) -> None:
        for entry in self._running.pop(str(job.key)):
            self._end(entry, end, job.environment.log)

    def _end(self, entry: Entry, end: JobEnd, log: Path) -> None:
        entry.seconds += end.seconds
        entry.exit_code = end.exit_code
        run = self.ledger.folder / entry.directory
        entry.state, entry.message = state_after(run, end)
        self.ended(entry)
        self.ledger.save(now=False)
        self.display.ended(entry, _main_metrics(run), end.seconds, str(log))


def state_after(run: Path, end: JobEnd) -> tuple[str, str]:
    """State and message of the job in the directory `run` that ended so.

    A killed process leaves `status.json` at "running", which is corrected there as well. It is left
    alone where another process trains in the run, which therefore refused this job.
    """
    status = read_if_whole(run / "status.json")
    state, message = str(status.get("state", "")), str(status.get("message", "")).split("\n")[0]
    if end.exit_code == 0:
        return "completed", ""
    if lock.is_trained(run, status):
        return "interrupted", end.message or TRAINED
    if end.cause in STATES:
        state, message = STATES[end.cause], end.message
    elif state not in ("failed", "diverged", "interrupted"):
        state, message = "failed", end.message or f"left with exit code {end.exit_code}"
    own = "interrupted" if state == "pruned" else state  # only a search knows "pruned"
    ended_from_outside(run, own, message)
    return state, message


def take_ends(
    ledger: Ledger,
    entries: Iterable[Entry],
    ended: Callable[[Entry], None],
    *,
    not_begun: tuple[str, str],
) -> None:
    """Take the states of jobs that another plugin's launcher was given from their directories.

    Args:
        ledger: of the sweep.
        entries: of the jobs.
        ended: called with the entry of each job, unless it is pending now.
        not_begun: the state and message of jobs that have left no run directory.
    """
    for entry in entries:
        ledger.take_state(entry)
        if entry.state == "running":
            begun = (ledger.folder / entry.directory / "status.json").is_file()
            entry.state, entry.message = ("interrupted", TRAINED) if begun else not_begun
        if entry.state == "pending":
            entry.attempts -= 1
        else:
            ended(entry)
    ledger.save()


def _main_metrics(run: Path) -> dict[str, float]:
    """The main metrics of a run on val, or on test where it has no val."""
    metrics = read_if_whole(run / "metrics.json")
    for split in ("val", "test"):
        values = metrics.get(split) or {}
        if found := [name for name in TABLE.shown(Place.TABLES) if name in values][:2]:
            return {f"{split} {name}": values[name] for name in found}
    return {}
