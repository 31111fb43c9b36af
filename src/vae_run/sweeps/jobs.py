"""Jobs of a sweep inside the process that does them: one, or several together."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from vae_run.cli.composition import put_home_for_tilde
from vae_run.cli.exit_codes import Outcome, report_error
from vae_run.cli.hydra_api import find_plugins, trusted
from vae_run.cli.job_start import run_job
from vae_run.cli.main import call_of
from vae_run.cli.resolvers import register_resolvers
from vae_run.runs.run_log import LOG
from vae_run.sweeps.executors.job_end import ErrorReport, RunReport
from vae_run.sweeps.executors.worker import report

TILDE = re.compile(rb"(\x8c.|X....)~", re.DOTALL)
"""The beginning of a text that begins with `~` in a pickle: its opcode and its length."""


@dataclass(frozen=True)
class Application:
    """What Hydra hands to a sweeper or launcher when it sets it up.

    Attributes:
        context: with the loader of configurations.
        task_function: does a job.
        config: of the multirun, Hydra's own section included.
    """

    context: HydraContext
    task_function: TaskFunction
    config: DictConfig

    @property
    def folder(self) -> Path:
        """The sweep's folder."""
        return Path(str(self.config.hydra.sweep.dir))


@dataclass(frozen=True)
class HydraJob:
    """Runs a job as Hydra's own launcher does; can be sent to another process.

    Attributes:
        application: that the job belongs to.
        overrides: of the job.
        number: of the job in the sweep.
        composed: its configuration, pickled; None: it is composed where the job runs.
        tracebacks: whether the user asked for them. The environment of a job cannot show this,
            because `cli.hydra_api` sets HYDRA_FULL_ERROR itself.
    """

    application: Application
    overrides: Sequence[str]
    number: int
    composed: bytes | None = None
    tracebacks: bool = field(default_factory=lambda: Outcome.tracebacks)

    def run(self, task_function: TaskFunction) -> JobReturn:
        """Run it in this process, by `task_function`."""
        context, config = self.application.context, self.application.config
        if self.composed is None:
            composed = context.config_loader.load_sweep_config(config, list(self.overrides))
        else:
            composed = pickle.loads(self.composed)  # noqa: S301 (from the sweep itself)
        if self.composed is None or TILDE.search(self.composed):
            put_home_for_tilde(composed)
        with open_dict(composed):
            composed.hydra.job.id = str(self.number)
            composed.hydra.job.num = self.number
        present: Any = HydraConfig.instance()
        present.cfg = composed
        with trusted():
            return run_job(
                task_function=task_function,
                config=composed,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
                hydra_context=context,
            )

    def set_up(self) -> None:
        """Do in a new process what Hydra does when a program starts."""
        Outcome.tracebacks = self.tracebacks
        setup_globals()
        register_resolvers()
        find_plugins()  # plugins may register names that configuration files use
        JobRuntime.instance().set("name", self.application.config.hydra.job.name)

    def __call__(self) -> int:
        """Run it in a process that does nothing else; returns its exit code."""
        self.set_up()
        try:
            _ = self.run(self.application.task_function).return_value
        except Exception as error:
            report_error(error)
        if Outcome.error:
            report(ErrorReport(Outcome.error))
            if not self.tracebacks:
                self._discard_log()
        return Outcome.exit_code

    def _discard_log(self) -> None:
        """Remove the log of a job that has left nothing else: it holds the reported message."""
        sweep = HydraConfig.get().sweep
        directory = Path(str(sweep.dir), str(sweep.subdir))
        with suppress(OSError):
            if [path.name for path in directory.iterdir()] == [LOG]:
                (directory / LOG).unlink()
                directory.rmdir()


@dataclass(frozen=True)
class HydraJobs:
    """Jobs that one process trains together; can be sent to another process.

    Attributes:
        jobs: the jobs.
        directories: the names of their run directories.
        processes: how many processes do the same at the same time and share the memory.
    """

    jobs: Sequence[HydraJob]
    directories: Sequence[str]
    processes: int

    def __call__(self) -> int:
        """Train them and report how each ended; returns the greatest of their exit codes."""
        from vae_run.sweeps.vectorized.training import train_together

        self.jobs[0].set_up()
        calls = []
        for job, directory in zip(self.jobs, self.directories, strict=True):
            try:
                calls.append(job.run(call_of).return_value)
            except Exception as error:
                _report(job.application.folder / directory, error)
        train_together(
            calls,
            processes=self.processes,
            ended=lambda call, error: _report(call.directory, error),
        )
        return Outcome.exit_code


def _report(directory: Path, error: Exception | None) -> None:
    """Report to the pool, and write to the run's own log, how a run ended."""
    from vae_run.system.console import also_in_file

    code, message = 0, ""
    if error is not None:
        # A job that failed before its first step has left no directory.
        with also_in_file(directory / LOG) if directory.is_dir() else nullcontext():
            code, message = report_error(error), str(error).split("\n")[0]
    report(RunReport(directory.name, code, message))
