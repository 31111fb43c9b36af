"""`hydra/launcher=ray_cluster`, `slurm` and `slurm_local`: jobs on other machines."""

from __future__ import annotations

import functools
import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from vae_run.errors import ConfigError
from vae_run.sweeps.executors.process_pool import Pool
from vae_run.sweeps.jobs import Application
from vae_run.sweeps.launchers.base import PoolLauncher
from vae_run.sweeps.settings import PoolSettings, RaySettings, SlurmSettings
from vae_run.system.extras import installation
from vae_run.system.hardware import Shares


class ClusterLauncher(PoolLauncher):
    """Sends jobs to a cluster whose machines see the sweep's folder and this environment.

    Attributes:
        package: that it needs.
        extra: of vae-run that installs `package`.
    """

    remote: ClassVar[bool] = True
    package: ClassVar[str]
    extra: ClassVar[str]

    def __init__(self, keys: Mapping[str, Any], application: Application) -> None:
        """Check `keys`, those of `hydra.launcher`.

        Raises:
            ConfigError: a key is unknown, its value is wrong, or the package is not installed.
        """
        super().__init__(keys, application)
        if importlib.util.find_spec(self.package) is None:
            raise ConfigError(
                f"hydra/launcher: needs the package {self.package}, which is not installed: "
                f"{installation(self.extra)}"
            )
        self.folder = self.folder.absolute()

    @functools.cached_property
    def shares(self) -> Shares:
        """The cluster decides how many jobs run; only the threads of a job are known here."""
        return Shares(1, self.settings.threads or self._threads())

    @abstractmethod
    def _threads(self) -> int:
        """CPU threads of a job where the key `threads` is null."""


class RayLauncher(ClusterLauncher):
    """Runs jobs as tasks of a Ray cluster, which are started again where a machine is lost."""

    package, extra = "ray", "ray"
    schema: ClassVar[type[PoolSettings]] = RaySettings

    def _threads(self) -> int:
        return max(1, int(self.settings.num_cpus))

    def pool(self) -> Pool:
        from vae_run.sweeps.executors.ray import RayPool, connect

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


class SlurmLauncher(ClusterLauncher):
    """Runs jobs in the queue of Slurm, or as processes of this machine in the same manner."""

    package, extra = "submitit", "slurm"
    schema: ClassVar[type[PoolSettings]] = SlurmSettings

    def _threads(self) -> int:
        return int(self.settings.parameters.get("cpus_per_task") or 1)

    def pool(self) -> Pool:
        from vae_run.sweeps.executors.slurm import SlurmPool

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
