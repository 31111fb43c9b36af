"""`hydra/launcher=vectorized`: jobs whose networks have the same shapes, trained as one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from vae_run.sweeps.executors.process_pool import Job
from vae_run.sweeps.jobs import HydraJobs
from vae_run.sweeps.launchers.base import MakeJob, number_of
from vae_run.sweeps.launchers.local import OneMachineLauncher
from vae_run.sweeps.settings import PoolSettings, VectorizedSettings
from vae_run.system.console import console

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.sweeps.ledger import Entry


class VectorizedLauncher(OneMachineLauncher):
    """Trains many runs in each process; runs that cannot be put together train alone."""

    one_by_one: ClassVar[bool] = False
    schema: ClassVar[type[PoolSettings]] = VectorizedSettings

    def batches(
        self, entries: Iterator[Entry | None], settings_of: Callable[[Sequence[str]], Settings]
    ) -> Iterator[Sequence[Entry] | None]:
        """The jobs that can start now, put together as far as possible, then those that follow."""
        waiting: list[Entry] = []
        for entry in entries:
            if entry is not None:
                waiting.append(entry)
                continue
            yield from self._put_together(waiting, settings_of)
            waiting = []
            yield None
        yield from self._put_together(waiting, settings_of)

    def _put_together(
        self, entries: list[Entry], settings_of: Callable[[Sequence[str]], Settings]
    ) -> Iterator[Sequence[Entry]]:
        from vae_run.sweeps.vectorized.grouping import grouped, pieces

        if not entries:
            return
        groups = grouped([settings_of(entry.overrides) for entry in entries])
        for line in groups.reasons():
            console.print(line)
        found: list[list[int]] = []
        for places in groups.together:
            share = self.shares.jobs * len(places) / len(entries)
            found += pieces(places, round(share), self.settings.runs)
        if found:
            sizes = ", ".join(str(len(piece)) for piece in found)
            console.print(f"{sum(map(len, found))} jobs train together, {sizes} in a process")
        for piece in [*found, *([place] for place in groups.alone)]:
            yield [entries[place] for place in piece]

    def batch_job(self, entries: Sequence[Entry]) -> MakeJob:
        if len(entries) == 1:
            return super().batch_job(entries)
        names = [entry.directory for entry in entries]
        jobs = [
            self.hydra_job(entry.overrides, number_of(entry.directory), entry.directory)
            for entry in entries
        ]
        sharing = max(1, self.shares.jobs // max(1, len(self.shares.gpus)))
        log = f"together-{number_of(names[0]):03d}.log"

        def made(slot: int) -> Job:
            return Job(names[0], HydraJobs(jobs, names, sharing), self.environment(log, slot))

        return made
