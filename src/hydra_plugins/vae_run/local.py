"""`hydra/launcher=local`: jobs in processes of this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.vae_run.jobs import HydraJob
from vae_run.errors import RunError


class LocalLauncher(Launcher):
    """Runs jobs side by side; a sweeper with a ledger listens to how they do."""

    def __init__(self, **settings: Any) -> None:
        from vae_run.sweeps.settings import PoolSettings, checked

        self.settings = checked(settings, PoolSettings)

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config
        self.folder = Path(str(config.hydra.sweep.dir))

    @functools.cached_property
    def shares(self) -> Any:
        """How the machine is shared out among jobs."""
        from vae_run.system.hardware import Shares

        device = str(self.config.get("device", "auto"))
        return Shares.of_this_machine(device, self.settings.jobs, self.settings.threads)

    def warm_up(self) -> None:
        """Begin to import what jobs need, while the sweeper composes them."""
        from vae_run.sweeps.executors.process_pool import warm_up

        warm_up(self.shares.threads)

    def pool(self) -> Any:
        """The processes."""
        from vae_run.sweeps.executors.process_pool import Pool

        return Pool(self.shares.jobs, self.settings.time_limit, self.settings.grace)

    def job(self, overrides: Sequence[str], number: int, directory: str) -> Callable[[int], Any]:
        """A job for the pool: overrides without its directory, a name under the sweep's folder."""
        from vae_run.sweeps.executors.process_pool import Job
        from vae_run.sweeps.executors.worker import Surroundings

        words = [*overrides, *placed(self.folder, directory)]
        call = HydraJob(self.context, self.config, self.task_function, words, number)

        def made(slot: int) -> Job:
            return Job(
                directory,
                call,
                Surroundings(
                    self.folder / directory / "train.log",
                    self.shares.threads,
                    self.shares.environment(slot),
                ),
            )

        return made

    def items(
        self, entries: Iterator[Any], settings_of: Callable[[Sequence[str]], Any]
    ) -> Iterator[Sequence[Any] | None]:
        """The sweep's entries, each with those that are done in the same process: here, alone."""
        for entry in entries:
            yield None if entry is None else [entry]

    def item(self, entries: Sequence[Any]) -> Callable[[int], Any]:
        """The job for the pool that does those of `entries`."""
        (entry,) = entries
        return self.job(entry.overrides, number_of(entry.directory), entry.directory)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's own way in, for sweepers that keep no ledger."""
        returns: dict[str, JobReturn] = {}

        def jobs() -> Iterator[Any]:
            for index, overrides in enumerate(job_overrides, start=initial_job_idx):
                returns[str(index)] = JobReturn(overrides=list(overrides))
                yield self.job(overrides, index, str(index))

        def ended(job: Any, end: Any) -> None:
            done = returns[job.key]
            done.working_dir = str(self.folder / job.key)
            done.status = JobStatus.FAILED if end.exit_code else JobStatus.COMPLETED
            done.return_value = RunError(f"job {job.key} failed") if end.exit_code else None

        self.folder.mkdir(parents=True, exist_ok=True)
        self.pool().run(jobs(), ended)
        return list(returns.values())


def number_of(directory: str) -> int:
    """The number of the job whose run directory's name this is."""
    return int(directory.split("-")[0])


def placed(folder: Path, directory: str) -> list[str]:
    """The overrides that put a job's run into `directory` of `folder`."""
    return [
        f"hydra.sweep.{key}={_quoted(str(to))}"
        for key, to in (("dir", folder), ("subdir", directory))
    ]


def _quoted(text: str) -> str:
    """`text` as a value that Hydra's parser reads as a string."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
