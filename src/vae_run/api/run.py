"""A run, as Python sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any

from vae_run.api.overrides import of_a_run
from vae_run.api.session import finish, session
from vae_run.api.user_data import given_data
from vae_run.api.views import Figures, Metrics, Page, Table, pictures_in
from vae_run.cli.in_process import own_errors, prepared
from vae_run.config.invocation import Call
from vae_run.data.given import MEMORY, Given, giving
from vae_run.errors import RunError
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.reports.run import NAME, write_report
from vae_run.runs.load import load
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.console import log
from vae_run.tasks.drawing import draw_again
from vae_run.tasks.resume import continued
from vae_run.tasks.train import Training
from vae_run.tracking.history import history


class Run:
    """A run directory and what is in it.

    Attributes:
        path: the run directory.
        data: the data in memory that it was trained on, as far as this process has them.
    """

    def __init__(self, path: str | os.PathLike[str], *, data: Given | None = None) -> None:
        """The run in the directory `path`.

        Args:
            path: a run directory, of this process, of another or of the command line.
            data: the data in memory that it was trained on, if this process has them.

        Raises:
            CheckpointError: there is no run.
        """
        self.path = Path(os.path.abspath(RunDirectory.existing(os.fspath(path)).path))
        self._directory = RunDirectory(self.path)
        self.data = data

    def resume(
        self,
        images: Any = None,
        labels: Any = None,
        *,
        val: Any = None,
        test: Any = None,
        conditions: Mapping[str, Any] | None = None,
        figures: bool = False,
        quiet: bool = False,
        **keys: Any,
    ) -> Run:
        """Go on where the run was interrupted, or extend it, as with `**{"trainer.epochs": 40}`.

        Args:
            images, labels, val, test, conditions: the data that the run was trained on, if they
                were in memory and another process, or another `Run`, held them.
            figures, quiet: as of `vae_run.fit`.
            keys: what `task=resume` may change: how long the training is, and where it computes.

        Returns:
            This run.

        Raises:
            CheckpointError: the data are not those that the run was begun with.
            RunError: as of `vae_run.fit`.
        """
        data = self._data_or(images, labels, val=val, test=test, conditions=conditions)
        words = of_a_run("resume", self.path, keys)
        with session(quiet=quiet), own_errors(), giving(data):
            finish(prepared(words).call, partial(self._continued, data), figures=figures)
        self.__dict__.pop("model", None)
        return self

    @contextmanager
    def _continued(self, data: Given | None, call: Call) -> Iterator[Training | None]:
        """`continued`, where `data` are those of this run as soon as they are found to be."""
        with continued(RunDirectory(self.path), call) as training:
            if training is not None:
                self.data = data
            yield training

    def _data_or(self, images: Any, labels: Any, **rest: Any) -> Given | None:
        """The data in memory that a call is given; those that this `Run` has where there are none.

        They become those of this `Run` when they are found to be the data of the run.
        """
        return self.data if images is None else given_data(images, labels, **rest).data

    @property
    def dataset_option(self) -> str | None:
        """The option of `dataset` that the run was trained with."""
        return self._directory.choices().get("dataset")

    @property
    def is_of_data_in_memory(self) -> bool:
        """Whether it was trained on data that a program held in memory."""
        return bool(self.config["dataset"].get("path") == MEMORY)

    @property
    def status(self) -> str:
        """`running`, `completed`, `interrupted`, `diverged` or `failed`."""
        return str(self._directory.read_status().get("state", ""))

    @property
    def metrics(self) -> Metrics:
        """{split: {metric: value}} of the best checkpoint, as in `metrics.json`."""
        found = Metrics(self._directory.metrics())
        found.note = f"no metrics: the run is {self.status or 'unfinished'}"
        return found

    @property
    def history(self) -> Table:
        """The rows of `history.csv`, one an epoch."""
        return Table(history(self._directory))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run, nested."""
        return self._directory.config()

    @cached_property
    def model(self) -> LatentVariableModel:
        """The trained model of the best checkpoint, in eval mode on the CPU.

        It is that of the last one where the run was interrupted before it was first evaluated.

        Raises:
            CheckpointError: there is no checkpoint, or it is damaged.
            ConfigError: the run names classes outside vae-run; `vae_run.load` can trust them.
        """
        return load(self.path, "best" if self._directory.best.exists() else "last")

    @property
    def figures(self) -> Figures:
        """The pictures of `evaluation.figures` by name, which are drawn if they are not there yet.

        Raises:
            DataError: they are to be drawn of data in memory, which this `Run` does not have.
        """
        found = pictures_in(self._directory.figures)
        asked = self.config["evaluation"].get("figures", True)
        if not found and asked and self._directory.metrics():
            found = self.draw(quiet=True)
        return found

    def draw(
        self,
        images: Any = None,
        labels: Any = None,
        *,
        val: Any = None,
        test: Any = None,
        conditions: Mapping[str, Any] | None = None,
        quiet: bool = False,
        **keys: Any,
    ) -> Figures:
        """Draw the pictures of the best checkpoint anew, and the report with them.

        Args:
            images, labels, val, test, conditions: as of `resume`.
            quiet: whether nothing is printed.
            keys: of `task=evaluate`, such as `**{"evaluation.figures": ["samples"]}`.

        Raises:
            CheckpointError: the data are not those of the run.
            ConfigError: another corruption or checkpoint is named: `vae_run.evaluate` draws these.
        """
        data = self._data_or(images, labels, val=val, test=test, conditions=conditions)
        words = of_a_run("evaluate", self.path, keys)
        with session(quiet=quiet), own_errors(), giving(data):
            draw_again(prepared(words).call)
        self.data = data
        return pictures_in(self._directory.figures)

    @property
    def report(self) -> Page:
        """`report.html`, with the pictures; a notebook shows it.

        A warning says why there are no pictures where they cannot be drawn.
        """
        page = self.path / NAME
        try:
            _ = self.figures
        except RunError as error:
            log.warning("%s has no pictures: %s", page, error)
        if not page.is_file():
            write_report(self._directory)
        return Page(page)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.status!r})"

    def _repr_html_(self) -> str:
        """Name, state, metrics, and the pictures that are drawn."""
        name, state = escape(self.path.name), escape(self.status)
        head = f"<p><b>{name}</b> {state}<br>{escape(str(self.path))}</p>"
        figures = pictures_in(self._directory.figures)
        return head + self.metrics._repr_html_() + figures._repr_html_()
