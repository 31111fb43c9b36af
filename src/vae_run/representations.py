"""Codes of a bounded number of images, for figures that compare codes with something else.

Letters: N images, D latent dimensions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vae_run.data.batches import NOISE_CHUNK, seeded

if TYPE_CHECKING:
    from vae_run.evaluation import View

Points = NDArray[np.floating[Any]]


def few(view: View, most: int) -> View:
    """`view` of at most `most` of its images, a fixed random choice, in their order.

    Its batches have a fixed size: counts, ranks and votes must not turn on the last bit of a code.
    """
    index = torch.arange(view.size)
    if view.size > most:
        index = torch.randperm(view.size, generator=seeded("cpu", "few images"))[:most]
        index = index.sort().values
    split = view.split.take(index.to(view.split.images.device))
    return replace(view, split=split, limit=None, batch_size=NOISE_CHUNK)


def means(view: View) -> Points:
    """E_q[z] of all images of `view`, or what stands for it, float64 [N, D]."""
    found = []
    for batch in view.batches():
        q = view.model.given(batch.label).encode(batch.input)
        found.append(view.model.posterior.expectation(q).cpu().double().numpy())
    return np.concatenate(found)
