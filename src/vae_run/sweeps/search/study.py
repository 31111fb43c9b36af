"""The study of a search, through Optuna: its trials, what to try next, and what to prune.

Imports Optuna: only a search imports this module.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from vae_run.sweeps.search.opening import open_study
from vae_run.sweeps.search.plan import Plan, quiet
from vae_run.sweeps.search.space import Axis, Choice, Point


@dataclass
class Trial:
    """A point of the space that is tried.

    Attributes:
        number: of the trial in the study.
        point: a value for each key.
        handle: Optuna's.
        reported: the epochs whose value was reported to the pruner.
        given_up: whether the pruner has given up on it.
    """

    number: int
    point: Point
    handle: optuna.Trial
    reported: set[int] = field(default_factory=set)
    given_up: bool = False


class Study:
    """The trials of a search, in a storage that outlives a kill."""

    def __init__(self, folder: Path, plan: Plan, axes: Mapping[str, Axis]) -> None:
        """Open the study of the search in `folder`, or create it.

        Raises:
            ConfigError: it has another objective, or another space.
            CheckpointError: its storage cannot be read.
        """
        self.plan, self._drawn = plan, axes
        self._axes = {key: _distribution(axis) for key, axis in axes.items()}
        self._study = open_study(folder, plan, self._axes)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _whole(self) -> list[FrozenTrial]:
        """The trials that have a value for every key: a kill can leave one without."""
        return [trial for trial in self._trials() if set(trial.params) >= set(self._axes)]

    @property
    def asked(self) -> int:
        """The number of trials that were ever asked for."""
        return len(self._whole())

    def count(self, *states: Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING"]) -> int:
        """The number of trials in these states."""
        return sum(trial.state.name in states for trial in self._whole())

    def ask(self) -> Trial:
        """The next point to try.

        Every trial has a sampler of its own, seeded by its number: a search that is continued asks
        for the same points as one that was not interrupted.
        """
        self._study.sampler = self.plan.make_sampler(len(self._trials()))
        with quiet():
            trial = self._study.ask(self._axes)
        return Trial(trial.number, dict(trial.params), trial)

    def unfinished(self) -> list[Trial]:
        """Trials whose end was not reported, in their order."""
        found = []
        for frozen in self._trials():
            if frozen.state != TrialState.RUNNING:
                continue
            if not set(frozen.params) >= set(self._axes):  # killed while it was asked for
                self._study.tell(frozen.number, state=TrialState.FAIL)
                continue
            trial = Trial(
                frozen.number,
                {key: frozen.params[key] for key in self._axes},
                optuna.Trial(self._study, frozen._trial_id),
                set(frozen.intermediate_values),
                bool(frozen.user_attrs.get("given_up")),
            )
            found.append(trial)
        return found

    def note(self, trial: Trial, directory: str) -> bool:
        """Store the run directory of the trial; whether it is new or has changed."""
        news = bool(trial.handle.user_attrs.get("directory") != directory)
        if news:
            trial.handle.set_user_attr("directory", directory)
        return news

    def directories(self) -> Iterator[tuple[str, Point]]:
        """The run directories of trials, and their points."""
        for trial in self._whole():
            if "directory" in trial.user_attrs:
                yield trial.user_attrs["directory"], trial.params

    def report(self, trial: Trial, values: Mapping[int, float]) -> bool:
        """Report the values of a trial by epoch, until the pruner gives up on it; whether it does.

        Every epoch is judged by itself, so that the verdict does not depend on how many epochs the
        job has done since the last time; later epochs are not reported.
        """
        for epoch in sorted(set(values) - trial.reported):
            trial.handle.report(values[epoch], epoch)
            trial.reported.add(epoch)
            if trial.handle.should_prune():
                return True
        return False

    def take_result(self, trial: Trial, directory: str) -> bool:
        """End `trial` as the first one of the job in `directory` did, if that one has a result.

        How many epochs a job did before it was stopped depends on time, but not what the pruner
        was told of it.
        """
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        known = (one for one in self._whole() if one.user_attrs.get("directory") == directory)
        twin = next((one for one in known if one.state in ended), None)
        if twin is None:
            return False
        for epoch in sorted(set(twin.intermediate_values) - trial.reported):
            trial.handle.report(twin.intermediate_values[epoch], epoch)
        if twin.state == TrialState.PRUNED:
            self.prune(trial)
        else:
            self.complete(trial, list(twin.values or ()))
        return True

    def give_up(self, trial: Trial) -> None:
        """Store that the trial was asked to stop."""
        trial.given_up = True
        trial.handle.set_user_attr("given_up", True)

    def complete(self, trial: Trial, values: Sequence[float]) -> None:
        self._study.tell(trial.handle, list(values), state=TrialState.COMPLETE)

    def prune(self, trial: Trial) -> None:
        self._study.tell(trial.handle, state=TrialState.PRUNED)

    def fail(self, trial: Trial, why: str) -> None:
        trial.handle.set_user_attr("failure", why)
        self._study.tell(trial.handle, state=TrialState.FAIL)

    def best(self) -> list[tuple[str, list[float], str]]:
        """Directory, values and overrides of the best trial, or of the Pareto front."""
        if not self.count("COMPLETE"):
            return []
        several = len(self.plan.objective) > 1
        trials = self._study.best_trials if several else [self._study.best_trial]
        return [(t.user_attrs["directory"], list(t.values), self._words(t.params)) for t in trials]

    def _words(self, point: Point) -> str:
        return " ".join(f"{key}={axis.text(point[key])}" for key, axis in self._drawn.items())


def _distribution(axis: Axis) -> BaseDistribution:
    if isinstance(axis, Choice):
        return CategoricalDistribution(axis.values)
    if axis.whole:
        return IntDistribution(int(axis.low), int(axis.high), axis.log, int(axis.step or 1))
    return FloatDistribution(axis.low, axis.high, axis.log, axis.step)


def finite(values: Sequence[Any]) -> bool:
    """Whether all are numbers that can be compared."""
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)
