"""The end of a training: the best checkpoint is measured and drawn, and the results are written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from vae_run import plots
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.codes import fit_prior as fit_to_codes
from vae_run.evaluation.few_images import few_batch
from vae_run.evaluation.quantities import quantities_of
from vae_run.evaluation.quantity import Quantities, declared
from vae_run.evaluation.selection import Entry, is_outside, own_pictures
from vae_run.plots import content, write_pictures
from vae_run.plots.backend import is_in_own_process, load
from vae_run.reports.run import CURVES, NAME, write_report
from vae_run.runs import checkpoint_file
from vae_run.runs.run_directory import RunDirectory
from vae_run.system import ranks
from vae_run.system.beside import beside, has_room
from vae_run.system.console import numbers
from vae_run.system.formatting import short_path
from vae_run.system.memory import return_freed_memory
from vae_run.tasks.checkpoint_evaluation import draw_all, measure, shown, use_checkpoint
from vae_run.tasks.swept_pictures import swept_pictures
from vae_run.tracking.history import history
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment
from vae_run.training.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("vae_run")

EMBEDDED = 1000
"""Codes that trackers get for a projector and for histograms."""


def conclude(
    experiment: Experiment,
    run: RunDirectory,
    tracker: Tracker,
    progress: Progress,
    *,
    draw: bool = True,
) -> None:
    """Measure and draw the best checkpoint; write metrics, pictures and report; tell the tracker.

    The tracker comes last: a run that is interrupted on the way does all of this again when it is
    resumed, and shall not send the same points twice.
    """
    before = bool(run.metrics()) or (run.path / NAME).is_file()
    epoch = use_checkpoint(experiment, run, "best")
    fit_prior(experiment, run)
    metrics = measure(experiment, epoch)
    speed = {
        "train_seconds": progress.seconds,
        "examples_per_second": progress.examples / max(progress.seconds, 1e-9),
    }
    run.write_metrics({**metrics, "train": {"best_epoch": epoch, **speed, "steps": progress.step}})
    return_freed_memory()
    pictures = drawn(experiment, run, epoch, own_entries(experiment, run)) if draw else {}
    if before:
        remove_pictures(experiment, run, keep=pictures)
    page = write_report(run)
    track_codes(experiment, tracker, progress.step)
    tracker.pictures(pictures, progress.step)
    tracker.artifact(run.path / NAME)
    tracker.succeeded()
    tracker.scalars("test", metrics["test"], progress.step)
    say_results(experiment, metrics, progress, epoch)
    log.info("report  %s", short_path(page))
    log.info("%s", short_path(run.path))


def say_results(
    experiment: Experiment,
    metrics: Mapping[str, Mapping[str, float]],
    progress: Progress,
    epoch: float,
) -> None:
    """Say what was measured at the best checkpoint, of `epoch`, and how fast it was trained."""
    for split, values in (("val ", metrics["val"]), ("test", metrics["test"])):
        if values:
            log.info("%s  %s", split, numbers(values))
    log.info(
        "best checkpoint of epoch %.4g; %.1f s of training, %s %s/s",
        epoch,
        progress.seconds,
        f"{progress.examples / max(progress.seconds, 1e-9):,.0f}",
        experiment.splits.noun,
    )


def drawn(
    experiment: Experiment,
    run: RunDirectory,
    epoch: float,
    entries: Sequence[Entry] | None = None,
) -> dict[str, NDArray[Any]]:
    """The configured pictures of the best checkpoint, of `epoch`, and those of the training.

    They are written into the run. `entries` are those of the checkpoint; None: all. Where the
    training leaves a core free, every other one is drawn there: a picture takes as long as a
    hundred steps of a small network.
    """
    look = experiment.settings.fixed.figures
    entries = experiment.evaluation.figures if entries is None else entries
    own, others = list(entries), list[Entry]()
    if (look.format, look.dpi) == ("png", plots.SCREEN) and leaves_core_free(experiment, run):
        others = [entry for entry in entries[1::2] if not is_outside(entry)]
        own = [entry for entry in entries if entry not in others]
        load()
    shared: AbstractContextManager[Callable[[], dict[str, NDArray[Any]] | None] | None]
    shared = beside(partial(_encoded, experiment, epoch, others)) if others else nullcontext()
    with shared as other:
        training = draw_training(experiment, run)
        found = draw_all(experiment, epoch, entries=own)
        if other is not None:
            rest = other()
            found |= draw_all(experiment, epoch, entries=others) if rest is None else rest
    names = [part.name for part in experiment.evaluation.parts()["figures"]]
    pictures = {name: found[name] for name in names if name in found} | training
    write_pictures(run.figures, pictures, look.format, look.dpi)
    return pictures


def own_entries(experiment: Experiment, run: RunDirectory) -> Sequence[Entry] | None:
    """The pictures that the run draws at its end; None: all. A job of a sweep may draw few."""
    if not run.is_swept:
        return None
    entries, left_out = swept_pictures(experiment.settings, run.overrides())
    if left_out:
        log.info("not drawn in a sweep: %s (figures.in_sweep=all draws them)", ", ".join(left_out))
    return entries


def leaves_core_free(experiment: Experiment, run: RunDirectory) -> bool:
    """Whether this run, of the command line, computes with one thread where there are more cores.

    A copy of the process has one thread, and gets the same codes bit for bit. The jobs of a sweep
    share the cores among them.
    """
    return (
        is_in_own_process()
        and experiment.device.type == "cpu"
        and torch.get_num_threads() == 1
        and ranks.place() is None
        and not run.is_swept
        and has_room()
    )


def _encoded(
    experiment: Experiment, epoch: float, entries: Sequence[Entry]
) -> dict[str, NDArray[Any]]:
    """The pictures of `entries`, with their PNGs."""
    found = draw_all(experiment, epoch, entries=entries)
    for picture in found.values():
        content(picture)
    return found


def remove_pictures(experiment: Experiment, run: RunDirectory, *, keep: Collection[str]) -> None:
    """Remove the pictures of an earlier checkpoint, but those of the names `keep`.

    They are found by the names that vae-run gives pictures: the user's own files stay.
    """
    chosen = experiment.evaluation.parts()["figures"]
    names = {CURVES, *own_pictures(), *(picture.name for picture in chosen)}
    names |= set(declared(run.path).captions or {})  # from outside the package
    if run.figures.is_dir():
        write_pictures(run.figures, dict.fromkeys(sorted(names - set(keep))))


def fit_prior(experiment: Experiment, run: RunDirectory) -> None:
    """Fit a prior that is fitted after training to codes of the best weights, in `best.pt`."""
    prior = experiment.model.prior
    if not prior.fitted_once:
        return
    fit_to_codes(prior, experiment.view(experiment.splits.train))
    state = checkpoint_file.read(run.best)
    checkpoint_file.save(run.best, {**state, "model": experiment.model.state_dict()})


INSTEAD = ("scree", "components")
"""The pictures of a model that was found without an epoch of training, and has no curves."""


def draw_training(experiment: Experiment, run: RunDirectory) -> dict[str, NDArray[Any]]:
    """The learning curves of the run; of one without epochs what it found: see `INSTEAD`."""
    rows, figures = history(run), experiment.evaluation.figures
    if not figures or not rows:
        return {}
    if any(key.startswith("train/") for row in rows for key in row):
        return {"learning_curves": learning_curves(rows, quantities_of([run.path]))}
    own, view = own_pictures(), shown(experiment, 0.0)
    with evaluating(experiment.model):
        drawn = {name: own[name](view) for name in INSTEAD if name not in figures}
    return {name: picture for name, picture in drawn.items() if picture is not None}


def learning_curves(rows: list[dict[str, float]], table: Quantities) -> NDArray[Any]:
    """The quantities of the history over the epochs, train beside val, in the order of `table`."""
    columns = [n for n in dict.fromkeys(key for row in rows for key in row) if "/" in n]
    names = table.ordered(column.partition("/")[2] for column in columns)
    columns.sort(key=lambda column: names.index(column.partition("/")[2]))
    curves = {column: [row.get(column, float("nan")) for row in rows] for column in columns}
    return plots.learning_curves(curves, [row["epoch"] for row in rows], table.units(names))


def track_codes(experiment: Experiment, tracker: Tracker, step: int) -> None:
    """Send codes to the tracker: the histograms of their means and scales, and an embedding."""
    view = shown(experiment, 0.0)
    with evaluating(experiment.model):
        batch = few_batch(view, EMBEDDED)
        q = experiment.model.given(batch.given).encode(batch.input)
        means = q.mean.float().cpu().clone()
        scales = experiment.model.posterior.scale(q)
    tracker.histogram("latent/mean", means, step)
    if scales is not None:
        tracker.histogram("latent/scale", scales.cpu(), step)
    images = view.drawn(batch.target).clamp(0, 1)
    thumbnails = images if images.dim() == 4 and images.shape[1] in (1, 3) else None
    labels = None if batch.label is None else batch.label.cpu()
    tracker.embedding("latent", means, labels, thumbnails, step)
