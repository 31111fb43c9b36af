"""Weights & Biases as a tracker: files in the run directory, or its server."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vae_run.tracking.environment import Environment
from vae_run.tracking.service import Point, Service

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

QUIET = {
    "silent": True,
    "show_info": False,
    "show_warnings": False,
    "console": "off",  # it would replace the terminal's streams
    "disable_git": True,
    "disable_code": True,
    "disable_job_creation": True,
    "save_code": False,
    "x_disable_machine_info": True,
    "x_disable_stats": True,  # a thread that measures the machine
    "x_save_requirements": False,
}
"""Settings: W&B gets what the run records, and nothing about the machine."""

REPORTS = Environment({"WANDB_ERROR_REPORTING": "false"})
"""W&B's client reports its own errors unless this is set."""

PATIENCE = {"init_timeout": 15.0, "finish_timeout": 15.0, "finish_timeout_raises": True}
"""Seconds that its server may take to begin and to end a run."""

ROOM = 2**20
"""Bytes that have to be free where W&B writes: its client tells nobody when the disk is full."""


class WandB(Service):
    """Sends to Weights & Biases: numbers, hyperparameters, pictures, histograms, report.

    Unless it is `online`, all is written to `wandb/` in the run directory, for `wandb sync`. The
    jobs of a sweep, and the sweep itself, are a group of the sweep's name.
    """

    option = "wandb"
    own_process = True
    product = "the client of Weights & Biases"
    destination: ClassVar[Mapping[str, Any]] = {"online": False, "entity": None}

    def __init__(
        self,
        *,
        online: bool = False,
        project: str = "vae-run",
        entity: str | None = None,
        name: str | None = None,
    ) -> None:
        self.online, self.project, self.entity, self.name = online, project, entity, name
        self._failed = False

    def prepare(self) -> None:
        """Import the package, with its reports of errors off unless the user has them on."""
        REPORTS.enter()
        import wandb  # noqa: F401

    def restore(self) -> None:
        REPORTS.leave()

    def start(self, run: Path, resumed_step: int | None) -> None:
        """Create a run of W&B, or go on with the one that `run` had before."""
        import wandb

        ids = self.ids(run)
        known = ids.known()
        identifier = known or secrets.token_hex(8)
        sweep = run.absolute() if (run / "ledger.json").is_file() else run.absolute().parent
        jobs = sweep == run.absolute().parent
        in_sweep = not jobs or self.parent(run) is not None
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            name=self.shown_name(run),
            id=identifier,
            group=sweep.name if in_sweep else None,
            job_type=("job" if jobs else "sweep") if in_sweep else None,
            dir=str(run.absolute()),
            mode="online" if self.online else "offline",
            resume="allow" if known else None,
            reinit="create_new",  # jobs that train together are several runs in one process
            settings=wandb.Settings(**QUIET, **PATIENCE),
        )
        ids.keep(identifier)

    def points(self, points: Sequence[Point]) -> None:
        self._require_room()
        # A resumed run computes steps again that W&B's server has, which it would refuse.
        new = (point for point in points if point.step >= self._run.step)
        for step, together in groupby(new, key=lambda point: point.step):
            self._run.log({point.name: point.value for point in together}, step=step)

    def _require_room(self) -> None:
        """Check that the disk has room for more.

        Raises:
            OSError: it is full.
        """
        folder = str(self._run.dir)
        if shutil.disk_usage(folder).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), folder)

    def hparams(self, values: Mapping[str, Any]) -> None:
        self._run.config.update(dict(values), allow_val_change=True)

    def text(self, name: str, markdown: str) -> None:
        self._run.config.update({f"{name}_text": markdown}, allow_val_change=True)

    def pictures(self, pictures: Mapping[str, NDArray[Any]], step: int) -> None:
        self._require_room()
        import wandb

        images = {f"images/{name}": wandb.Image(each) for name, each in pictures.items()}
        self._run.log(images, step=step)

    def histogram(self, name: str, values: Tensor, step: int) -> None:
        self._require_room()
        found = np.asarray(values)
        finite = found[np.isfinite(found)]
        if finite.size:
            import wandb

            self._run.log({name: wandb.Histogram(finite)}, step=step)

    def artifact(self, path: Path) -> None:
        """Copy it beside W&B's own files: left where it is, W&B would only link to it."""
        self._require_room()
        folder = str(self._run.dir)
        copied = shutil.copy(path, folder)
        self._run.save(copied, base_path=folder, policy="now")

    def stopped_early(self, state: str) -> None:
        self._failed = True

    def close(self) -> None:
        self._run.finish(exit_code=int(self._failed))

    def passes(self, error: Exception) -> bool:
        """Whether the server did not answer, or the disk is full."""
        if isinstance(error, OSError):
            return error.errno == errno.ENOSPC
        import wandb

        return isinstance(error, wandb.errors.CommError)
