"""Means and standard deviations of training data: where a model starts, and a check of scales.

Letters: N images, E event shape (C, H, W) or (F,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_run.data.splits import Split

MOST = 10_000
"""Images that the moments are taken of at most, at equal distances in the split."""
CHUNK_VALUES = 2**18
"""Values of images that are read at once, about: 10 MB of them in double precision."""
RATIO, LARGEST = 100.0, 1e3
"""Ratio of the standard deviations of two columns, and size of a value, that call for scaling."""


@dataclass(frozen=True)
class Moments:
    """Of each pixel or column, in float64 on the CPU.

    Attributes:
        mean: [*E].
        spread: standard deviations, [*E].
        largest: the largest absolute value of all.
    """

    mean: Tensor
    spread: Tensor
    largest: float

    @property
    def deviation(self) -> float:
        """Root mean square of all differences from `mean`."""
        return float(self.spread.square().mean().sqrt())


def moments(split: Split) -> Moments:
    """The moments of the images of `split`, which must have some."""
    count = min(len(split), MOST)
    index = torch.linspace(0, len(split) - 1, count, dtype=torch.double).round().long()
    size = max(1, CHUNK_VALUES // math.prod(split.event_shape))
    total = squares = torch.zeros(split.event_shape, dtype=torch.double)
    shift, largest = None, 0.0
    for piece in torch.split(index, size):
        x = split.pixels(piece.to(split.images.device)).cpu().double()
        shift = x[0] if shift is None else shift  # squares of large numbers would cancel
        total, squares = total + (x - shift).sum(0), squares + (x - shift).square().sum(0)
        largest = max(largest, float(x.abs().max()))
    assert shift is not None
    offset = total / count
    return Moments(shift + offset, (squares / count - offset.square()).clamp(min=0).sqrt(), largest)


def advice_on_scales(found: Moments, *, scalable: bool = False) -> str | None:
    """What to do about data of very large values, or columns of very different sizes; else None.

    Args:
        found: the moments of the training data.
        scalable: whether `dataset.scale` could scale them, and does not.
    """
    spreads, what = found.spread, "columns"
    if spreads.dim() == 2:  # windows: channels have units, not steps of time
        spreads, what = spreads.square().mean(1).sqrt(), "channels"
    elif spreads.dim() == 3:
        what = "pixels"
    varied = spreads[spreads > 0]
    if found.largest <= LARGEST and (
        spreads.dim() > 1 or not len(varied) or varied.max() <= RATIO * varied.min()
    ):
        return None
    how = "subtract the mean, divide by the standard deviation of the training data"
    how = "dataset.scale=standard" if scalable else how
    spread = ""
    if len(varied):
        spread = f"standard deviations from {varied.min():.3g} to {varied.max():.3g} and "
    return (
        f"The {what} of the training data have {spread}values of up to {found.largest:.3g} in "
        f"size, for which no one learning rate fits: standardise the {what} ({how})."
    )
