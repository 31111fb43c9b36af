"""`hydra/sweeper=grid`: every combination of the values given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.vae_run.compose import Composer
from hydra_plugins.vae_run.sweep import LedgerSweep, refuse_failures, unfinished
from vae_run.errors import ConfigError


class GridSweeper(Sweeper):
    """Runs what the ledger does not have as completed."""

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        filter: str | None = None,
    ) -> None:
        self.params, self.filter = dict(params or {}), filter

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.sweep_of_runs = LedgerSweep(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        from vae_run.sweeps.summary import summarise

        sweep = self.sweep_of_runs
        given = sweep.composer.parse([*(f"{k}={v}" for k, v in self.params.items()), *arguments])
        axes = grid(given)
        swept = [key for key, words in axes.items() if len(words) > 1]
        points: list[Sequence[str]] = list(product(*axes.values()))
        if self.filter is not None:
            points = kept(points, str(self.filter), sweep.composer)
        jobs = sweep.check_all(points)
        ledger = sweep.open()
        with ledger.locked():
            entries = sweep.enter(ledger, jobs, swept)
            todo = unfinished(entries.values())
            _announce(len(jobs), len(entries), todo, str(ledger.folder))
            before = len(entries) - len(todo)
            try:
                if todo:
                    sweep.launch(ledger, iter(todo), len(entries), done=before)
            finally:
                summarise(ledger)
            refuse_failures(ledger, entries.values())


def grid(overrides: list[Override]) -> dict[str, list[str]]:
    """For each key the overrides that set it, one for each value; what is typed last counts."""
    axes = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            raise ConfigError(
                f"{key}: found {override.input_line}, a range without steps, which a grid cannot "
                "go through. Name the values, or search: hydra/sweeper=optuna."
            )
    return axes


def kept(
    points: Sequence[Sequence[str]], expression: str, composer: Composer
) -> list[Sequence[str]]:
    """Those of the jobs, given by their overrides, that a filter leaves.

    Raises:
        ConfigError: the filter leaves none, or names a key that there is not.
    """
    from vae_run.config.keys import flat
    from vae_run.sweeps.filters import Filter
    from vae_run.system.console import console

    keeps, left = Filter(expression), []
    known: dict[str, Any] = {}
    for words in points:
        values = {**dict(flat(composer.compose(words))), **composer.choices(words)}
        known |= values
        if keeps.keeps(values):
            left.append(words)
    keeps.refuse_unknown(list(known))
    if not left:
        raise ConfigError(
            f"hydra.sweeper.filter: {expression!r} leaves none of the {len(points)} jobs."
        )
    console.print(f"{len(left)} of {len(points)} combinations pass hydra.sweeper.filter")
    return left


def _announce(asked: int, jobs: int, todo: list[Any], folder: str) -> None:
    """Say what is to be done."""
    from vae_run.system.console import console

    goes_on = sum(entry.attempts > 0 for entry in todo)
    said = [f"{jobs} job{'s' * (jobs != 1)}"]
    if asked > jobs:
        said.append(f"{asked - jobs} asked for twice")
    if jobs > len(todo):
        said.append(f"{jobs - len(todo)} done before")
    if goes_on:
        said.append(f"{goes_on} taken up again")
    console.print(f"{', '.join(said)}, in {folder}")
