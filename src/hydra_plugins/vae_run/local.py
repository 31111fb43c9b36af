"""`hydra/launcher=local`: jobs in processes of this machine."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hydra_plugins.vae_run.jobs import HydraJob
from vae_run.config import invalid
from vae_run.errors import RunError


class Settings(BaseModel):
    """The launcher's keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    jobs: Annotated[int, Field(ge=1)] | None = None
    threads: Annotated[int, Field(ge=1)] | None = None
    time_limit: Annotated[float, Field(gt=0)] | None = None
    grace: Annotated[float, Field(ge=0)] = 30.0


class LocalLauncher(Launcher):
    """Runs jobs side by side; a sweeper with a ledger listens to how they do."""

    def __init__(self, **settings: Any) -> None:
        try:
            self.settings = Settings.model_validate(settings)
        except ValidationError as error:
            known = [f"hydra.launcher.{name}" for name in Settings.model_fields]
            raise invalid(error, "hydra.launcher", known) from error

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.task_function, self.config = hydra_context, task_function, config
        self.folder = Path(str(config.hydra.sweep.dir))

    @functools.cached_property
    def shares(self) -> Any:
        """How the machine is shared out among jobs."""
        from vae_run.sweeping.machine import Shares

        device = str(self.config.get("device", "auto"))
        return Shares.of_this_machine(device, self.settings.jobs, self.settings.threads)

    def warm_up(self) -> None:
        """Begin to import what jobs need, while the sweeper composes them."""
        from vae_run.sweeping.pool import warm_up

        warm_up(self.shares.threads)

    def pool(self) -> Any:
        """The processes."""
        from vae_run.sweeping.pool import Pool

        return Pool(self.shares.jobs, self.settings.time_limit, self.settings.grace)

    def job(self, overrides: Sequence[str], number: int, directory: str) -> Callable[[int], Any]:
        """A job for the pool: overrides without its directory, a name under the sweep's folder."""
        from vae_run.sweeping.pool import Job
        from vae_run.sweeping.worker import Surroundings

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
