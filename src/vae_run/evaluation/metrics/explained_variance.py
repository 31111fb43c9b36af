"""The share of the data's variance that reconstructions have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vae_run.evaluation.base import metric

if TYPE_CHECKING:
    from vae_run.evaluation.view import View


@metric()
def explained_variance(view: View) -> dict[str, float]:
    """`explained_variance`: 1 - sum |x - x^|^2 / sum |x - m|^2, over the images of the split.

    x are the clean images, x^ = decode(encode(input).mean).mean, and m is the mean of x. 0 is what
    the mean alone would reach, 1 is perfect. Nothing for images that are all the same.
    """
    shape = view.split.event_shape
    residual, square, mean = 0.0, 0.0, torch.zeros(shape, dtype=torch.double)
    seen = 0
    for batch in view.batches():
        x = batch.target.cpu().double()
        found = view.model.given(batch.given).reconstruct(batch.input).cpu().double()
        residual += float((x - found).square().sum())
        # Moments are merged batch by batch (Chan et al. 1979): sums of squares would cancel.
        own, count = x.mean(0), len(x)
        between = (own - mean).square() * seen * count / (seen + count)
        square += float((x - own).square().sum() + between.sum())
        mean += (own - mean) * count / (seen + count)
        seen += count
    return {"explained_variance": 1 - residual / square} if square > 0 else {}
