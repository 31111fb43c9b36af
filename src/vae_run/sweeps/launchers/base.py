"""What launchers with a pool have in common: jobs made for its processes."""

from __future__ import annotations

import functools
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from vae_run.config.commands import override
from vae_run.errors import RunError
from vae_run.sweeps.executors.job_end import JobEnd
from vae_run.sweeps.executors.process_pool import Job, Pool
from vae_run.sweeps.executors.worker import WorkerEnvironment
from vae_run.sweeps.jobs import Application, HydraJob
from vae_run.sweeps.settings import PoolSettings, checked
from vae_run.system.console import console
from vae_run.system.hardware import Shares

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.sweeps.composer import Composer
    from vae_run.sweeps.ledger import Entry

OF_HYDRA = "${hydra.job.num}"
"""`hydra.sweep.subdir` in `conf/config.yaml`, in whose place a sweeper names each directory."""

MakeJob = Callable[[int], Job]
"""Makes a job for the slot of the pool that it gets."""


class PoolLauncher(ABC):
    """Runs jobs in the processes of a pool; a sweeper with a ledger follows their progress.

    Attributes:
        one_by_one: whether each job is asked for only when it can start, and has a process of its
            own, so that it can be stopped alone.
        composer: composes the jobs' configurations; None: each job composes its own, which takes
            it a good part of a second.
        alike: how many jobs of the sweep can share the program of a job's compiled step, this one
            included, by the name of its directory; 1 where it is missing.
        remote: whether jobs run on other machines.
        schema: of the keys of `hydra.launcher`.
    """

    one_by_one: ClassVar[bool] = True
    remote: ClassVar[bool] = False
    schema: ClassVar[type[PoolSettings]] = PoolSettings

    def __init__(self, keys: Mapping[str, Any], application: Application) -> None:
        """Check `keys`, those of `hydra.launcher`.

        Raises:
            ConfigError: a key is unknown, or its value wrong.
        """
        self.settings: Any = checked(keys, self.schema)
        self.application, self.folder = application, application.folder
        self.composer: Composer | None = None
        self.alike: dict[str, int] = {}

    @functools.cached_property
    @abstractmethod
    def shares(self) -> Shares:
        """How many jobs run at a time, and what each gets of the machine."""

    @abstractmethod
    def pool(self) -> Pool:
        """The processes."""

    def warm_up(self, settings: Settings | None) -> None:  # noqa: B027
        """Prepare processes while the sweeper composes jobs, where that saves time.

        Args:
            settings: of the first job, if it is known.
        """

    def hydra_job(self, overrides: Sequence[str], number: int, directory: str) -> HydraJob:
        """What `job` runs, with the same arguments."""
        words = [*overrides, *directory_overrides(self.folder, directory)]
        composed = None if self.composer is None else pickle.dumps(self.composer.job(words))
        return HydraJob(self.application, words, number, composed)

    def job(self, overrides: Sequence[str], number: int, directory: str) -> MakeJob:
        """A job for the pool.

        Args:
            overrides: without those that name its directory.
            number: of the job in the sweep.
            directory: its name in the sweep's folder.
        """
        call = self.hydra_job(overrides, number, directory)

        def made(slot: int) -> Job:
            given = self.environment(f"{directory}/train.log", slot)
            alike = 1 if self.remote else self.alike.get(directory, 1)
            return Job(directory, call, replace(given, alike=alike))

        return made

    def environment(self, log: str, slot: int) -> WorkerEnvironment:
        """What a process in `slot` is given; `log` is a path in the sweep's folder."""
        shares = self.shares
        return WorkerEnvironment(self.folder / log, shares.threads, shares.environment(slot))

    def batches(
        self, entries: Iterator[Entry | None], settings_of: Callable[[Sequence[str]], Settings]
    ) -> Iterator[Sequence[Entry] | None]:
        """Entries of the ledger, each with those that the same process does.

        Args:
            entries: None means that no other can start before one has ended, and is passed on.
            settings_of: the checked configuration of a job by its overrides.
        """
        for entry in entries:
            yield None if entry is None else [entry]

    def batch_job(self, entries: Sequence[Entry]) -> MakeJob:
        """The job for the pool that does one of the `batches`."""
        (entry,) = entries
        return self.job(entry.overrides, number_of(entry.directory), entry.directory)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's own interface, for sweepers that keep no ledger."""
        returns: dict[str, JobReturn] = {}

        def jobs() -> Iterator[MakeJob]:
            for index, overrides in enumerate(job_overrides, start=initial_job_idx):
                returns[str(index)] = JobReturn(overrides=list(overrides))
                yield self.job(overrides, index, str(index))

        def ended(job: Job, end: JobEnd) -> None:
            done = returns[job.key]
            done.working_dir = str(self.folder / job.key)
            done.status = JobStatus.FAILED if end.exit_code else JobStatus.COMPLETED
            done.return_value = RunError(f"job {job.key} failed") if end.exit_code else None

        self.folder.mkdir(parents=True, exist_ok=True)
        self.pool().run(jobs(), ended)
        return list(returns.values())


def number_of(directory: str) -> int:
    """The number of the job whose run directory has this name."""
    return int(directory.split("-")[0])


def directory_overrides(folder: Path, directory: str) -> list[str]:
    """The overrides that put a job's run into `directory` of `folder`."""
    return [
        override(f"hydra.sweep.{key}", value)
        for key, value in (("dir", folder), ("subdir", directory))
    ]


def tell_of_other_names(config: DictConfig) -> None:
    """Print a line where `hydra.sweep.subdir` asks for other directories than these overrides."""
    sweep: Any = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    if sweep["subdir"] != OF_HYDRA:
        console.print(
            f"hydra.sweep.subdir={sweep['subdir']} is not used: the directory of a job is named by "
            "its number and the values that vary"
        )
