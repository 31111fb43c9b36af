"""Measuring a model on val while it trains, and keeping the best weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from vae_run.evaluation.codes import calibrate
from vae_run.runs.run_directory import RunDirectory
from vae_run.tracking.tracker import Tracker
from vae_run.training import distributed
from vae_run.training.checkpoint_writer import CheckpointWriter
from vae_run.training.experiment import Experiment
from vae_run.training.posterior_collapse import CollapseWatch
from vae_run.training.progress import Progress
from vae_run.training.progress_pictures import ProgressPictures


class Validation:
    """Measures on val, and hands the best weights so far to the checkpoint writer.

    The best are those of the highest ELBO, or of the lowest loss where there is no ELBO, unless
    the objective has a `merit` of its own. Without val images the latest weights are the best.
    """

    def __init__(
        self,
        experiment: Experiment,
        run: RunDirectory,
        tracker: Tracker,
        checkpoints: CheckpointWriter,
        collapse: CollapseWatch,
    ) -> None:
        self._experiment, self._run, self._tracker = experiment, run, tracker
        self._checkpoints, self._collapse = checkpoints, collapse
        self._pictures = ProgressPictures(experiment, run, tracker)
        self.epoch_values: dict[str, float] = {}
        """The latest metrics of the present epoch, for its row of the history."""
        self._calibrated_at: int | None = None

    def take_epoch_values(self) -> dict[str, float]:
        """`epoch_values`, which are empty from then on."""
        values, self.epoch_values = self.epoch_values, {}
        return values

    def measure(self, progress: Progress, *, may_be_best: bool) -> Mapping[str, float]:
        """Measure the model that stands at `progress`, and update which weights are the best.

        Args:
            progress: where training stands; `best_value`, `best_step` and `stale` are updated.
            may_be_best: whether these weights may be kept as the best.

        Returns:
            The metrics on val, of rank 0; none where val is empty.
        """
        experiment, epoch = self._experiment, progress.epoch
        calibrate(experiment.view(experiment.splits.train, epoch))
        self._calibrated_at = progress.step
        values: dict[str, float] = {}
        if len(experiment.splits.val):
            view = experiment.view(experiment.splits.val, epoch)
            evaluation = experiment.evaluation
            values = distributed.of_rank_0(evaluation.measure(view, evaluation.while_training))
            self.epoch_values = values
            self._tracker.scalars("val", values, progress.step)
            self._run.status(epoch=epoch, step=progress.step)
            self._collapse.see(values, epoch)
        self._pictures.send(progress)
        if may_be_best and self._is_best(values, progress):
            progress.best_step = progress.step
            self._checkpoints.keep_best(experiment.model.state_dict(), progress.step, epoch)
        return values

    def restore(
        self,
        epoch_values: Mapping[str, float],
        progress: Progress,
        rows: Iterable[Mapping[str, float]],
    ) -> None:
        """Continue a training that stands at `progress`, with the `rows` of its history.

        The value of the best weights is taken from their row, if there is one: an earlier version
        may have judged by another quantity, which later values cannot be compared with.
        """
        self.epoch_values = dict(epoch_values)
        for row in rows:
            values = {k.removeprefix("val/"): v for k, v in row.items() if k.startswith("val/")}
            if values and row.get("step") == progress.best_step and progress.best_value is not None:
                progress.best_value = self._experiment.objective.merit(values)

    def conclude(self, progress: Progress) -> None:
        """Judge the training, which has ended at `progress`.

        If it ended between two evaluations, the model is calibrated once more, so that what it
        takes from the train split belongs to its last weights.
        """
        if self._calibrated_at != progress.step:
            calibrate(self._experiment.view(self._experiment.splits.train, progress.epoch))
        self._collapse.judge()

    def _is_best(self, values: Mapping[str, float], progress: Progress) -> bool:
        """Whether `values` are better than all before, which `progress` is told."""
        if not values:
            return True
        value = self._experiment.objective.merit(values)
        progress.stale += 1
        best = progress.best_value
        if not math.isfinite(value) or (best is not None and value <= best):
            return False
        progress.best_value, progress.stale = value, 0
        return True
