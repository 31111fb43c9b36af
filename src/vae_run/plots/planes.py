"""The plane of a two-dimensional latent space, of a model or of each of its classes.

Letters: G points an axis, K classes, E event shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import Picture
from vae_run.plots.cells import WIDEST, events
from vae_run.plots.grid import Grid
from vae_run.plots.words import captions, notes, number

if TYPE_CHECKING:
    from torch import Tensor

_MOST_TICKS = 10
_LINE = 0.5
"""The grey of the lines between the images of a plane."""


def manifold(images: Tensor, axis: Tensor, note: str) -> Picture:
    """The plane of a two-dimensional latent space: z0 grows to the right and z1 upwards.

    Args:
        images: [G, G, *E]; images[i, j] is decoded from z0 = axis[j] and z1 = axis[i], as from
            `torch.meshgrid(axis, axis, indexing="xy")`.
        axis: the ascending values [G] of both, or [2, G] those of z0 and those of z1.
        note: how the values were chosen.
    """
    cells, remark = events(images, 2)
    points = axis.shape[-1]
    if cells.shape[:2] != (points, points) or axis.shape not in ((points,), (2, points)):
        raise ValueError(f"images {list(images.shape)} do not match axis {list(axis.shape)}")
    ticks = _ticks(points)
    across, upwards = (
        [number(value) if place in ticks else "" for place, value in enumerate(values)]
        for values in axis.expand(2, points).tolist()
    )
    return Grid(
        cells[::-1],
        "Latent manifold",
        notes(cells, note, remark),
        row_names=upwards[::-1],
        footer=across,
        plane=("z0 →", "z1 ↑"),
    ).draw()


def manifolds(images: Tensor, axis: Tensor, names: Sequence[str], note: str) -> Picture:
    """The plane of a two-dimensional latent space once for each class, side by side.

    Args:
        images: [K, G, G, C, H, W], each of the K planes as in `manifold`.
        axis: the ascending values of z0 and of z1, [2, G].
        names: K names of the classes, below their planes.
        note: how the values were chosen.
    """
    cells, remark = events(images, 3)
    count, points, _, height, width, _ = cells.shape
    # Tiles with a line between them: [K, G, G, H, W, 3] becomes [K, G (H + 1), G (W + 1), 3], with
    # z1 upwards.
    padded = np.full((*cells.shape[:3], height + 1, width + 1, 3), _LINE, dtype=cells.dtype)
    padded[..., :height, :width, :] = cells
    size = (points * (height + 1), points * (width + 1))
    planes = padded[:, ::-1].swapaxes(2, 3).reshape(count, *size, 3)[:, :-1, :-1]
    columns = _fewest_holes(count)
    rows = math.ceil(count / columns)
    grid = np.ones((rows * columns, *planes.shape[1:]), dtype=planes.dtype)
    grid[:count] = planes
    ends = [f"{number(float(each[0]))} to {number(float(each[-1]))}" for each in axis]
    span = ends[0] if ends[0] == ends[1] else f"{ends[0]} and {ends[1]}"
    return Grid(
        grid.reshape(rows, columns, *planes.shape[1:]),
        "Latent manifold of each class",
        notes(cells[0], note, f"Each plane has z0 to the right and z1 upwards, {span}", remark),
        captions=captions(names, count, columns),
        count=count,
        largest=WIDEST // 2,
    ).draw()


def _fewest_holes(count: int) -> int:
    """Columns for `count` squares on a page that is a little wider than high."""
    least = min(count, math.ceil(math.sqrt(count * 1.2)))
    return min(range(least, min(least + 3, count + 1)), key=lambda n: -count % n)


def _ticks(count: int) -> set[int]:
    """Places to label among `count`: even steps from both ends that meet symmetrically."""
    step = math.ceil(count / _MOST_TICKS)
    left = [i for i in range(0, count, step) if count - 1 - 2 * i >= step or 2 * i == count - 1]
    return {0, *left, *(count - 1 - i for i in left)}
