"""`hydra/sweeper=optuna`: a search over the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.vae_run.local import LocalLauncher
from hydra_plugins.vae_run.space import Space, read_space, with_whole_numbers
from hydra_plugins.vae_run.sweep import Checked, LedgerSweep
from vae_run.cli import main
from vae_run.errors import ConfigError

if TYPE_CHECKING:
    from vae_run.sweeps.ledger import Entry, Ledger
    from vae_run.sweeps.search.plan import Plan
    from vae_run.sweeps.search.space import Point
    from vae_run.sweeps.search.study import Study
    from vae_run.sweeps.search.trials import Trials


class OptunaSweeper(Sweeper):
    """Asks Optuna for jobs, and tells it how they end."""

    def __init__(self, **settings: Any) -> None:
        from vae_run.sweeps.search.settings import SearchSettings
        from vae_run.sweeps.settings import checked

        keys = {
            key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }
        self.settings = checked(keys, SearchSettings, "hydra.sweeper")

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.sweep_of_runs = LedgerSweep(hydra_context, task_function, config)
        self.one_by_one = _starts_one_by_one(self.sweep_of_runs.launcher)
        obstacle = None if self.one_by_one else "this launcher cannot stop a job on the way"
        if len(self.settings.objectives) > 1:
            obstacle = "with several objectives nobody can tell early that a trial is bad"
        self.pruner = self.settings.pruner_where(obstacle)
        if find_spec("optuna") is None:
            raise ConfigError(
                "hydra/sweeper=optuna: needs Optuna, which is not installed. "
                "pip install 'vae-run[search]'"
            )

    def sweep(self, arguments: list[str]) -> None:
        sweep = self.sweep_of_runs
        params = self.settings.params or {}
        given = sweep.composer.parse([*(f"{k}={v}" for k, v in params.items()), *arguments])
        space, ends = self._space(given)
        self.directions = self.settings.directions(ends[0].settings)
        if isinstance(sweep.launcher, LocalLauncher):
            sweep.launcher.warm_up()
        ledger = sweep.open()
        with ledger.locked():
            self._search(ledger, space, ends)

    def _space(self, given: Sequence[Override]) -> tuple[Space, list[Checked]]:
        """What is searched, and jobs that are possible at its ends."""
        from vae_run.sweeps.search.space import check_ends

        ends: list[Checked] = []
        space = with_whole_numbers(read_space(given), self._check)
        check_ends(space.axes, lambda point: ends.append(self._check(space.overrides(point))))
        return space, ends

    def _check(self, overrides: Sequence[str]) -> Checked:
        """Compose and check a job; what Hydra refuses is a `ConfigError`, too."""
        from vae_run.cli.composition import explain

        try:
            return self.sweep_of_runs.check(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, main.CONF)) from error

    def _search(self, ledger: Ledger, space: Space, ends: list[Checked]) -> None:
        from vae_run.sweeps.search import findings
        from vae_run.sweeps.search.study import Study
        from vae_run.sweeps.search.trials import Trials
        from vae_run.sweeps.summary import summarise

        sweep = self.sweep_of_runs
        sweep.enter(ledger, (), ())  # a folder with a ledger is a sweep's
        study = Study(ledger.folder, self._plan(ends[0]), space.axes)
        for directory, point in islice(study.directories(), 1):
            job = self._check(space.overrides(point))
            findings.refuse_another(ledger, directory, job.settings.raw)

        def place(point: Point) -> Entry:
            job = self._check(space.overrides(point))
            (entry,) = sweep.enter(ledger, [job], list(space.axes)).values()
            return entry

        settings = self.settings
        trials = Trials(study, ledger.folder, place, settings.trials, settings.time_limit)
        findings.announce(study, space.axes, settings.trials, ledger)
        try:
            self._launch(ledger, trials, study)
        finally:
            findings.write_down(ledger, study)
            summarise(ledger)
        if trials.refusal is not None:
            raise trials.refusal
        findings.conclude(ledger, study)

    def _plan(self, job: Checked) -> Plan:
        from vae_run.sweeps.search.plan import Plan

        epochs = job.settings.parts["trainer"].get("epochs") or 0
        rising = job.settings.parts["objective"].get("warmup_epochs") or 0  # of beta: not yet told
        return Plan(
            objective=self.settings.objectives,
            directions=self.directions,
            sampler=self.settings.sampler,
            seed=self.settings.seed,
            pruner=self.pruner,
            startup=self.settings.startup,
            epochs=epochs or None,
            warmup=max(1, epochs // 10, ceil(rising)),
            storage=self.settings.storage,
        )

    def _launch(self, ledger: Ledger, trials: Trials, study: Study) -> None:
        sweep, entries = self.sweep_of_runs, trials.entries()
        if self.one_by_one:
            done = study.count("COMPLETE", "PRUNED", "FAIL")
            total = max(self.settings.trials, study.asked)
            sweep.launch(ledger, entries, total, ended=trials.ended, tick=trials.tick, done=done)
            return
        while batch := list(islice(entries, self.settings.batch)):
            sweep.launch(ledger, iter(batch), None, ended=trials.ended)


def _starts_one_by_one(launcher: Launcher) -> bool:
    """Whether each job is asked for when it can start, and can be stopped: in no batch."""
    return isinstance(launcher, LocalLauncher) and type(launcher).items is LocalLauncher.items
