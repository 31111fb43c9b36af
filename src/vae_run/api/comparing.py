"""`compare`: runs side by side, ranked on val and reported on test."""

from __future__ import annotations

import os
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from vae_run.api.run import Run
from vae_run.api.views import Figures, Page, Table, pictures_in
from vae_run.cli.in_process import own_errors
from vae_run.comparison.candidates import Candidate, find, read
from vae_run.comparison.ranking import Comparison, Group
from vae_run.comparison.ranking import compare as compared
from vae_run.comparison.tables import interval, told
from vae_run.errors import CheckpointError, ConfigError
from vae_run.system.formatting import ranges
from vae_run.tasks import compare as task


class Compared:
    """Runs in groups of the same settings, which differ in their seed alone.

    Attributes:
        runs: the compared runs.
        metric: that groups are ranked by, on val.
        ranked: whether they could be ranked; `refusals` says why not.
        refusals: what makes their metrics incomparable.
        path: the folder of the page and of the tables as CSV files, if they were written.
    """

    def __init__(self, paths: list[Path], metric: str | None, keys: list[str] | None) -> None:
        candidates = read(paths)
        self._comparison: Comparison = compared(candidates, metric, keys)
        self._runs = {found.name: path for found, path in zip(candidates, paths, strict=True)}
        self.runs = [Run(path) for path in paths]
        self.metric, self.ranked = self._comparison.metric, self._comparison.ranked
        self.refusals = list(self._comparison.refusals)
        self.path: Path | None = None

    @property
    def table(self) -> Table:
        """A row for each group: its rank, settings, seeds, and the metric on val and test."""
        own, rows = self._comparison, Table()
        tags = (f"val/{own.metric}", f"test/{own.metric}")
        for index, group in enumerate(own.groups):
            row: dict[str, Any] = {"rank": index + 1} if own.ranked else {}
            complete = own.counted(group) == len(group.runs)
            seeds: int | str = len(group.runs) if complete else own.seeds(group)
            row |= {**own.label(group), "seeds": seeds}
            row |= {tag: interval(group.estimate(tag)) for tag in tags}
            if own.ranked and len(own.groups) > 1:
                row["better than"] = ranges([other + 1 for other in own.better_than(index)])
            rows.append(row)
        return rows

    @property
    def differences(self) -> Table:
        """A row for each pair of groups: the paired difference of the metric, and its interval."""
        return Table(task.pair_rows(self._comparison))

    @property
    def best(self) -> Run:
        """The best run on val of the group that is ranked first.

        Raises:
            ConfigError: the runs could not be ranked.
        """
        if not self.ranked:
            raise ConfigError(f"metric: the runs are not ranked: {'; '.join(self.refusals)}")
        return Run(self._runs[self._best_of(self._comparison.groups[0]).name])

    def _best_of(self, group: Group) -> Candidate:
        values = group.values(f"val/{self.metric}")
        seed = max(values, key=lambda seed: self._comparison.about.better * values[seed])
        return group.runs[seed]

    @property
    def figures(self) -> Figures:
        """The pictures of the page, if it was written."""
        return Figures([]) if self.path is None else pictures_in(self.path / "figures")

    @property
    def report(self) -> Page:
        """The page of the comparison; a notebook shows it.

        Raises:
            ConfigError: it was not written.
        """
        if self.path is None:
            raise ConfigError("output: the page was not written; name a folder: output=FOLDER")
        return Page(self.path / task.PAGE)

    def _lines(self) -> list[str]:
        own = self._comparison
        lines = [*told(own), *(f"Not ranked: {why}." for why in own.refusals)]
        return lines + [f"{run.name}: {run.state} {why}".rstrip() for run, why in own.rest]

    def __repr__(self) -> str:
        return "\n".join([repr(self.table), *self._lines()])

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in self._lines())
        return f"{self.table._repr_html_()}<p>{lines}</p>{self.figures._repr_html_()}"


def compare(
    runs: Iterable[Run | str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    metric: str | None = None,
    output: str | os.PathLike[str] | None = None,
) -> Compared:
    """Compare runs: grouped by their settings, ranked on val, reported on test.

    Args:
        runs: runs, or run directories, folders of them, or patterns of them.
        metric: that ranks the runs; None: elbo where all runs have it, else mse.
        output: a folder for the page and the tables as CSV files; None: nothing is written.

    Raises:
        CheckpointError: a pattern matches no run.
        ConfigError: the metric cannot rank.
    """
    several = [runs] if isinstance(runs, (str, os.PathLike)) else list(runs)
    if not several:
        raise CheckpointError("runs: found none; expected runs, run directories or patterns.")
    with own_errors():
        found = Compared(find([os.fspath(one) for one in several]), metric, None)
        if output is not None:
            found.path = task.output_folder(os.fspath(output))
            task.write(found._comparison, found.path)
    return found
