"""The plan of a search: Optuna's sampler, pruner and storage, from the sweeper's keys.

Imports Optuna: only a search imports this module.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from vae_run.sweeps.search.settings import Direction, Pruner

JOURNAL = "search.journal"
"""Optuna's journal in the sweep's folder."""

NAME = "vae-run"

POPULATION = 10
"""Trials in a generation of nsga2, whose first one is random. Optuna's default of 50 would make the
20 trials of a search by default all random."""


@dataclass(frozen=True)
class Plan:
    """How to search.

    Attributes:
        objective: metrics on val, such as `val/elbo`.
        directions: minimize or maximize, for each.
        sampler: chooses points.
        seed: of the sampler.
        pruner: gives up on trials.
        startup: completed trials before the pruner gives up on any, and random trials before the
            sampler learns from results; None: Optuna's defaults.
        epochs: of a whole trial, where they are known.
        warmup: epochs in which no trial is given up on.
        storage: Optuna's, a URL or a journal's file; None: a journal in the sweep's folder.
    """

    objective: tuple[str, ...]
    directions: tuple[Direction, ...]
    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    seed: int = 0
    pruner: Pruner = "none"
    startup: int | None = None
    epochs: int | None = None
    warmup: int = 1
    storage: str | None = None

    def make_sampler(self, number: int) -> BaseSampler:
        """The sampler of the trial `number`."""
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        if self.sampler == "random":
            return RandomSampler(seed=seed)
        if self.sampler == "nsga2":
            return NSGAIISampler(population_size=POPULATION, seed=seed)
        with quiet():
            return TPESampler(
                n_startup_trials=10 if self.startup is None else self.startup,
                seed=seed,
                multivariate=len(self.objective) == 1,
                constant_liar=True,  # several trials run at a time
            )

    def make_pruner(self) -> BasePruner:
        """The pruner of the study."""
        if self.pruner == "median":
            startup = 5 if self.startup is None else self.startup
            return MedianPruner(startup, n_warmup_steps=self.warmup)
        if self.pruner == "hyperband":
            return HyperbandPruner(self.warmup, self.epochs or "auto")
        return NopPruner()

    def place(self, folder: Path) -> str:
        """Where the trials of the search in `folder` are stored."""
        return self.storage or str(folder / JOURNAL)

    def study_name(self, folder: Path) -> str:
        """A name that distinguishes the search in `folder` from others in the same storage."""
        return NAME if self.storage is None else f"{NAME} {os.path.abspath(folder)}"

    def earlier_name(self, folder: Path) -> str:
        """The name that earlier versions gave it: that of the folder as it was typed."""
        return NAME if self.storage is None else f"{NAME} {folder}"

    def open_storage(self, folder: Path) -> BaseStorage:
        """The storage at `place`, opened."""
        place = self.place(folder)
        if "://" in place:
            return RDBStorage(place)
        return _journal(Path(place), alone=self.storage is None)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Optuna's warnings about its experimental features."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield


class _NoLock(JournalFileOpenLock):
    """No lock, since a killed process would leave it behind: the ledger is locked already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _journal(path: Path, *, alone: bool) -> JournalStorage:
    """Optuna's journal in the file `path`.

    Where it is used `alone`, by the sweep that holds the ledger's lock, a last line that was only
    half written is removed, because the next one would be appended to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not alone:
        return JournalStorage(JournalFileBackend(str(path)))
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
    return JournalStorage(JournalFileBackend(str(path), _NoLock(str(path))))
