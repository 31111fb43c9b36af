"""The trials of a search as jobs of a sweep: points of the space on one side, jobs on the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vae_run.errors import CheckpointError, ConfigError
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.executors.job_end import Cause
from vae_run.sweeps.executors.process_pool import Running
from vae_run.sweeps.ledger import Entry
from vae_run.sweeps.search.space import Point
from vae_run.sweeps.search.study import Study, Trial, finite
from vae_run.system.console import console
from vae_run.tracking.history import read_history


@dataclass
class Trials:
    """Asks a study for trials, runs them as jobs, and reports to the study how these end.

    Attributes:
        study: of the search.
        folder: of the sweep.
        place: returns the ledger's entry of the job at a point, or raises `ConfigError`.
        limit: trials of the whole search.
        time_limit: seconds after which no more trials are started, or None.
        refusal: the error that ends the search, if any.
    """

    study: Study
    folder: Path
    place: Callable[[Point], Entry]
    limit: int
    time_limit: float | None = None
    refusal: ConfigError | None = None
    _running: dict[str, list[Trial]] = field(default_factory=dict)
    _read: dict[str, tuple[int, int]] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)

    def entries(self) -> Iterator[Entry]:
        """Jobs to do: those that an earlier command left unfinished, then new ones."""
        for trial in self.study.unfinished():
            if (entry := self._job(trial)) is not None:
                yield entry
        while not self._over():
            if (entry := self._job(self.study.ask())) is not None:
                yield entry

    def _over(self) -> bool:
        late = self.time_limit is not None and time.monotonic() - self._started > self.time_limit
        return late or self.refusal is not None or self.study.asked >= self.limit

    def _job(self, trial: Trial) -> Entry | None:
        """The job of `trial`; None where its result is known, or will come from a running job."""
        try:
            entry = self.place(trial.point)
        except ConfigError as error:
            why = str(error).split("\n")[0]
            console.print(f"trial {trial.number}: not possible. {why}")
            self.study.fail(trial, why)
            return None
        news = self.study.note(trial, entry.directory)
        if entry.state == "interrupted" and trial.given_up:
            entry.state = "pruned"
        if entry.directory in self._running:
            self._running[entry.directory].append(trial)
        elif entry.state in ("pending", "running", "interrupted"):
            self._running[entry.directory] = [trial]
            return entry
        elif not self.study.take_result(trial, entry.directory):
            self._report_end(trial, entry)
        if news:
            name = entry.directory
            console.print(f"trial {trial.number} is as {name}, and takes its result")
        return None

    def ended(self, entry: Entry) -> None:
        """Report to the study how a job has ended."""
        trials = self._running.pop(entry.directory)
        if entry.state != "interrupted":  # the same command would continue an interrupted one
            for trial in trials:
                self._report_end(trial, entry)

    def _report_end(self, trial: Trial, entry: Entry) -> None:
        if self._prunes and not trial.given_up:
            # A job can end before it is judged by its last epochs, or can be stopped.
            trial.given_up = self.study.report(trial, self._values(entry.directory))
        if trial.given_up or entry.state == "pruned":
            self.study.prune(trial)
        elif entry.state != "completed":
            self.study.fail(trial, f"{entry.state}: {entry.message}")
        else:
            self._report_values(trial, entry)

    def _report_values(self, trial: Trial, entry: Entry) -> None:
        objective = self.study.plan.objective
        metrics = RunDirectory(self.folder / entry.directory).metrics().get("val", {})
        values = [metrics.get(name.removeprefix("val/")) for name in objective]
        absent = [name for name, value in zip(objective, values, strict=True) if value is None]
        if finite(values):
            self.study.complete(trial, values)
            return
        why = f"its metrics are not finite: {values}"
        if absent:
            there = ", ".join(f"val/{name}" for name in metrics) or "no metrics on val"
            why = f"{entry.directory} has no {absent[0]}; it has {there}."
            if not self.study.count("COMPLETE"):
                self.refusal = ConfigError(
                    f"hydra.sweeper.objective: {why} Choose a metric that every trial has."
                )
        console.print(f"trial {trial.number}: {why}")
        self.study.fail(trial, why)

    def tick(self, running: dict[str, Running]) -> None:
        """Report the values of running trials to the study; stop those that it prunes."""
        for directory, one in running.items():
            if self.refusal is not None:
                one.ask_to_stop(Cause.SEARCH_ENDED, "the search has ended")
            elif self._prunes and one.stop is None and self._has_grown(directory):
                self._judge(directory, one)

    @property
    def _prunes(self) -> bool:
        return self.study.plan.pruner != "none"

    def _judge(self, directory: str, one: Running) -> None:
        """Report new values of a job; stop it if the pruner gives up on it."""
        trials, values = self._running[directory], self._values(directory)
        given_up = [max(trial.reported) for trial in trials if self.study.report(trial, values)]
        if given_up:
            for trial in trials:
                self.study.give_up(trial)
            one.ask_to_stop(Cause.PRUNED, f"given up at epoch {min(given_up)}")

    def _has_grown(self, directory: str) -> bool:
        """Whether the history of a job has changed since the last time."""
        try:
            stat = (self.folder / directory / "history.csv").stat()
        except OSError:
            return False
        before, now = self._read.get(directory), (stat.st_size, stat.st_mtime_ns)
        self._read[directory] = now
        return before != now

    def _values(self, directory: str) -> dict[int, float]:
        """The objective by epoch, as far as it is finite.

        Where the objective is not measured during training, the ELBO takes its place.
        """
        try:
            rows = read_history(self.folder / directory / "history.csv", growing=True)
        except CheckpointError:
            return {}
        objective, direction = self.study.plan.objective[0], self.study.plan.directions[0]
        known = any(objective in row for row in rows)
        name = objective if known else "val/elbo"
        sign = -1 if not known and direction == "minimize" else 1
        values = {int(row["epoch"]): sign * row.get(name, math.nan) for row in rows}
        return {epoch: value for epoch, value in values.items() if math.isfinite(value)}
