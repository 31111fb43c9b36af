"""The sweepers and launchers that Hydra finds: it instantiates only classes of `hydra_plugins`.

Hydra imports this module at the start of every command, so each shell imports what it delegates to
only when Hydra sets it up, which a multirun alone does. No plugin needs another file of this
package: the order in which Hydra imports files does not matter.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:
    from vae_run.sweeps.jobs import Application
    from vae_run.sweeps.launchers.base import PoolLauncher
    from vae_run.sweeps.sweepers.grid import GridSweep
    from vae_run.sweeps.sweepers.optuna import OptunaSweep


def plain(keys: dict[str, Any]) -> dict[str, Any]:
    """Keys of `hydra.sweeper` or `hydra.launcher` as plain Python values."""
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in keys.items()
    }


class SweeperShell(Sweeper):
    """Keeps the keys of `hydra.sweeper` until Hydra hands over the application."""

    def __init__(self, **keys: Any) -> None:
        self.keys = plain(keys)

    @abstractmethod
    def build(self, application: Application) -> GridSweep | OptunaSweep:
        """The sweeper that does the work."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from vae_run.sweeps.jobs import Application

        self.implementation = self.build(Application(hydra_context, task_function, config))

    def sweep(self, arguments: list[str]) -> None:
        self.implementation.sweep(arguments)


class GridSweeper(SweeperShell):
    """`hydra/sweeper=grid`."""

    def build(self, application: Application) -> GridSweep:
        from vae_run.sweeps.sweepers.grid import GridSweep

        return GridSweep(self.keys, application)


class OptunaSweeper(SweeperShell):
    """`hydra/sweeper=optuna`."""

    def build(self, application: Application) -> OptunaSweep:
        from vae_run.sweeps.sweepers.optuna import OptunaSweep

        return OptunaSweep(self.keys, application)


class LauncherShell(Launcher):
    """Keeps the keys of `hydra.launcher` until Hydra hands over the application.

    Attributes:
        implementation: what does the work; sweepers with a ledger use it directly.
    """

    implementation: PoolLauncher

    def __init__(self, **keys: Any) -> None:
        self.keys = plain(keys)

    @abstractmethod
    def build(self, application: Application) -> PoolLauncher:
        """The launcher that does the work."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from vae_run.sweeps.jobs import Application

        self.implementation = self.build(Application(hydra_context, task_function, config))

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        return self.implementation.launch(job_overrides, initial_job_idx)


class LocalLauncher(LauncherShell):
    """`hydra/launcher=local`."""

    def build(self, application: Application) -> PoolLauncher:
        from vae_run.sweeps.launchers.local import LocalLauncher as Implementation

        return Implementation(self.keys, application)


class VectorizedLauncher(LauncherShell):
    """`hydra/launcher=vectorized`."""

    def build(self, application: Application) -> PoolLauncher:
        from vae_run.sweeps.launchers.vectorized import VectorizedLauncher as Implementation

        return Implementation(self.keys, application)


class RayLauncher(LauncherShell):
    """`hydra/launcher=ray_cluster`."""

    def build(self, application: Application) -> PoolLauncher:
        from vae_run.sweeps.launchers.cluster import RayLauncher as Implementation

        return Implementation(self.keys, application)


class SlurmLauncher(LauncherShell):
    """`hydra/launcher=slurm` and `slurm_local`."""

    def build(self, application: Application) -> PoolLauncher:
        from vae_run.sweeps.launchers.cluster import SlurmLauncher as Implementation

        return Implementation(self.keys, application)
