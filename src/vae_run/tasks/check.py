"""`task=check`: compose, build and look at the data; train nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from rich.table import Table
from rich.text import Text

from vae_run.config.invocation import Call
from vae_run.evaluation.first_images import first_batch
from vae_run.models.networks import parameter_count
from vae_run.system.console import console
from vae_run.system.device import choose_device
from vae_run.training.experiment import Experiment, assemble

MEBI = 2**20


def main(call: Call) -> None:
    """Print the summary of the configured experiment."""
    experiment = assemble(call.settings, choose_device(call.settings.fixed.device))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, text in (*parts(call), *data(experiment), *model(experiment), *training(experiment)):
        table.add_row(Text(name, style="bold"), text)
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
        ("images", f"{sizes}  of {shape}  ({stored / MEBI:.1f} MiB {where})"),
        (
            "range",
            f"[{low:.4g}, {high:.4g}] in train; {type(likelihood).__name__} models {support}",
        ),
    ]


def model(experiment: Experiment) -> list[tuple[str, str]]:
    """Modules with their parameter counts, and the objective of an untrained model."""
    whole = experiment.model
    rows = [
        (name, f"{type(module).__name__}, {parameter_count(module):,} parameters")
        for name, module in whole.named_children()
    ]
    rows.append(("total", f"{parameter_count(whole):,} parameters"))
    batch = first_batch(replace(experiment.view(experiment.splits.train)), 64)
    with torch.no_grad():
        terms = experiment.objective(whole.given(batch.label), batch, math.inf)
    start = "  ".join(f"{name} {float(value.mean()):.4g}" for name, value in terms.items())
    rows.append(("untrained", f"{start}  (nats per image)"))
    if "kl" in terms and float(terms["kl"].mean()) > 0:
        beta = (terms["loss"] - terms["reconstruction"]).mean() / terms["kl"].mean()
        rows.append(("beta", f"{float(beta):.4g} on the KL in nats per image, after any warm-up"))
    return rows


def training(experiment: Experiment) -> list[tuple[str, str]]:
    """The number of steps, and the least memory that training needs."""
    weights = 4 * parameter_count(experiment.model) / MEBI
    plan = experiment.settings.build("trainer").plan(experiment.splits.train_size)
    return [
        ("steps", plan),
        (
            "memory",
            f"{4 * weights:.1f} MiB of weights, gradients and Adam's moments, and the images",
        ),
    ]
