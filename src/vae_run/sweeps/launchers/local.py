"""`hydra/launcher=local`: jobs in processes of this machine."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from vae_run.sweeps.executors import forking, process_pool
from vae_run.sweeps.launchers.base import PoolLauncher
from vae_run.system.hardware import Shares

if TYPE_CHECKING:
    from vae_run.config.schema import Settings


class OneMachineLauncher(PoolLauncher):
    """Shares this machine out among the processes of a pool."""

    @functools.cached_property
    def shares(self) -> Shares:
        device = str(self.application.config.get("device", "auto"))
        return Shares.of_this_machine(device, self.settings.jobs, self.settings.threads)

    def warm_up(self, settings: Settings | None) -> None:
        forking.warm_up(self.shares.threads, None if settings is None else settings.raw)

    def pool(self) -> process_pool.Pool:
        settings = self.settings
        return process_pool.Pool(self.shares.jobs, settings.time_limit, settings.grace)


class LocalLauncher(OneMachineLauncher):
    """Runs each job in a process of its own."""
