"""`hydra/launcher=vectorized`: jobs whose networks have the same shapes, trained as one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra_plugins.vae_run.jobs import HydraJob, HydraJobs
from hydra_plugins.vae_run.local import LocalLauncher, number_of, placed
from vae_run.cli.main import call_of


class VectorizedLauncher(LocalLauncher):
    """A local launcher whose processes train many runs each; what cannot be, trains alone."""

    def __init__(self, **settings: Any) -> None:
        from vae_run.sweeps.settings import VectorizedSettings, checked

        self.settings = checked(settings, VectorizedSettings)

    def items(
        self, entries: Iterator[Any], settings_of: Callable[[Sequence[str]], Any]
    ) -> Iterator[Sequence[Any] | None]:
        """All that can start now, put together as far as it goes, then what can start later."""
        waiting: list[Any] = []
        for entry in entries:
            if entry is not None:
                waiting.append(entry)
                continue
            yield from self._put_together(waiting, settings_of)
            waiting = []
            yield None
        yield from self._put_together(waiting, settings_of)

    def _put_together(
        self, entries: list[Any], settings_of: Callable[[Sequence[str]], Any]
    ) -> Iterator[Sequence[Any]]:
        from vae_run.sweeps.vectorized.grouping import grouped, pieces
        from vae_run.system.console import console

        if not entries:
            return
        groups = grouped([settings_of(entry.overrides) for entry in entries])
        for line in groups.said():
            console.print(line)
        found: list[list[int]] = []
        for places in groups.together:
            share = self.shares.jobs * len(places) / len(entries)
            found += pieces(places, round(share), getattr(self.settings, "runs", None))
        if found:
            sizes = ", ".join(str(len(piece)) for piece in found)
            console.print(f"{sum(map(len, found))} jobs train together, {sizes} in a process")
        for piece in [*found, *([place] for place in groups.alone)]:
            yield [entries[place] for place in piece]

    def item(self, entries: Sequence[Any]) -> Callable[[int], Any]:
        if len(entries) == 1:
            return super().item(entries)
        from vae_run.sweeps.executors.process_pool import Job
        from vae_run.sweeps.executors.worker import Surroundings

        names = [str(entry.directory) for entry in entries]
        jobs = [
            HydraJob(
                self.context,
                self.config,
                call_of,
                [*entry.overrides, *placed(self.folder, name)],
                number_of(name),
            )
            for entry, name in zip(entries, names, strict=True)
        ]
        sharing = max(1, self.shares.jobs // max(1, len(self.shares.gpus)))

        def made(slot: int) -> Job:
            return Job(
                names[0],
                HydraJobs(jobs, names, sharing),
                Surroundings(
                    self.folder / f"together-{number_of(names[0]):03d}.log",
                    self.shares.threads,
                    self.shares.environment(slot),
                ),
            )

        return made
