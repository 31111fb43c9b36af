"""One job of a sweep inside the process that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobRuntime, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from vae_run import cli


@dataclass(frozen=True)
class HydraJob:
    """Composes a job and runs it, as Hydra's own launcher does; can be sent to another process."""

    context: HydraContext
    config: DictConfig
    task_function: TaskFunction
    overrides: Sequence[str]
    number: int

    def run(self) -> JobReturn:
        """Run it here."""
        composed = self.context.config_loader.load_sweep_config(self.config, list(self.overrides))
        with open_dict(composed):
            composed.hydra.job.id = str(self.number)
            composed.hydra.job.num = self.number
        HydraConfig.instance().set_config(composed)
        return run_job(
            task_function=self.task_function,
            config=composed,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=self.context,
        )

    def __call__(self) -> int:
        """Run it in a process that does nothing else; its exit code."""
        setup_globals()
        cli.register_resolvers()
        Plugins.instance()  # what plugins register, files may refer to
        JobRuntime.instance().set("name", self.config.hydra.job.name)
        with cli.told():
            _ = self.run().return_value
        return cli.Outcome.exit_code
