"""Jobs of a sweep inside the process that does them: one, or several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from vae_run.cli.hydra_api import trusted
from vae_run.cli.outcome import Outcome, ending, report_error
from vae_run.cli.resolvers import register_resolvers


@dataclass(frozen=True)
class HydraJob:
    """Composes a job and runs it, as Hydra's own launcher does; can be sent to another process.

    Attributes:
        tracebacks: whether the user asked for them. The environment of a job does not tell:
            HYDRA_FULL_ERROR is then set for Hydra's sake (`cli.hydra_api`).
    """

    context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    overrides: Sequence[str]
    number: int
    tracebacks: bool = field(default_factory=lambda: Outcome.tracebacks)

    def run(self) -> JobReturn:
        """Run it here."""
        composed = self.context.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(composed):
            composed.hydra.job.id = str(self.number)
            composed.hydra.job.num = self.number
        HydraConfig.instance().set_config(composed)
        with trusted():
            return run_job(
                task_function=self.task_function,
                config=composed,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
                hydra_context=self.context,
            )

    def set_up(self) -> None:
        """Let a process know what Hydra's own start would have told it."""
        Outcome.tracebacks = self.tracebacks
        setup_globals()
        register_resolvers()
        Plugins.instance()  # what plugins register, files may refer to
        JobRuntime.instance().set("name", self.config.hydra.job.name)

    def __call__(self) -> int:
        """Run it in a process that does nothing else; its exit code."""
        self.set_up()
        with ending():
            _ = self.run().return_value
        return Outcome.exit_code


@dataclass(frozen=True)
class HydraJobs:
    """Jobs that one process does together; can be sent there.

    Attributes:
        jobs: each with `cli.call_of` as its task, so that running it makes its run directory.
        directories: of the jobs, by name.
        processes: that do the same at the same time and share the memory.
    """

    jobs: Sequence[HydraJob]
    directories: Sequence[str]
    processes: int

    def __call__(self) -> int:
        """Train them, reporting each one's end to the pool; the greatest of the exit codes."""
        from vae_run.sweeps.vectorized.training import train_together

        self.jobs[0].set_up()
        calls = []
        for job, directory in zip(self.jobs, self.directories, strict=True):
            try:
                calls.append(job.run().return_value)
            except Exception as error:
                _report(Path(str(job.config.hydra.sweep.dir), directory), error)
        train_together(
            calls,
            processes=self.processes,
            ended=lambda call, error: _report(call.directory, error),
        )
        return Outcome.exit_code


def _report(directory: Path, error: Exception | None) -> None:
    """Tell the pool, and the run's own log, how a run ended."""
    from vae_run.sweeps.executors.worker import report
    from vae_run.system.console import also_in_file

    code, message = 0, ""
    if error is not None:
        directory.mkdir(parents=True, exist_ok=True)
        with also_in_file(directory / "train.log"):
            code, message = report_error(error), str(error).split("\n")[0]
    report((directory.name, code, message))
