"""`task=check`: compose, build and look at the data; train nothing."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from vae_run import plots
from vae_run.config.invocation import Call
from vae_run.config.schema import Check
from vae_run.data.splits import Splits
from vae_run.evaluation.few_images import class_name, few_batch
from vae_run.evaluation.table_rows import of_rows
from vae_run.models.networks import parameter_count
from vae_run.system.array_archive import MARK
from vae_run.system.console import console
from vae_run.system.device import bfloat16_unit, choose_device
from vae_run.system.files import write_png
from vae_run.system.hardware import threads_are_chosen
from vae_run.tasks.user_files import check_output
from vae_run.training.compiled_steps import why_not
from vae_run.training.experiment import Experiment, assemble
from vae_run.training.settings import GradientSettings
from vae_run.training.threads import threads_of

MEBI = 2**20
MOST_CLASSES = 30
"""Classes that are listed."""
MOST_DRAWN = 48
"""Images of the contact sheet."""


def main(call: Call) -> None:
    """Print the summary of the configured experiment, and draw training images if asked to."""
    fixed = call.settings.of(Check)
    path = None
    if fixed.output is not None:
        path = check_output(fixed.output, (".png",), overwrite=fixed.overwrite)
    experiment = assemble(call.settings, choose_device(call.settings.fixed.device))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    rows = [*parts(call), *data(experiment), *model(experiment), *training(experiment)]
    if path is not None:
        draw_some(experiment, path)
    rows.append(("drawn", str(path or "output=FILE.png draws images as the model sees them")))
    for name, text in rows:
        table.add_row(Text(name, "bold"), Text(text))
    console.print(table)


def parts(call: Call) -> list[tuple[str, str]]:
    """The options chosen in each group."""
    groups = ("model", "network", "posterior", "prior", "likelihood", "objective", "corruption")
    return [("parts", "  ".join(f"{g}={call.choices[g]}" for g in groups if g in call.choices))]


def data(experiment: Experiment) -> list[tuple[str, str]]:
    """Sizes, shape and range of the data."""
    splits = experiment.splits
    low, high = splits.train.extent
    sizes = "  ".join(
        f"{name} {len(split):,}"
        for name, split in (("train", splits.train), ("val", splits.val), ("test", splits.test))
    )
    if splits.stream is not None:
        shards = f"{len(splits.stream.shards):,} shards with {splits.train_size:,} images"
        sizes = f"{shards}, of which are held: {sizes}"
    stored = sum(len(s) * s.image_bytes for s in (splits.train, splits.val, splits.test))
    file = splits.train.mapped
    where = f"on {experiment.device}" if file is None else f"read from {file.file.parent}"
    shape = " x ".join(str(size) for size in splits.event_shape)
    likelihood = experiment.model.likelihood
    support = "pixels in [0, 1]" if likelihood.unit_interval else "any real values"
    if likelihood.discrete:
        support = f"{splits.levels} grey levels"
    return [
        (splits.noun, f"{sizes}  of {shape}  ({stored / MEBI:.1f} MiB {where})"),
        (
            "range",
            f"[{low:.4g}, {high:.4g}] in train; {type(likelihood).__name__} models {support}",
        ),
        *classes(splits),
        *conditions(splits),
        *columns(splits),
        *(("data", note) for note in splits.notes),
    ]


def columns(splits: Splits) -> list[tuple[str, str]]:
    """How each column of a table was read, or why it was left out."""
    if splits.table is None:
        return []
    told = [("column", f"{name}: {how}") for name, how in splits.table.told]
    return [("columns", f"{len(told)}, which make {len(splits.table.features)} features"), *told]


def conditions(splits: Splits) -> list[tuple[str, str]]:
    """What each of several conditions is."""
    rows = []
    for column in () if splits.conditions is None else splits.conditions.columns:
        told = f"a number, mean {column.mean:.4g}, standard deviation {column.std:.4g}"
        if column.categories is not None:
            told = (
                f"{len(column.categories)} classes: {', '.join(column.categories[:MOST_CLASSES])}"
            )
        rows.append(("condition", f"{column.name}: {told}"))
    return rows


def classes(splits: Splits) -> list[tuple[str, str]]:
    """Each class, with its number of images in train, val and test."""
    if splits.train.labels is None:
        return [("classes", f"none: the {splits.noun} have no labels")]
    held = [split.labels for split in (splits.train, splits.val, splits.test)]
    counts = [{} if labels is None else _counts(labels) for labels in held]
    present = sorted({label for count in counts for label in count})
    rows = []
    for label in present[:MOST_CLASSES]:
        names = splits.class_names or ()
        name = names[label] if 0 <= label < len(names) else str(label)
        called = str(label) if name == str(label) else f"{label} {name}"
        train, val, test = (f"{count.get(label, 0):,}" for count in counts)
        rows.append(("class", f"{called}: train {train}  val {val}  test {test}"))
    if more := present[MOST_CLASSES:]:
        rows.append(("class", f"and {len(more):,} more, up to {more[-1]}"))
    return rows


def _counts(labels: torch.Tensor) -> dict[int, int]:
    found, counts = torch.unique(labels, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def draw_some(experiment: Experiment, path: Path) -> None:
    """Write a contact sheet of evenly spaced training images and what the encoder sees of them."""
    splits = experiment.splits
    view = experiment.view(splits.train)
    batch = few_batch(view, MOST_DRAWN)
    seen = None if torch.equal(batch.input, batch.target) else batch.input.cpu()
    labels = [] if batch.label is None else batch.label.tolist()
    names = [class_name(label, splits.class_names or ()) for label in labels]
    low, high = splits.train.extent
    note = f"Evenly spaced among {len(splits.train):,}, with values from {low:.4g} to {high:.4g}"
    if splits.table is not None:
        shown = {"clean": batch.target} | ({} if seen is None else {"corrupted": seen})
        write_png(path, of_rows(splits.table, shown, "Training rows", note), MARK)
        return
    seen = None if seen is None else view.drawn(seen)
    note += view.drawn_note
    write_png(path, plots.contact_sheet(view.drawn(batch.target), seen, note, names), MARK)


def model(experiment: Experiment) -> list[tuple[str, str]]:
    """Modules with their parameter counts, and the objective of an untrained model."""
    whole = experiment.model
    rows = [
        (name, f"{type(module).__name__}, {parameter_count(module):,} parameters")
        for name, module in whole.named_children()
    ]
    rows.append(("total", f"{parameter_count(whole):,} parameters"))
    noun = experiment.splits.noun[:-1]
    batch = few_batch(experiment.view(experiment.splits.train), 64)
    with torch.no_grad():
        terms = experiment.objective(whole.given(batch.given), batch, math.inf)
    start = "  ".join(f"{name} {float(value.mean()):.4g}" for name, value in terms.items())
    rows.append(("untrained", f"{start}  (nats per {noun})"))
    weight = None if "kl" not in terms else beta(*(terms[name] for name in TERMS))
    if weight is not None:
        rows.append(("beta", f"{weight} on the KL in nats per {noun}, after any warm-up"))
    return rows


TERMS = ("loss", "reconstruction", "kl")


def beta(loss: Tensor, reconstruction: Tensor, kl: Tensor) -> str | None:
    """The weight of the KL in a loss [B], in as many digits as float32 leaves; None without any."""
    mean = float(kl.mean())
    if not mean > 0.0:
        return None
    found = float(((loss - reconstruction).double().mean()) / mean)
    rounding = torch.finfo(loss.dtype).eps * float(loss.abs().mean()) / mean
    if not rounding <= 0.1 * abs(found):
        return None
    digits = 3.0 if rounding == 0.0 else -math.log10(rounding / abs(found))
    return f"{found:.{round(min(max(digits, 1.0), 3.0))}g}"


def training(experiment: Experiment) -> list[tuple[str, str]]:
    """The number of steps, and the least memory that training needs."""
    weights = 4 * parameter_count(experiment.model) / MEBI
    plan = experiment.settings.build("trainer").plan(experiment.splits.train_size)
    return [
        ("steps", plan),
        ("threads", threads(experiment)),
        ("compile", compiling(experiment)),
        (
            "memory",
            f"{4 * weights:.1f} MiB of weights, gradients and Adam's moments, and the data",
        ),
        ("bfloat16", bfloat16(experiment.device)),
    ]


def threads(experiment: Experiment) -> str:
    """The threads that the training would take, and what decides that."""
    count = threads_of(experiment, {})
    if experiment.settings.parts["trainer"].get("threads"):
        why = "trainer.threads"
    elif threads_are_chosen():
        why = "OMP_NUM_THREADS"
    elif experiment.device.type == "cpu" and "batch_size" in experiment.settings.parts["trainer"]:
        why = f"of {torch.get_num_threads()}, by the arithmetic of a step; trainer.threads sets it"
    else:
        why = "all that there are"
    return f"{count} ({why})"


def compiling(experiment: Experiment) -> str:
    """Whether the steps of the training would be compiled, and why."""
    trainer = experiment.settings.build("trainer")
    if not isinstance(trainer, GradientSettings):
        return "no: this trainer has no steps"
    images = experiment.splits.train_size
    steps = trainer.total_steps(-(-images // trainer.batch_size))
    found = trainer.compiling(steps, experiment.device)
    why = found.why
    if found.by_gain and (trainer.max_time is not None or trainer.patience is not None):
        why = "the training may end early (trainer.max_time, trainer.patience)"
    if found.compiled:
        optimizer = experiment.optimizer(experiment.model)
        unable = why_not(optimizer, trainer.at_once, images, trainer.batch_size)
        if unable is not None:
            return f"no: {unable}"
    chosen = "" if trainer.compile != "auto" else "trainer.compile=auto: "
    return f"{'yes' if found.compiled else 'no'} ({chosen}{why})"


def bfloat16(device: torch.device) -> str:
    """Whether `precision=bfloat16` can make training on `device` faster."""
    unit = bfloat16_unit(device)
    if unit is None:
        return f"no gain to expect: this {device.type} has no unit for such products"
    return f"products are faster with precision=bfloat16 here ({unit}), where networks are large"
