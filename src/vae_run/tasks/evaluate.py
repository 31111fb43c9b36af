"""`task=evaluate run=DIR`: a run's checkpoint measured again, on its own or on other data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from vae_run.config.check import check
from vae_run.config.invocation import Call
from vae_run.config.schema import OnCheckpoint
from vae_run.data.conditions import Conditions
from vae_run.data.scaled_splits import restated
from vae_run.data.splits import Splits
from vae_run.data.white import BYTE, nearly_black
from vae_run.plots import write_pictures
from vae_run.reports.run import write_evaluation_report, write_report
from vae_run.runs import checkpoint_file
from vae_run.runs.data_record import changes
from vae_run.runs.load import refuse_other_model, scaling_of, table_columns, white_of
from vae_run.runs.run_directory import RunDirectory
from vae_run.system.console import console
from vae_run.system.device import choose_device
from vae_run.system.places import try_place
from vae_run.tasks.checkpoint_evaluation import draw_all, measure, use_checkpoint
from vae_run.tasks.evaluation_place import CONDITIONS, evaluation_place, write_data
from vae_run.tasks.final_evaluation import draw_training
from vae_run.tasks.run_data import read_data, refuse_other_shape
from vae_run.tracking.confirmation import confirmed
from vae_run.tracking.fan_out import tracked
from vae_run.tracking.tracker import Tracker
from vae_run.training.experiment import Experiment, assemble

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("vae_run")

ALLOWED = (*CONDITIONS, "evaluation", "checkpoint", "device", "precision", "tracker", "figures")
WHY = (
    "task=evaluate rebuilds the run from its own configuration; only "
    f"{', '.join(ALLOWED)} may be given."
)


@dataclass(frozen=True)
class Opened:
    """A run with its data and a checkpoint, ready to be measured and drawn.

    Attributes:
        run: its directory.
        experiment: with the weights of the checkpoint.
        epoch: of the checkpoint.
        other: the fingerprint of the data, if they are other than those of the run.
        tracker: what new results are sent to.
    """

    run: RunDirectory
    experiment: Experiment
    epoch: float
    other: str | None
    tracker: Tracker


def opened(call: Call) -> Opened:
    """The run that `run` names, with the data that `call` gives it.

    Raises:
        RunError: a key that may not be given, or data or a checkpoint that do not fit the run.
    """
    fixed = call.settings.of(OnCheckpoint)
    run = RunDirectory.existing(fixed.run)
    config = call.on_top_of(run.located(), allowed=ALLOWED, why=WHY)
    config.pop("checkpoint", None)
    settings = check(config, trust=fixed.trust, trained=True)
    device = choose_device(fixed.device)
    tracker = confirmed(run.path, settings.build("tracker"), call.settings.build("tracker"))
    file = run.best if fixed.checkpoint == "best" else run.last
    saved = checkpoint_file.read(file)
    refuse_other_model(settings, saved, file)
    with checkpoint_file.understood(file):
        # Of scaled images the white is kept, but no levels are.
        known = any(saved.get(key) is not None for key in ("white", "levels"))
        white = white_of(saved) if known else None
    decide = "dataset.white" in call.typed_keys
    splits, other = read_data(run, settings, None if decide else white)
    if other is not None and white == BYTE:
        tell_of_nearly_black(splits)
    with checkpoint_file.understood(file):
        event_shape = [int(size) for size in saved.get("event_shape", splits.event_shape)]
    refuse_other_shape(splits, settings, event_shape)
    splits = on_scale_of(saved, file, splits)
    with checkpoint_file.understood(file):
        conditions = Conditions.of_state(saved.get("conditions"))
    tell_of_other_names(saved, splits)
    experiment = assemble(settings, device, saved.get("classes"), splits, conditions, fresh=False)
    epoch = use_checkpoint(experiment, run, fixed.checkpoint)
    return Opened(run, experiment, epoch, other, tracker)


def main(call: Call, *, draw: bool = True) -> Path:
    """Evaluate the run that `run` names, and `draw` the pictures; returns where results are."""
    found = opened(call)
    run, experiment, epoch = found.run, found.experiment, found.epoch
    place = evaluation_place(run, call, found.other)
    own = place == run.path
    try_place(place / "metrics.json")
    place.mkdir(parents=True, exist_ok=True)
    metrics = measure(experiment, epoch)
    pictures = draw_all(experiment, epoch) if draw else {}
    declared = experiment.declared()
    if own:
        pictures |= draw_training(experiment, run) if draw else {}
        add_to_run(found, metrics, pictures)
    else:
        write_data(place, found.other)
        RunDirectory(place).write_metrics(metrics)
        declared.write(place)
        look = experiment.settings.fixed.figures
        write_pictures(place / "figures", pictures, look.format, look.dpi)
        write_evaluation_report(run, place, call.overrides)
    show(metrics)
    if found.other is not None:
        tell_of_other_data(call, run, found.other, experiment.splits)
    checkpoint = call.settings.of(OnCheckpoint).checkpoint
    log.info("%s checkpoint of epoch %.4g; written to %s", checkpoint, epoch, place)
    return place


def tell_of_other_data(call: Call, run: RunDirectory, fingerprint: str, splits: Splits) -> None:
    """Say that the data are not those of `run`; warn if they are, but have changed."""
    log.info(
        "not the data that the run was trained on (%s; dataset_fingerprint %.8s, the run's is "
        "%.8s): the run's own metrics stay as they are",
        *(changes(run.environment(), splits), fingerprint, run.fingerprint()),
    )
    if not any(key.split(".")[0] == "dataset" for key in call.typed_keys):
        log.warning(
            "the data of the run have changed, and were cut anew: the test set may hold %s "
            "that the run was trained on. A run with dataset.split_by=name keeps its test set.",
            splits.noun,
        )


def tell_of_nearly_black(splits: Splits) -> None:
    """Warn of pixels that are probably 0 and 1, and are divided by 255 as those of the run were."""
    found = nearly_black({"train": splits.train, "val": splits.val, "test": splits.test})
    if found:
        log.warning(
            "the data have no pixel above 1 (%s), and are divided by 255 as those of the run were, "
            "which makes them nearly black: if their pixels are 0 and 1, say dataset.white=auto",
            ", ".join(found),
        )


def tell_of_other_names(saved: Mapping[str, Any], splits: Splits) -> None:
    """Warn where a conditional model knows the labels of `splits` by other names of classes."""
    known, found = saved.get("class_names") or (), splits.class_names or ()
    names = list(zip_longest(known, found, fillvalue="no class"))
    others = [f"{label} is {b}, was {a}" for label, (a, b) in enumerate(names) if a != b]
    if saved.get("classes") is not None and known and found and others:
        log.warning(
            "the classes of the data are others than those that the run is conditional on: label "
            "%s: the model takes each image for one of the class that has its label",
            "; ".join(others[:5]) + ("; ..." if len(others) > 5 else ""),
        )


def on_scale_of(saved: Mapping[str, Any], file: Path, splits: Splits) -> Splits:
    """`splits` by the statistics of the run whose checkpoint, read from `file`, is `saved`.

    Raises:
        CheckpointError: the checkpoint is damaged.
        DataError: they cannot be; see `restated`.
    """
    with checkpoint_file.understood(file):
        table, scaling = table_columns(saved), scaling_of(saved)
    given = restated(splits, table, scaling)
    if given is not splits and scaling is not None:
        log.info("the data are scaled by the numbers of the run (dataset.scale=%s)", scaling.kind)
    return given


def add_to_run(
    found: Opened,
    metrics: Mapping[str, Mapping[str, float]],
    pictures: Mapping[str, NDArray[Any]],
) -> None:
    """Add results to the run's own; trackers get those metrics that are new or have changed."""
    run, look = found.run, found.experiment.settings.fixed.figures
    kept = run.metrics()
    run.write_metrics({**kept, **{k: {**kept.get(k, {}), **v} for k, v in metrics.items()}})
    found.experiment.declared().write(run.path)
    write_pictures(run.figures, pictures, look.format, look.dpi)
    step = round(run.read_status().get("step", 0))
    with tracked(run.path, found.tracker) as sending:
        for split, values in metrics.items():
            known = kept.get(split, {})
            sending.scalars(split, {k: v for k, v in values.items() if known.get(k) != v}, step)
        sending.pictures(pictures, step)
    write_report(run)


def show(metrics: dict[str, dict[str, float]]) -> None:
    """Print val and test side by side."""
    table = Table("metric", *metrics, box=None, header_style="bold")
    for name in dict.fromkeys(key for values in metrics.values() for key in values):
        cells = (f"{v[name]:.6g}" if name in v else "" for v in metrics.values())
        table.add_row(name, *cells)
    console.print(table)
