"""`hydra/sweeper=grid`: every combination of the values given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from random import shuffle
from typing import Any

from hydra.core.override_parser.types import Override, RangeSweep
from pydantic import BaseModel, ConfigDict

from vae_run.config.keys import flat
from vae_run.errors import ConfigError
from vae_run.sweeps.composer import Composer
from vae_run.sweeps.filters import Filter
from vae_run.sweeps.jobs import Application
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.sweeps.ranges import decimal_range
from vae_run.sweeps.settings import checked
from vae_run.sweeps.sweepers.ledger_sweep import LedgerSweep, refuse_failures, unfinished
from vae_run.sweeps.tracked import parent
from vae_run.system.console import console


class GridSettings(BaseModel):
    """The keys of `conf/hydra/sweeper/grid.yaml`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    params: dict[str, Any] | None = None
    filter: str | bool | None = None


class GridSweep:
    """Runs every job of a grid that the ledger does not have as completed."""

    def __init__(self, keys: Mapping[str, Any], application: Application) -> None:
        self.settings = checked(keys, GridSettings, "hydra.sweeper")
        self.jobs = LedgerSweep(application)

    def sweep(self, arguments: list[str]) -> None:
        """Run the grid that `arguments`, the overrides of the command line, span."""
        from vae_run.sweeps.summary import summarise  # imports matplotlib and more

        params = self.settings.params or {}
        composer = self.jobs.composer
        axes = grid(composer.parse([*(f"{k}={v}" for k, v in params.items()), *arguments]))
        swept = [key for key, words in axes.items() if len(words) > 1]
        points = self.jobs.partial_keys(axes).jobs(product(*axes.values()))
        if self.settings.filter is not None:
            points = filtered(points, str(self.settings.filter), composer)
        jobs = self.jobs.check_all(points)
        ledger = Ledger.open(self.jobs.folder)
        with ledger.locked():
            entries = self.jobs.enter(ledger, jobs, swept)
            todo = unfinished(entries.values())
            _announce(len(jobs), len(entries), todo, ledger.folder)
            before = len(entries) - len(todo)
            with parent(ledger.folder, jobs[0].settings, swept) if todo else nullcontext():
                try:
                    if todo:
                        self.jobs.launch(ledger, iter(todo), len(entries), done=before)
                finally:
                    summarise(ledger)
                refuse_failures(ledger, entries.values())


def grid(overrides: list[Override]) -> dict[str, list[str]]:
    """For each key the overrides that set it, one for each value; the last one typed counts.

    Raises:
        ConfigError: a key is given an interval or a range that has no values to list.
    """
    axes = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in _listed(key, override)]
        else:
            raise ConfigError(
                f"{key}: found {override.input_line}, a range without steps, which a grid cannot "
                "list. Name the values, or search: hydra/sweeper=optuna."
            )
    return axes


def _listed(key: str, override: Override) -> list[str]:
    """The values of a sweep.

    Raises:
        ConfigError: there are none, or a range has a step of 0.
    """
    sweep = override.value()
    if isinstance(sweep, RangeSweep):
        values = decimal_range(key, sweep).texts()
        _tell_of_left_stop(key, sweep, len(values))
        if sweep.shuffle:
            shuffle(values)
        return values
    values = list(override.sweep_string_iterator())
    if not values:
        raise ConfigError(f"{key}: found {override.input_line}, which holds nothing.")
    return values


def _tell_of_left_stop(key: str, sweep: RangeSweep, count: int) -> None:
    """Print a line where Hydra's own arithmetic would have included the stop."""
    if sum(1 for _ in sweep.range()) > count:
        typed = f"range({sweep.start},{sweep.stop},{sweep.step})"
        console.print(
            f"{key}: the stop of {typed} is left out, as that of every range; Hydra's own sweeper "
            "would include it, by rounding"
        )


def filtered(points: Sequence[list[str]], expression: str, composer: Composer) -> list[list[str]]:
    """Those of the jobs, given by their overrides, for which a filter is true.

    Raises:
        ConfigError: the filter is true for none, or names a key that does not exist.
    """
    jobs = [{**dict(flat(composer.compose(words))), **composer.choices(words)} for words in points]
    kept = Filter(expression).all_kept(jobs)
    left = [words for words, stays in zip(points, kept, strict=True) if stays]
    if not left:
        raise ConfigError(
            f"hydra.sweeper.filter: {expression!r} leaves none of the {len(points)} jobs."
        )
    console.print(f"{len(left)} of {len(points)} combinations pass hydra.sweeper.filter")
    return left


def _announce(asked: int, jobs: int, todo: Sequence[Entry], folder: Path) -> None:
    """Print how many jobs there are to do, and why not all."""
    again = sum(entry.attempts > 0 for entry in todo)
    parts = [f"{jobs} job{'s' * (jobs != 1)}"]
    if asked > jobs:
        parts.append(f"{asked - jobs} asked for twice")
    if jobs > len(todo):
        parts.append(f"{jobs - len(todo)} done before")
    if again:
        parts.append(f"{again} taken up again")
    console.print(f"{', '.join(parts)}, in {folder}")
