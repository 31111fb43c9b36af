"""Reconstructions of images of every class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run import plots
from vae_run.evaluation.base import picture
from vae_run.evaluation.few_images import class_name, shown_batch
from vae_run.evaluation.table_rows import of_rows
from vae_run.system.nouns import counted

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View


@picture("Validation images, what the encoder saw where it differs, and the output.")
def reconstructions(view: View) -> Image:
    """Images of each class in turn, corrupted if they were, and as the model returns them."""
    batch = shown_batch(view, 16)
    corrupted = None if torch.equal(batch.input, batch.target) else batch.input.cpu()
    output = view.model.given(batch.given).reconstruct(batch.input).cpu()
    if view.table is not None:
        given = {} if corrupted is None else {"corrupted": corrupted}
        shown = {"original": batch.target, **given, "reconstruction": output}
        return of_rows(view.table, shown, "Reconstructions", counted(len(output), "rows"))
    names = None
    if batch.label is not None:
        names = [class_name(label, view.class_names) for label in batch.label.tolist()]
    return plots.reconstructions(
        batch.target.cpu(), corrupted, output, names, view.drawn, view.drawn_note
    )
