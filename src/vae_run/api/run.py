"""A run, as Python sees it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from vae_run.api.overrides import overrides
from vae_run.api.session import finish, session
from vae_run.api.user_data import given_data
from vae_run.cli.in_process import own_errors, prepared
from vae_run.config.commands import override
from vae_run.data.given import Given, giving
from vae_run.models.latent_variable_model import LatentVariableModel
from vae_run.runs.load import load
from vae_run.runs.run_directory import RunDirectory
from vae_run.tasks.resume import continued
from vae_run.tracking.history import history


class Run:
    """A run directory and what is in it.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: str | os.PathLike[str], *, data: Given | None = None) -> None:
        """The run in the directory `path`.

        Args:
            path: a run directory, of this process, of another or of the command line.
            data: the data in memory that it was trained on, if this process has them.

        Raises:
            CheckpointError: there is no run.
        """
        self._directory = RunDirectory.existing(os.fspath(path))
        self.path = Path(os.path.abspath(self._directory.path))
        self._data = data

    def resume(
        self,
        images: Any = None,
        labels: Any = None,
        *,
        val: Any = None,
        test: Any = None,
        figures: bool = False,
        quiet: bool = False,
        **keys: Any,
    ) -> Run:
        """Go on where the run was interrupted, or extend it, as with `**{"trainer.epochs": 40}`.

        Args:
            images, labels, val, test: the data that the run was trained on, if they were in memory
                and another process, or another `Run`, held them.
            figures, quiet: as of `vae_run.fit`.
            keys: what `task=resume` may change: how long the training is, and where it computes.

        Returns:
            This run.

        Raises:
            CheckpointError: the data are not those that the run was begun with.
            RunError: as of `vae_run.fit`.
        """
        if images is not None:
            self._data = given_data(images, labels, val=val, test=test).data
        words = ["task=resume", override("run", self.path), *overrides(keys)]
        with session(quiet=quiet), own_errors(), giving(self._data):
            call = prepared(words).call
            finish(call, lambda call: continued(self._directory, call), figures=figures)
        self.__dict__.pop("model", None)
        return self

    @property
    def status(self) -> str:
        """`running`, `completed`, `interrupted`, `diverged` or `failed`."""
        return str(self._directory.read_status().get("state", ""))

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """{split: {metric: value}} of the best checkpoint, as in `metrics.json`."""
        return self._directory.metrics()

    @property
    def history(self) -> list[dict[str, float]]:
        """The rows of `history.csv`, one an epoch."""
        return history(self._directory)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the run, nested."""
        return self._directory.config()

    @cached_property
    def model(self) -> LatentVariableModel:
        """The trained model of the best checkpoint, in eval mode on the CPU."""
        return load(self.path)
