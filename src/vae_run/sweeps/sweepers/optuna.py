"""`hydra/sweeper=optuna`: a search over the jobs of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from vae_run.cli.composition import explain
from vae_run.config.options import CONF
from vae_run.errors import ConfigError
from vae_run.sweeps.jobs import Application
from vae_run.sweeps.ledger import Entry, Ledger
from vae_run.sweeps.search.settings import SearchSettings
from vae_run.sweeps.search.space import Point, check_ends
from vae_run.sweeps.search.space_syntax import Space, read_space, with_whole_numbers
from vae_run.sweeps.settings import checked
from vae_run.sweeps.sweepers.ledger_sweep import CheckedJob, LedgerSweep
from vae_run.sweeps.tracked import parent
from vae_run.system.extras import installation

if TYPE_CHECKING:  # these import Optuna, which need not be installed
    from vae_run.sweeps.search.plan import Plan
    from vae_run.sweeps.search.study import Study
    from vae_run.sweeps.search.trials import Trials


class OptunaSweep:
    """Asks Optuna for jobs, and reports to it how they end."""

    def __init__(self, keys: Mapping[str, Any], application: Application) -> None:
        """Check `keys`, those of `hydra.sweeper`.

        Raises:
            ConfigError: a key is unknown or wrong, or Optuna is not installed.
        """
        self.settings = checked(keys, SearchSettings, "hydra.sweeper")
        self.jobs = LedgerSweep(application)
        launcher = self.jobs.launcher
        self.one_by_one = launcher is not None and launcher.one_by_one
        obstacle = None if self.one_by_one else "this launcher cannot stop a job on the way"
        if len(self.settings.objectives) > 1:
            obstacle = "with several objectives no trial can be judged before its end"
        self.pruner = self.settings.pruner_where(obstacle)
        if find_spec("optuna") is None:
            raise ConfigError(
                "hydra/sweeper=optuna: needs Optuna, which is not installed: "
                f"{installation('search')}"
            )

    def sweep(self, arguments: list[str]) -> None:
        """Search the space that `arguments`, the overrides of the command line, span."""
        params = self.settings.params or {}
        given = self.jobs.composer.parse([*(f"{k}={v}" for k, v in params.items()), *arguments])
        space, ends = self._space(given)
        self.directions = self.settings.directions(ends[0].settings)
        self.jobs.warm_up(ends[0].settings)
        ledger = Ledger.open(self.jobs.folder)
        with ledger.locked():
            self._search(ledger, space, ends)

    def _space(self, given: Sequence[Override]) -> tuple[Space, list[CheckedJob]]:
        """What is searched, and valid jobs at its ends."""
        ends: list[CheckedJob] = []
        space = read_space(given)
        self._partial = self.jobs.partial_keys(space.words_of_ends)
        kinds = [
            {key: word.partition("=")[2] for key, word in kind.items() if key in space.axes}
            for kind in self._partial.kinds()
        ]
        space = with_whole_numbers(space, self._check, kinds)
        check_ends(
            space.axes,
            lambda point: ends.append(self._check(space.overrides(point))),
            lambda point: self._partial.keys(space.overrides(point)),
        )
        return space, ends

    def _check(self, overrides: Sequence[str]) -> CheckedJob:
        """Compose and check the job at a point of the space with these `overrides`.

        Raises:
            ConfigError: the check or Hydra refuses it.
        """
        try:
            return self.jobs.check(self._partial.of(overrides))
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, CONF)) from error

    def _search(self, ledger: Ledger, space: Space, ends: list[CheckedJob]) -> None:
        from vae_run.sweeps.search import results
        from vae_run.sweeps.search.study import Study
        from vae_run.sweeps.search.trials import Trials
        from vae_run.sweeps.summary import summarise

        self.jobs.enter(ledger, (), ())  # from now on the folder is a sweep's, which has a ledger
        study = Study(ledger.folder, self._plan(ends), space.axes)
        results.refuse_another(
            ledger,
            study.directories(),
            lambda point: self._check(space.overrides(point)).settings,
        )

        def place(point: Point) -> Entry:
            job = self._check(space.overrides(point))
            (entry,) = self.jobs.enter(ledger, [job], list(space.axes)).values()
            return entry

        settings = self.settings
        trials = Trials(study, ledger.folder, place, settings.trials, settings.time_limit)
        results.announce(study, space.axes, settings.trials, ledger)
        with parent(ledger.folder, ends[0].settings, list(space.axes)):
            try:
                self._launch(ledger, trials, study)
            finally:
                results.write_down(ledger, study)
                summarise(ledger)
        if trials.refusal is not None:
            raise trials.refusal
        results.conclude(ledger, study)

    def _plan(self, jobs: Sequence[CheckedJob]) -> Plan:
        """The plan of a search over jobs like `jobs`; some may have no epochs or warm-up."""
        from vae_run.sweeps.search.plan import Plan

        parts = [job.settings.parts for job in jobs]
        epochs = max(own["trainer"].get("epochs") or 0 for own in parts)
        # Until then the loss still changes.
        warmup = max(own["objective"].get("warmup_epochs") or 0 for own in parts)
        return Plan(
            objective=self.settings.objectives,
            directions=self.directions,
            sampler=self.settings.sampler,
            seed=self.settings.seed,
            pruner=self.pruner,
            startup=self.settings.startup,
            epochs=epochs or None,
            warmup=max(1, epochs // 10, ceil(warmup)),
            storage=self.settings.storage,
        )

    def _launch(self, ledger: Ledger, trials: Trials, study: Study) -> None:
        entries = trials.entries()
        if self.one_by_one:
            done = study.count("COMPLETE", "PRUNED", "FAIL")
            total = max(self.settings.trials, study.asked)
            self.jobs.launch(
                ledger, entries, total, ended=trials.ended, tick=trials.tick, done=done
            )
            return
        while batch := list(islice(entries, self.settings.batch)):
            self.jobs.launch(ledger, iter(batch), None, ended=trials.ended)
