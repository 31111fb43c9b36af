"""What a model in training makes of the same few images and codes, without words around it.

Trackers show the pictures of several steps at one place, so that nothing but the model differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run import plots
from vae_run.evaluation.codes import evaluating
from vae_run.evaluation.few_images import shown_batch
from vae_run.evaluation.pictures.samples import decoded_samples

if TYPE_CHECKING:
    from vae_run.evaluation.base import Image
    from vae_run.evaluation.view import View

IMAGES, SAMPLES = 16, 64


def progress_pictures(view: View) -> dict[str, Image]:
    """`training_reconstructions`: images, the corrupted ones, reconstructions; `training_samples`.

    Noise and codes are fixed, and no generator of the training is used. Nothing for data that are
    no images; no samples where nothing can be drawn, or where the decoder sees images beside codes.
    """
    if len(view.split.event_shape) != 3 or view.table is not None:
        return {}
    with evaluating(view.model):
        batch = shown_batch(view, IMAGES)
        output = view.model.given(batch.given).reconstruct(batch.input)
        rows = [batch.target, batch.input, output]
        if batch.input.shape != batch.target.shape or torch.equal(batch.input, batch.target):
            del rows[1]
        drawn = {"training_reconstructions": plots.mosaic(view.drawn(torch.stack(rows)))}
        found = None if view.model.skips else decoded_samples(view, SAMPLES)
        if found is not None:
            columns = max(1, round(len(found) ** 0.5))
            whole = found[: len(found) // columns * columns]
            cells = view.drawn(whole.reshape(-1, columns, *whole.shape[1:]))
            drawn["training_samples"] = plots.mosaic(cells)
    return drawn
