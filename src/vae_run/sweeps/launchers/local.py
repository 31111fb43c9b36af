"""`hydra/launcher=local`: jobs in processes of this machine."""

from __future__ import annotations

import functools

from vae_run.sweeps.executors import process_pool
from vae_run.sweeps.launchers.base import PoolLauncher
from vae_run.system.hardware import Shares


class OneMachineLauncher(PoolLauncher):
    """Shares this machine out among the processes of a pool."""

    @functools.cached_property
    def shares(self) -> Shares:
        device = str(self.application.config.get("device", "auto"))
        return Shares.of_this_machine(device, self.settings.jobs, self.settings.threads)

    def warm_up(self) -> None:
        process_pool.warm_up(self.shares.threads)

    def pool(self) -> process_pool.Pool:
        settings = self.settings
        return process_pool.Pool(self.shares.jobs, settings.time_limit, settings.grace)


class LocalLauncher(OneMachineLauncher):
    """Runs each job in a process of its own."""
