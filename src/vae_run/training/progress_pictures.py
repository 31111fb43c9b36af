"""Pictures for the trackers while a model trains."""

from __future__ import annotations

import math
from typing import Literal

from vae_run.evaluation.progress_pictures import progress_pictures
from vae_run.runs.run_directory import RunDirectory
from vae_run.system import ranks
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment
from vae_run.training.progress import Progress


class ProgressPictures:
    """Sends pictures of a few images and samples, at evaluations, every `figures.every` epochs.

    `auto` is after about 1, 2, 5, 10, 20, 50, ... epochs, so that their share of the time falls;
    and never in a sweep, whose jobs are many, or in a run that draws no figures. The training is
    the same bit for bit with them and without.
    """

    def __init__(self, experiment: Experiment, run: RunDirectory, tracker: Tracker) -> None:
        self._experiment, self._tracker = experiment, tracker
        every = experiment.settings.fixed.figures.every
        wanted = experiment.draws and experiment.evaluation.figures and not run.is_swept
        if every == "auto" and not wanted:
            every = None
        self._every: int | Literal["auto"] | None = every

    def send(self, progress: Progress) -> None:
        """Draw and send the pictures if they are due where the training stands, `progress`."""
        if self._every is None or progress.epoch < next_due(progress.pictured, self._every):
            return
        progress.pictured = progress.epoch
        splits = self._experiment.splits
        if ranks.leads():
            view = self._experiment.view(splits.val if len(splits.val) else splits.test)
            self._tracker.pictures(progress_pictures(view), progress.step)


def next_due(last: float, every: int | Literal["auto"]) -> float:
    """The epoch from which on pictures are due, after those of the epoch `last`; 0 for none yet."""
    if every != "auto":
        return every * (math.floor(last / every) + 1)
    decade = 10.0 ** math.floor(math.log10(last)) if last >= 1 else 1.0
    return next(mark for step in (1, 2, 5, 10) if (mark := step * decade) > last)
