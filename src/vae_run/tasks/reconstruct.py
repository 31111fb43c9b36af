"""`task=reconstruct run=DIR input=FILE output=FILE`: reconstructions of your own images.

With a denoising family the input counts as corrupted already, and the output is restored.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from vae_run.config.invocation import Call
from vae_run.config.schema import OnImages
from vae_run.data.user_input import UserImages
from vae_run.evaluation.codes import evaluating
from vae_run.system.array_archive import array_archive
from vae_run.system.nouns import counted
from vae_run.tasks.grid_picture import GridPicture, short_names
from vae_run.tasks.own_images import identity, inputs_of, own_images
from vae_run.tasks.own_rows import in_units, refuse_ending
from vae_run.tasks.trained_model import Trained, trained
from vae_run.tasks.user_files import TABLES, check_output, write_table

log = logging.getLogger("vae_run")


def main(call: Call) -> None:
    """Write decode(encode(x).mean).mean as a `.png` grid, or as `images` in a `.npz`.

    Values are in the units of the user's data, also where the run scaled them. Rows of a table are
    written as a table of the columns that the run was trained on: numbers in
    their own units, and of categories the most probable one.
    """
    fixed = call.settings.of(OnImages)
    inputs = inputs_of(fixed.input)
    endings = (".png", *TABLES)
    path = check_output(fixed.output, endings, overwrite=fixed.overwrite, inputs=inputs)
    run = trained(call)
    refuse_ending(path, run)
    images = own_images(run, fixed)
    error = write(path, run, images) / (len(images) * math.prod(run.event_shape))
    space = "" if run.scaling is None else f" as scaled by dataset.scale={run.scaling.kind}"
    order = ""
    if path.suffix.lower() == ".npz" and run.settings.parts["dataset"].get("channels_last"):
        order = "; `images` are [N, channels, steps], whatever the order of the input"
    log.info(
        "%s in %s (mse against the input %.4g%s%s)",
        *(counted(len(images), "reconstructions"), path, error, space, order),
    )


def write(path: Path, run: Trained, images: UserImages) -> float:
    """Write the reconstructions batch by batch; returns the sum of squared errors."""
    total = 0.0

    def pieces() -> Iterator[Tensor]:
        nonlocal total
        with evaluating(run.model):
            for batch, model in run.batches(images):
                output = model.reconstruct(batch.input).cpu()
                total += float((output - batch.target.cpu()).double().square().sum())
                yield output

    if run.table is not None:
        about = identity(images, ("name", "label", "split", "index"))
        columns = in_units(run, torch.cat(list(pieces())), about)
        write_table(path, {**about, **columns})
        return total
    if path.suffix.lower() == ".png":
        grid = GridPicture(len(images), run.event_shape, short_names(images.names))
        for piece in pieces():
            grid.add(run.drawn(piece))
        grid.write(path)
        return total
    with array_archive(path) as archive:
        shape = (len(images), *run.event_shape)
        with archive.growing("images", shape, run.type_in_units) as append:
            for piece in pieces():
                append(run.in_units(piece).numpy())
        for name, values in identity(images, ("names", "labels", "split", "index")).items():
            archive.add(name, values)
    return total
