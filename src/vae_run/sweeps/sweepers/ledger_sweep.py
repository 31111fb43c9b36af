"""A sweep with a ledger: its jobs are checked, run unless they are completed, and summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

from vae_run.cli.callbacks import refuse_unknown_source
from vae_run.config.check import check
from vae_run.config.commands import shell_word
from vae_run.config.schema import Settings
from vae_run.errors import ConfigError, DivergedError, Interrupted, JobsFailedError
from vae_run.runs.identity import as_checked, identity
from vae_run.sweeps.composer import Composer
from vae_run.sweeps.jobs import Application
from vae_run.sweeps.launchers.base import PoolLauncher, directory_overrides, tell_of_other_names
from vae_run.sweeps.ledger import TO_DO, Entry, Ledger
from vae_run.sweeps.partial_keys import Axes, PartialKeys
from vae_run.sweeps.same_data import MovedJobs, refuse_several_roots
from vae_run.sweeps.scheduler import NOT_BEGUN, Scheduler, take_ends
from vae_run.system.console import console
from vae_run.system.device import choose_device
from vae_run.system.machine_lines import write_line
from vae_run.tasks.swept_pictures import FEW, swept_pictures

if TYPE_CHECKING:
    from vae_run.sweeps.executors.process_pool import Running


@dataclass(frozen=True)
class CheckedJob:
    """A job that may run: its overrides, and the configuration that they make."""

    overrides: list[str]
    settings: Settings


class LedgerSweep:
    """What sweepers with a ledger have in common.

    Attributes:
        composer: of the jobs' configurations.
        launcher: one of our own, or None where Hydra's or a third party's is chosen, which takes
            jobs in batches and returns when all of a batch have ended.
    """

    def __init__(self, application: Application) -> None:
        config = application.config
        if config.task != "train":
            raise ConfigError(f"task: found {config.task}, but a sweep (-m) is of task=train.")
        self.config, self.folder = config, application.folder
        tell_of_other_names(config)
        self.composer = Composer(application.context.config_loader, config)
        self._plugin: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=application.context,
            task_function=application.task_function,
            config=config,
        )
        own = getattr(self._plugin, "implementation", None)
        self.launcher = own if isinstance(own, PoolLauncher) else None
        self._left_out: Sequence[str] | None = None  # pictures that the first job does not draw
        if self.launcher is not None:
            self.launcher.composer = self.composer

    def partial_keys(self, axes: Axes) -> PartialKeys:
        """Which keys the options of a sweep over `axes` have; says which are left out for some.

        Raises:
            ConfigError: none of its options has a key, or several places of data are asked for.
        """
        refuse_several_roots(axes)
        found = PartialKeys(self.composer, axes)
        found.refuse_foreign()
        for line in found.lines():
            console.print(line)
        return found

    def check(self, overrides: Sequence[str]) -> CheckedJob:
        """Compose and check a job.

        Raises:
            ConfigError: it could not run.
        """
        settings = check(self.composer.compose(overrides))
        if self.launcher is None or not self.launcher.remote:  # other machines, other devices
            choose_device(settings.fixed.device)
        refuse_unknown_source(settings.fixed.init_from)
        if self._left_out is None:
            _, self._left_out = swept_pictures(settings, overrides)
            if rest := len(self._left_out):
                few = ", ".join((*FEW, "learning_curves"))
                console.print(f"pictures of each job: {few}; figures.in_sweep=all adds {rest}")
        return CheckedJob(list(overrides), settings)

    def check_all(self, jobs: Iterable[Sequence[str]]) -> list[CheckedJob]:
        """Check every job before any runs; processes are prepared once the first job is valid."""
        checked = []
        for overrides in jobs:
            checked.append(self.check(overrides))
            if len(checked) == 1:
                self.warm_up(checked[0].settings)
        return checked

    def warm_up(self, settings: Settings | None = None) -> None:
        """Let the launcher prepare its processes, for jobs like that of `settings` if given."""
        if self.launcher is not None:
            self.launcher.warm_up(settings)

    def enter(
        self, ledger: Ledger, jobs: Sequence[CheckedJob], swept: Sequence[str]
    ) -> dict[str, Entry]:
        """Put jobs into the ledger; the entry of each by its identity, equal jobs once.

        A job that was begun with the same data at another path is the same job. One that is not
        done yet gets the overrides of `jobs`, and keeps its directory.

        Args:
            ledger: of the sweep.
            jobs: to enter.
            swept: the keys that vary, from which directories get their names.
        """
        entries: dict[str, Entry] = {}
        placed: list[Entry] = []
        moved = MovedJobs(ledger)
        for job in jobs:
            config = job.settings.raw
            if identity(config) not in ledger.jobs:
                config = as_checked(job.settings)
            known = None if identity(config) in ledger.jobs else moved.find(job.settings)
            name, entry = known or ledger.add(config, job.overrides, swept)
            if name not in entries and (known is not None or entry.state in TO_DO):
                entry.overrides = job.overrides  # where its data lie now, the device, and so on
            entries[name] = entry
            placed.append(entry)
        ledger.save()
        if self.launcher is not None:
            self.launcher.alike |= shared_programs(zip(jobs, placed, strict=True))
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
        tick: Callable[[dict[str, Running]], None] = lambda running: None,
        done: int = 0,
    ) -> None:
        """Run jobs as `entries` yields them, in the launcher's way.

        Args:
            ledger: is kept up to date.
            entries: asked for a job whenever one can start; None: none until another has ended.
            total: jobs of the sweep, if that is known; `done` of them were completed before.
            ended: called with each entry when its job has ended.
            tick: called with the running jobs by directory, several times a second.

        Raises:
            Interrupted: a signal ended the sweep; its jobs have written their checkpoints.
        """
        write_line("start", path=ledger.folder, task="sweep", jobs=total, done=done)

        def told(entry: Entry) -> None:
            ended(entry)
            write_line("job", **ledger.told(entry))

        if self.launcher is None:
            self._launch_plugin(ledger, [entry for entry in entries if entry is not None], told)
            return
        scheduler = Scheduler(ledger, total, done, told, tick)
        batches = self.launcher.batches(entries, lambda words: check(self.composer.compose(words)))
        received = scheduler.run(self.launcher.pool(), batches, self.launcher.batch_job)
        if received is not None:
            same = shell_word("sweep.dir", ledger.folder)
            raise Interrupted(f"interrupted; the same command with {same} goes on.", received)

    def _launch_plugin(
        self, ledger: Ledger, entries: Sequence[Entry], ended: Callable[[Entry], None]
    ) -> None:
        """Hand jobs to any other Hydra launcher; their states are read from the directories."""
        words = [
            [*entry.overrides, *directory_overrides(self.folder, entry.directory)]
            for entry in entries
        ]
        for entry in entries:
            entry.state, entry.attempts = "running", entry.attempts + 1
        ledger.save()
        try:
            self._plugin.launch(words, initial_job_idx=0)
        except BaseException:  # the same command runs what has not begun
            take_ends(ledger, entries, ended, not_begun=("pending", ""))
            raise
        take_ends(ledger, entries, ended, not_begun=("failed", NOT_BEGUN))


def shared_programs(jobs: Iterable[tuple[CheckedJob, Entry]]) -> dict[str, int]:
    """How many of the unfinished `jobs` have steps of one program, by the name of a directory.

    It is a guess from the configurations: `training.program` compares what a step is made of.
    """
    from vae_run.sweeps.vectorized.grouping import common

    groups: dict[str, set[str]] = {}
    for job, entry in jobs:
        if entry.state in TO_DO:
            options = {k: v for k, v in job.settings.raw["optimizer"].items() if k != "lr"}
            made = (common(job.settings), options, job.settings.raw["corruption"])
            groups.setdefault(repr(made), set()).add(entry.directory)
    return {name: len(group) for group in groups.values() for name in group}


def refuse_failures(ledger: Ledger, entries: Iterable[Entry]) -> None:
    """Raise an error if any of `entries` has not completed after a sweep.

    Raises:
        JobsFailedError: with the greatest exit code of the jobs that did not complete.
    """
    wrong = [entry for entry in entries if entry.state not in ("completed", "pruned")]
    again = len(unfinished(wrong))
    if wrong:
        diverged = DivergedError.exit_code  # another launcher, or a killed sweep, tells no code
        codes = [diverged if e.state == "diverged" else e.exit_code or 1 for e in wrong]
        same = shell_word("sweep.dir", ledger.folder)
        hint = f" The same command with {same} takes up {again} again."
        raise JobsFailedError(
            f"{len(wrong)} of the sweep's jobs did not complete.{hint if again else ''}",
            max(code if 1 <= code <= 4 else 1 for code in codes),
        )


def unfinished(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that are to be run, or to be continued."""
    return [entry for entry in entries if entry.state in TO_DO]
