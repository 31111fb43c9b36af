"""`task=sample run=DIR n=64 output=FILE`: images from the prior, or from a density of the codes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_run import plots
from vae_run.config.invocation import Call
from vae_run.config.schema import Sample, Settings
from vae_run.data.columns import Columns
from vae_run.data.conditions import LABEL
from vae_run.evaluation.codes import fit_prior
from vae_run.evaluation.few_images import class_name
from vae_run.evaluation.view import View
from vae_run.system.array_archive import MARK, array_archive
from vae_run.system.files import write_png
from vae_run.system.nouns import counted
from vae_run.tasks.grid_picture import GridPicture
from vae_run.tasks.own_conditions import typed_conditions
from vae_run.tasks.own_images import own_splits
from vae_run.tasks.own_rows import in_units, refuse_ending
from vae_run.tasks.trained_model import Trained, trained
from vae_run.tasks.user_files import TABLES, check_output, write_table

log = logging.getLogger("vae_run")

Given = Mapping[str, Any] | None

PIECE = 256
"""Images that are decoded at a time at most; a network takes many times the memory of these."""


def main(call: Call) -> None:
    """Draw `n` images with `seed`: a `.png` grid, or a `.npz` with `images` and their codes `z`.

    A conditional model draws images of the class `label`, or of all classes in turn. With several
    conditions, those that `label` and `given` leave open are those of training images, in turn.
    Values are in the units of the user's data, also where the run scaled them.
    """
    fixed = call.settings.of(Sample)
    path = check_output(fixed.output, (".png", *TABLES), overwrite=fixed.overwrite)
    run = trained(call, "sampler")
    refuse_ending(path, run)
    label, typed = run.number(fixed.label), typed_conditions(run, fixed)
    if "sampler" in call.settings.parts:
        use_sampler(run, call.settings)
    model, told = run.model, run.model.in_turn(fixed.n)
    if model.conditions is not None and told is not None:
        told = _with_typed(told, model.conditions.columns, typed)
    elif label is not None and told is not None:
        told = torch.full_like(told, label)
    torch.manual_seed(fixed.seed)
    with torch.inference_mode():
        z = model.posterior.nearest(model.latent_prior().sample((fixed.n,)))
    source = f"{counted(fixed.n, run.noun)} from {model.prior.description}"
    if run.table is not None:
        beside = conditions_of(run, told, fixed.given)
        rows = in_units(run, torch.cat(list(decoded(run, z, told))), beside)
        write_table(path, {**beside, **rows})
    elif path.suffix.lower() == ".npz":
        write_npz(path, run, z, told, fixed.given)
    elif model.classes is None or label is not None:
        grid = GridPicture(fixed.n, run.event_shape)
        for images in decoded(run, z, told):
            grid.add(run.drawn(images))
        grid.write(path)
    else:
        write_classes(path, torch.cat(list(decoded(run, z, told))), run, source)
    log.info("%s in %s", source, path)


def _with_typed(vectors: Tensor, columns: Columns, typed: Mapping[str, Tensor]) -> Tensor:
    """`vectors` [n, P] with the entries of the conditions that keys give in their places."""
    changed = vectors.clone()
    for column, place in columns.places():
        if column.name in typed:
            changed[:, place] = typed[column.name].to(vectors.device)
    return changed


def conditions_of(run: Trained, told: Tensor | None, given: Given) -> dict[str, NDArray[Any]]:
    """What the model was given, as columns [n]: `labels`, or each of several conditions.

    The label of a row of a table is named as in the table. Numbers that `given` gives are written
    as they are, not as they come back from float32 entries.
    """
    if told is None:
        return {}
    found: dict[str, NDArray[Any]] = {LABEL: told.cpu().numpy()}
    if run.model.conditions is not None:
        found = run.model.conditions.columns.table(told)
        for name, value in (given or {}).items():
            if found[name].dtype.kind == "f":
                found[name][:] = value
    labels = found.pop(LABEL, None)
    if labels is None:
        return found
    if run.table is None:
        return {"labels": labels.astype(int), **found}
    known = dict(enumerate(run.class_names))
    names = np.array([known.get(int(label), str(int(label))) for label in labels])
    return {str(run.settings.parts["dataset"]["label"]): names, **found}


def decoded(run: Trained, z: Tensor, told: Tensor | None) -> Iterator[Tensor]:
    """Means of p(x|z), [B, *E] on the CPU, of the codes z [n, D], a batch at a time."""
    size = min(run.batch_size, PIECE)
    for start in range(0, len(z), size):
        part = slice(start, start + size)
        with torch.inference_mode():
            yield run.model.decode(z[part], None if told is None else told[part]).mean.cpu()


def write_npz(path: Path, run: Trained, z: Tensor, told: Tensor | None, given: Given) -> None:
    """Write `images`, `z` and what a conditional model was given."""
    with array_archive(path) as archive:
        with archive.growing("images", (len(z), *run.event_shape), run.type_in_units) as append:
            for images in decoded(run, z, told):
                append(run.in_units(images).numpy())
        archive.add("z", z.cpu().numpy())
        for name, values in conditions_of(run, told, given).items():
            archive.add(name, values)


def use_sampler(run: Trained, settings: Settings) -> None:
    """Replace the prior by the sampler, fitted to codes of the run's own training images.

    Raises:
        DataError: these images are missing, or have changed.
    """
    splits = own_splits(run, "sampler")
    latent_dim = run.settings.fixed.latent_dim
    space = run.model.posterior.index_space()
    sampler = settings.build("sampler", latent_dim=latent_dim, index_space=space).to(run.device)
    train = splits.train.to(run.device)
    objective = run.settings.build("objective", train_size=splits.train_size)
    view = View(run.model, objective, run.settings.build("corruption"), train, latent_dim)
    fit_prior(sampler, view)
    run.model.prior = sampler
    log.info("fitted to the codes of %s", counted(view.size, f"training {run.noun}"))


def write_classes(path: Path, images: Tensor, run: Trained, source: str) -> None:
    """Write a `.png` with a column for every class."""
    assert run.model.classes is not None
    names = [class_name(label, run.class_names) for label in run.model.classes.tolist()]
    write_png(path, plots.samples(run.drawn(images), f"{source}, classes in turn", names), MARK)
