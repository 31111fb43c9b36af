"""The end of a training: the best checkpoint's figures, pictures and numbers."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_run import plots
from vae_run.config.keys import flat
from vae_run.errors import DataError
from vae_run.evaluation.codes import codes, evaluating
from vae_run.evaluation.first_images import first_batch
from vae_run.evaluation.quantities import quantities_of
from vae_run.evaluation.view import View
from vae_run.reports.run import write_report
from vae_run.runs import checkpoint_file
from vae_run.runs.load import load_weights
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.console import numbers
from vae_run.system.files import write_atomically
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment
from vae_run.training.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("vae_run")

EMBEDDED = 1000
"""Codes shown in TensorBoard's projector and histograms."""


def conclude(
    experiment: Experiment,
    run: RunDirectory,
    tracker: Tracker,
    progress: Progress,
) -> None:
    """Evaluate and draw the best checkpoint, and write everything where readers look for it."""
    epoch = use_checkpoint(experiment, run, "best")
    fit_prior(experiment, run)
    metrics = measure(experiment, epoch)
    speed = {
        "train_seconds": progress.seconds,
        "examples_per_second": progress.examples / max(progress.seconds, 1e-9),
    }
    run.write_metrics({**metrics, "train": {**speed, "steps": progress.step}})
    tracker.history.finish()
    pictures = draw_all(experiment, epoch)
    if tracker.history.rows:
        pictures["learning_curves"] = learning_curves(tracker.history.rows, run)
    write_pictures(run, pictures)
    write_report(run)
    # Last, so that a run which was stopped on the way does not show the same points twice.
    show_codes(experiment, tracker, progress.step)
    tracker.pictures(pictures, progress.step)
    tracker.succeeded()
    tracker.scalars("test", metrics["test"], progress.step)
    for split, values in (("val ", metrics["val"]), ("test", metrics["test"])):
        if values:
            log.info("%s  %s", split, numbers(values))
    log.info(
        "best checkpoint of epoch %.4g; %.1f s of training, %s images/s",
        epoch,
        progress.seconds,
        f"{speed['examples_per_second']:,.0f}",
    )
    log.info("%s", shortest(run.path))


def fit_prior(experiment: Experiment, run: RunDirectory) -> None:
    """Fit a prior that waits for the end of training to the best weights' codes, in `best.pt`."""
    prior = experiment.model.prior
    if not prior.fitted_once:
        return
    prior.fit(codes(experiment.view(experiment.splits.train)))
    state = checkpoint_file.read(run.best)
    checkpoint_file.save(run.best, {**state, "model": experiment.model.state_dict()})


def shortest(path: Path) -> Path:
    """`path` relative to the working directory where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def use_checkpoint(experiment: Experiment, run: RunDirectory, name: str) -> float:
    """Put the weights of `best.pt` or `last.pt` into the experiment's model; their epoch.

    Raises:
        DataError: the likelihood is of other grey levels than the data have.
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
    """The chosen metrics on val (nothing when it is empty) and test."""
    splits = experiment.splits
    return {
        name: experiment.evaluation.measure(experiment.view(split, epoch)) if len(split) else {}
        for name, split in (("val", splits.val), ("test", splits.test))
    }


def shown(experiment: Experiment, epoch: float) -> View:
    """The split that pictures are made of: val, or test where val is empty."""
    splits = experiment.splits
    return experiment.view(splits.val if len(splits.val) else splits.test, epoch)


def draw_all(experiment: Experiment, epoch: float) -> dict[str, NDArray[Any]]:
    """The chosen pictures of the model."""
    test = experiment.view(experiment.splits.test, epoch)
    return experiment.evaluation.draw(shown(experiment, epoch), test)


def learning_curves(rows: list[dict[str, float]], run: RunDirectory) -> NDArray[Any]:
    """The history's quantities, train beside val."""
    columns = [n for n in dict.fromkeys(key for row in rows for key in row) if "/" in n]
    table = quantities_of([run.path])
    names = table.ordered(column.partition("/")[2] for column in columns)
    columns.sort(key=lambda column: names.index(column.partition("/")[2]))
    history = {column: [row.get(column, float("nan")) for row in rows] for column in columns}
    return plots.learning_curves(history, [row["epoch"] for row in rows], table.units(names))


def write_pictures(run: RunDirectory, pictures: Mapping[str, NDArray[Any]]) -> None:
    """The pictures as `figures/NAME.png`."""
    from PIL import Image

    run.figures.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, format="PNG")
        write_atomically(run.figures / f"{name}.png", buffer.getvalue())


def show_codes(experiment: Experiment, tracker: Tracker, step: int) -> None:
    """The projector and the histograms of the codes."""
    view = shown(experiment, 0.0)
    with evaluating(experiment.model):
        batch = first_batch(view, EMBEDDED)
        q = experiment.model.given(batch.label).encode(batch.input)
        means = q.mean.float().cpu()
        scales = experiment.model.posterior.scale(q)
        scales = None if scales is None else scales.cpu()
    images = batch.target.cpu().clamp(0, 1)
    thumbnails = images if images.dim() == 4 and images.shape[1] in (1, 3) else None
    labels = None if batch.label is None else batch.label.cpu()
    tracker.latents(means.clone(), scales, labels, thumbnails, step)


def hyperparameters(config: Mapping[str, Any], choices: Mapping[str, str]) -> dict[str, Any]:
    """What was trained, and how: the chosen options, and the configuration as flat pairs."""
    skipped = ("run", "trust", "sweep", "task", "device", "init_from", "evaluation")
    options = {group: option for group, option in choices.items() if "/" not in group}
    return options | {
        key: value
        for key, value in flat(config)
        if key.split(".")[0] not in skipped and not key.endswith("_target_")
    }
