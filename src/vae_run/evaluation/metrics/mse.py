"""Squared error of reconstructions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.evaluation.view import View


@metric()
def mse(view: View) -> dict[str, float]:
    """`mse`: squared error per pixel of decode(encode(input).mean).mean against the clean image.

    The code is `q.mean`, not E_q[z].
    """
    total = 0.0
    for batch in view.batches():
        error = view.model.given(batch.given).reconstruct(batch.input) - batch.target
        total += float(error.cpu().double().square().sum())
    return {"mse": total / (view.size * math.prod(view.split.event_shape))}
