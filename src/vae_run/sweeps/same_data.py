"""Jobs of a sweep whose data lie at another path than when they were begun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vae_run.config.schema import Settings
from vae_run.data.splits import Splits
from vae_run.errors import CheckpointError, ConfigError, DataError
from vae_run.runs.identity import identity, location_keys
from vae_run.runs.run_directory import RunDirectory
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.sweeps.partial_keys import Axes


def refuse_several_roots(axes: Axes) -> None:
    """Refuse a sweep over folders of known datasets: jobs that differ in them alone are one job.

    Args:
        axes: of the sweep.

    Raises:
        ConfigError: `dataset.root` has several values.
    """
    for key, words in axes.items():
        if key.lstrip("+") == "dataset.root" and len(set(words)) > 1:
            raise ConfigError(
                f"dataset.root: found {len(set(words))} values in a sweep, expected one. It says "
                "only where the files of a known dataset lie, so jobs that differ in it alone "
                "count as one job. Choose a sweep.dir for each folder."
            )


class MovedJobs:
    """The begun jobs of a ledger, found by their configuration and the fingerprint of their data.

    Data are read only where a new job is, apart from where they lie, one that was begun.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._begun: dict[str, list[tuple[str, str]]] | None = None
        self._fingerprints: dict[str, str | None] = {}

    def find(self, settings: Settings) -> tuple[str, Entry] | None:
        """The identity and entry of the begun job that `settings` are, with data that moved."""
        config, jobs = settings.raw, self._ledger.jobs
        if not jobs or not config["dataset"].get("path") or identity(config) in jobs:
            return None
        for name, fingerprint in self._alike().get(_without_places(config), ()):
            if self._fingerprint(settings) == fingerprint:
                return name, jobs[name]
        return None

    def _alike(self) -> dict[str, list[tuple[str, str]]]:
        """(identity, fingerprint) of each begun job, by its configuration without places."""
        if self._begun is None:
            self._begun = {}
            for name, entry in self._ledger.jobs.items():
                run = RunDirectory(self._ledger.folder / entry.directory)
                try:
                    key, fingerprint = _without_places(run.config()), run.fingerprint()
                except CheckpointError:
                    continue  # it has not begun
                self._begun.setdefault(key, []).append((name, fingerprint))
        return self._begun

    def _fingerprint(self, settings: Settings) -> str | None:
        """The fingerprint of the data of `settings`; None if they cannot be read."""
        conditions = settings.fixed.vector_conditions
        key = json.dumps([settings.raw["dataset"], conditions], sort_keys=True, default=str)
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint_of(settings)
        return self._fingerprints[key]


def fingerprint_of(settings: Settings) -> str | None:
    """The fingerprint of the data of `settings`; None if they cannot be read."""
    try:
        data: Splits = settings.build("dataset").load(settings.fixed.vector_conditions)
        return data.fingerprint()
    except DataError:  # the job itself will say so
        return None


def _without_places(config: Mapping[str, Any]) -> str:
    """The identity of `config` without the paths of its data; only whether one is given counts."""
    dataset = dict(config["dataset"])
    for key in location_keys(dataset):
        name = key.removeprefix("dataset.")
        if isinstance(dataset.get(name), str):
            dataset[name] = ""
    return identity({**config, "dataset": dataset})
