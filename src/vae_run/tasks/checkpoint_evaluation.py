"""A checkpoint of an experiment, measured on val and test, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vae_run.errors import DataError
from vae_run.evaluation.selection import Entry
from vae_run.evaluation.view import View
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_weights
from vae_run.runs.run_directory import RunDirectory
from vae_run.training.experiment import Experiment

if TYPE_CHECKING:
    from numpy.typing import NDArray


def use_checkpoint(experiment: Experiment, run: RunDirectory, name: str) -> float:
    """Load the weights of `best.pt` or `last.pt` into the experiment's model; return their epoch.

    Raises:
        CheckpointError: the file is missing or damaged, or of another model.
        DataError: the likelihood models another number of grey levels than the data have.
    """
    file = run.best if name == "best" else run.last
    state = checkpoint_file.read(file, experiment.device)
    likelihood, levels = experiment.model.likelihood, experiment.splits.levels
    if likelihood.discrete and state.get("levels") != levels:
        raise DataError(
            f"dataset: has {levels} grey levels, but the run's {type(likelihood).__name__} was "
            f"trained on {state.get('levels')}. Evaluate it on data of as many."
        )
    with checkpoint_file.understood(file):
        load_weights(experiment.model, state["model"], file)
        return float(state["epoch"])


def measure(experiment: Experiment, epoch: float) -> dict[str, dict[str, float]]:
    """The chosen metrics on val (none if it is empty) and on test.

    `epoch` is the checkpoint's, which the objective's warm-up depends on.
    """
    splits = experiment.splits
    return {
        name: experiment.evaluation.measure(experiment.view(split, epoch)) if len(split) else {}
        for name, split in (("val", splits.val), ("test", splits.test))
    }


def shown(experiment: Experiment, epoch: float) -> View:
    """The model and the split that pictures show: val, or test if val is empty."""
    splits = experiment.splits
    return experiment.view(splits.val if len(splits.val) else splits.test, epoch)


def draw_all(
    experiment: Experiment, epoch: float, *, entries: Sequence[Entry] | None = None
) -> dict[str, NDArray[Any]]:
    """The chosen pictures of the model by name, each uint8 [height, width, 3].

    `entries` are some of `evaluation.figures`; None: all.
    """
    test = experiment.view(experiment.splits.test, epoch)
    return experiment.evaluation.draw(shown(experiment, epoch), test, entries=entries)
