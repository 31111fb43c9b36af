"""A sweep with a ledger: jobs checked, done where they are not done yet, and summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.vae_run.compose import Composer
from hydra_plugins.vae_run.local import LocalLauncher, placed
from vae_run.cli.gate import refuse_unknown_source
from vae_run.errors import ConfigError, Interrupted, RunError

if TYPE_CHECKING:
    from vae_run.config.schema import Settings
    from vae_run.sweeps.ledger import Entry, Ledger

# Hydra imports every plugin for every command: what is heavy is imported where it is used.


@dataclass(frozen=True)
class Checked:
    """A job that may run: its overrides, and the configuration that they make."""

    overrides: list[str]
    settings: Settings


class LedgerSweep:
    """What sweepers that keep a ledger have in common."""

    def __init__(
        self, context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        if config.task != "train":
            raise ConfigError(f"task: found {config.task}, but a sweep (-m) is of task=train.")
        self.config = config
        self.folder = Path(str(config.hydra.sweep.dir))
        self.composer = Composer(context.config_loader, config)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task_function, config=config
        )

    def check(self, overrides: Sequence[str]) -> Checked:
        """Compose and check a job.

        Raises:
            ConfigError: it could not run.
        """
        from vae_run.config.check import check
        from vae_run.system.device import choose_device

        settings = check(self.composer.compose(overrides))
        if not getattr(self.launcher, "remote", False):  # other machines have other devices
            choose_device(settings.fixed.device)
        refuse_unknown_source(settings.fixed.init_from)
        return Checked(list(overrides), settings)

    def check_all(self, jobs: Iterable[Sequence[str]]) -> list[Checked]:
        """Check every job before any runs; jobs' imports begin once the first is found right."""
        checked = []
        for overrides in jobs:
            checked.append(self.check(overrides))
            if len(checked) == 1 and isinstance(self.launcher, LocalLauncher):
                self.launcher.warm_up()
        return checked

    def open(self) -> Ledger:
        """The ledger of the sweep's folder."""
        from vae_run.sweeps.ledger import Ledger

        return Ledger.open(self.folder)

    def enter(
        self, ledger: Ledger, jobs: Sequence[Checked], swept: Sequence[str]
    ) -> dict[str, Entry]:
        """Put jobs into the ledger; the entry of each by its identity, twins once."""
        entries = {}
        for job in jobs:
            identity, entry = ledger.add(job.settings.raw, job.overrides, swept)
            entries[identity] = entry
        ledger.save()
        if not (self.folder / "multirun.yaml").exists():
            OmegaConf.save(self.config, self.folder / "multirun.yaml")
        return entries

    def launch(
        self,
        ledger: Ledger,
        entries: Iterator[Entry | None],
        total: int | None,
        *,
        ended: Callable[[Entry], None] = lambda entry: None,
        tick: Callable[[dict[str, Any]], None] = lambda running: None,
        done: int = 0,
    ) -> None:
        """Run jobs as `entries` yields them, in the launcher's way.

        Args:
            ledger: is kept up to date.
            entries: asked for a job whenever one can start; None: none until another has ended.
            total: jobs of the sweep, if that is known; `done` of them were completed before.
            ended: told of each job's end, when its entry says how.
            tick: given what runs (`sweeping.pool.Running`) by directory, several times a second.

        Raises:
            Interrupted: a signal ended the sweep; its jobs have written their checkpoints.
        """
        if not isinstance(self.launcher, LocalLauncher):
            self._launch_elsewhere(ledger, [entry for entry in entries if entry is not None], ended)
            return
        from vae_run.config.check import check
        from vae_run.sweeps.scheduler import Keeper

        keeper = Keeper(ledger, total, done, ended, tick)
        items = self.launcher.items(entries, lambda words: check(self.composer.compose(words)))
        received = keeper.run(self.launcher.pool(), items, self.launcher.item)
        if received is not None:
            raise Interrupted(
                f"interrupted; the same command with sweep.dir={ledger.folder} goes on.", received
            )

    def _launch_elsewhere(
        self, ledger: Ledger, entries: Sequence[Entry], ended: Callable[[Entry], None]
    ) -> None:
        """Hand jobs to any other Hydra launcher; the run directories tell how they ended."""
        words = [[*entry.overrides, *placed(self.folder, entry.directory)] for entry in entries]
        for entry in entries:
            entry.state, entry.attempts = "running", entry.attempts + 1
        ledger.save()
        try:
            self.launcher.launch(words, initial_job_idx=0)
        finally:
            for entry in entries:
                ledger.take_state(entry)
                if entry.state == "running":
                    entry.state, entry.message = "failed", "the launcher did not start it"
                ended(entry)
            ledger.save()


def refuse_failures(ledger: Ledger, entries: Iterable[Entry]) -> None:
    """Raise an error if any of `entries` is not as it should be after a sweep.

    Raises:
        RunError: with the greatest exit code of the jobs that did not complete.
    """
    wrong = [entry for entry in entries if entry.state not in ("completed", "pruned")]
    again = len(unfinished(wrong))
    if wrong:
        codes = [entry.exit_code or 1 for entry in wrong]
        hint = f" The same command with sweep.dir={ledger.folder} takes up {again} again."
        raise _Failed(
            f"{len(wrong)} of the sweep's jobs did not complete.{hint if again else ''}",
            max(code if 1 <= code <= 4 else 1 for code in codes),
        )


class _Failed(RunError):
    """Jobs of a sweep failed; each was told of when it did."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def unfinished(entries: Iterable[Entry]) -> list[Entry]:
    """Those that are to be run, or to be gone on with."""
    from vae_run.sweeps.ledger import TO_DO

    return [entry for entry in entries if entry.state in TO_DO]
