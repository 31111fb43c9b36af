"""Jobs of a sweep whose data lie at another path than when they were begun."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vae_run.config.schema import Settings
from vae_run.errors import CheckpointError, ConfigError, DataError
from vae_run.runs.identity import identity
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

    Data are read only where a new job is, apart from `dataset.path`, one that was begun.
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
        for name, fingerprint in self._alike().get(_without_path(config), ()):
            if self._fingerprint(settings) == fingerprint:
                return name, jobs[name]
        return None

    def _alike(self) -> dict[str, list[tuple[str, str]]]:
        """(identity, fingerprint) of each begun job, by its configuration without the path."""
        if self._begun is None:
            self._begun = {}
            for name, entry in self._ledger.jobs.items():
                run = RunDirectory(self._ledger.folder / entry.directory)
                try:
                    key, fingerprint = _without_path(run.config()), run.fingerprint()
                except CheckpointError:
                    continue  # it has not begun
                self._begun.setdefault(key, []).append((name, fingerprint))
        return self._begun

    def _fingerprint(self, settings: Settings) -> str | None:
        """The fingerprint of the data of `settings`; None if they cannot be read."""
        conditions = settings.fixed.vector_conditions
        key = json.dumps([settings.raw["dataset"], conditions], sort_keys=True, default=str)
        if key not in self._fingerprints:
            try:
                self._fingerprints[key] = settings.build("dataset").load(conditions).fingerprint()
            except DataError:  # the job itself will say so
                self._fingerprints[key] = None
        return self._fingerprints[key]


def _without_path(config: Mapping[str, Any]) -> str:
    return identity({**config, "dataset": {**config["dataset"], "path": None}})
