"""`hydra/launcher=ray_cluster`, `slurm` and `slurm_local`: jobs on other machines."""

from __future__ import annotations

import functools
import importlib.util
from abc import abstractmethod
from typing import Any, ClassVar

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.vae_run.local import LocalLauncher
from vae_run.errors import ConfigError

# Hydra runs the modules of plugins in the order of their names, those that were imported before a
# second time: this one must stand after `local`, whose class it extends.


class ClusterLauncher(LocalLauncher):
    """Sends jobs to a cluster whose machines see the sweep's folder and this environment."""

    remote: ClassVar[bool] = True
    package: ClassVar[str]
    extra: ClassVar[str]

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        if importlib.util.find_spec(self.package) is None:
            raise ConfigError(
                f"hydra/launcher: needs the package {self.package}, which is not installed: "
                f"pip install 'vae-run[{self.extra}]'"
            )
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        self.folder = self.folder.absolute()

    @functools.cached_property
    def shares(self) -> Any:
        """The machine's part is the cluster's: a job runs where there is room."""
        from vae_run.system.hardware import Shares

        return Shares(1, self.settings.threads or self._threads())

    def warm_up(self) -> None:
        """Nothing: machines of the cluster import what they need."""

    @abstractmethod
    def _threads(self) -> int:
        """CPU threads of a job where `threads` does not tell."""


class RayLauncher(ClusterLauncher):
    """Runs jobs as tasks of a Ray cluster, which are begun again where a machine is lost."""

    package, extra = "ray", "ray"

    def __init__(self, **settings: Any) -> None:
        from vae_run.sweeps.settings import RaySettings, checked

        self.settings: Any = checked(settings, RaySettings)

    def _threads(self) -> int:
        return max(1, int(self.settings.num_cpus))

    def pool(self) -> Any:
        from vae_run.sweeps.executors.ray_cluster import RayPool, connect

        own = self.settings
        connect(own.address)
        return RayPool(
            1,
            own.time_limit,
            own.grace,
            threads=self.shares.threads,
            jobs=own.jobs,
            num_cpus=own.num_cpus,
            num_gpus=own.num_gpus,
            retries=own.retries,
        )


class SubmititLauncher(ClusterLauncher):
    """Runs jobs in the queue of Slurm, or as processes of this machine in its manner."""

    package, extra = "submitit", "slurm"

    def __init__(self, **settings: Any) -> None:
        from vae_run.sweeps.settings import SubmititSettings, checked

        plain = {
            key: OmegaConf.to_container(value, resolve=True)
            if OmegaConf.is_config(value)
            else value
            for key, value in settings.items()
        }
        self.settings: Any = checked(plain, SubmititSettings)

    def _threads(self) -> int:
        return int(self.settings.parameters.get("cpus_per_task") or 1)

    def pool(self) -> Any:
        from vae_run.sweeps.executors.submitit_cluster import SlurmPool

        own = self.settings
        return SlurmPool(
            own.jobs,
            own.time_limit,
            own.grace,
            threads=self.shares.threads,
            look_every=0.25 if own.executor == "local" else 5.0,
            executor=own.executor,
            folder=self.folder / ".submitit",
            parameters={key: value for key, value in own.parameters.items() if value is not None},
        )
