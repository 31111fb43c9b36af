"""Images that a model makes, to be judged beside those of a split.

Letters: B batch, E event shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vae_run.data.batches import seeded

if TYPE_CHECKING:
    from vae_run.evaluation.view import View

SAMPLES_SEED = 0x6E_4E7A
"""Not that of the pictures: what is judged is not what is shown."""


def generated(view: View) -> Iterator[Tensor]:
    """As many images as the view has, [B, *E] at a time, made from codes z of the prior.

    They are the means of p(x|z); where the view's pixels are binary, and p(x|z) is of such, they
    are drawn from it: a grey mean would look like no image at all. Codes and pixels are drawn with
    fixed seeds; a conditional model is given the labels, or the conditions, of the view's images.
    """
    model, device = view.model, view.split.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SAMPLES_SEED)
        codes = model.posterior.nearest(model.latent_prior().sample(torch.Size((view.size,))))
    drawn = model.likelihood.binary and not view.split.has_grey
    for start in range(0, view.size, view.batch_size):
        rows = slice(start, start + view.batch_size)
        means = model.given(view.visited.given(rows)).decode(codes[rows]).mean
        if drawn:
            generator = seeded(device, "generated pixels", start)
            means = (torch.rand(means.shape, generator=generator, device=device) < means).float()
        yield means
