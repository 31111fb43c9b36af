"""The pictures of what a model makes of images, or of vectors, one function each.

Letters: B batch, N samples, G points an axis, R rows, T steps, E event shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import Picture
from vae_run.plots.cells import columns_that_fit, events, spread
from vae_run.plots.grid import Grid
from vae_run.plots.words import captions, notes, number, shown_of

if TYPE_CHECKING:
    from torch import Tensor

_MOST_COLUMNS, _MOST_ROWS, _MOST_SAMPLES = 16, 12, 256
_MOST_TICKS = 10


def samples(
    images: Tensor,
    note: str,
    classes: Sequence[str] = (),
    title: str = "Samples",
    names: Sequence[str] = (),
) -> Picture:
    """Images [N, *E] in a grid as near to a square as N allows, in order along the rows.

    Args:
        images: the first 256 at most are shown.
        note: where they come from, such as "64 samples from the prior N(0, I)".
        classes: names of the classes that the images belong to in turn: a column each, or several
            where they are few, or, where there are more than 16, a caption under every image.
        title: of the picture.
        names: one for every image, below it, in place of `classes`.
    """
    cells, remark = events(images, 1)
    count = min(len(cells), _MOST_SAMPLES)
    aspect = 2 / 3 if cells.ndim < 4 else cells.shape[1] / cells.shape[2]
    columns = min(count, max(1, math.ceil(math.sqrt(count * aspect) - 1e-9)))
    heads: list[str] = []
    if 0 < len(classes) <= _MOST_COLUMNS:
        heads = [*classes] * max(1, round(math.sqrt(count) / len(classes)))
        columns = len(heads)
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, *cells.shape[1:]), dtype=cells.dtype)
    grid[:count] = cells[:count]
    left_out = f"The first {count} of {len(cells)} are shown" if count < len(cells) else ""
    return Grid(
        grid.reshape(rows, columns, *cells.shape[1:]),
        title,
        notes(cells[None, :count], note, left_out, remark),
        column_names=heads,
        captions=[] if heads else captions(names or classes, count, columns),
        count=count,
    ).draw()


def traversals(images: Tensor, values: Tensor, row_names: Sequence[str], note: str) -> Picture:
    """One latent dimension a row, moved through its values while the others stay where they are.

    Args:
        images: [R, T, *E]; the first 12 rows at most are shown, and T is thinned to what fits.
        values: the latent's values, [T] for all rows or [R, T] row by row; they stand
            above the columns where all rows agree, else under the images.
        row_names: R names; what follows two spaces, as in "z7  KL 2.31 nats", is a second line.
        note: what the others are held at.
    """
    cells, remark = events(images, 2)
    rows, steps = min(cells.shape[0], _MOST_ROWS), cells.shape[1]
    kept = spread(steps, min(_MOST_COLUMNS, columns_that_fit(cells.shape[2:])))
    table = [[number(float(row[step])) for step in kept] for row in values.reshape(-1, steps)]
    cells = cells[:rows, kept]
    shared = all(row == table[0] for row in table[:rows])
    left_out = f"The first {shown_of(rows, images.shape[0], 'latent dimension')} are shown"
    return Grid(
        cells,
        "Latent traversals",
        notes(cells, note, left_out * (rows < images.shape[0]), remark),
        row_names=list(row_names[:rows]),
        column_names=table[0] if shared else [],
        captions=[] if shared else table[:rows],
    ).draw()


def interpolations(images: Tensor, note: str, row_names: Sequence[str] = ()) -> Picture:
    """Paths between pairs, a row each; the ends, reconstructions of the pair, are framed.

    Args:
        images: [R, T, *E] decoded at t = 0 ... 1; the first 12 rows at most are shown, and T is
            thinned to what fits.
        note: the kind of path, such as "straight lines between latent means".
        row_names: R names of the paths, where there are several kinds.
    """
    cells, remark = events(images, 2)
    rows, steps = min(cells.shape[0], _MOST_ROWS), cells.shape[1]
    kept = spread(steps, min(_MOST_COLUMNS, columns_that_fit(cells.shape[2:])))
    times = [step / max(steps - 1, 1) for step in kept]
    cells = cells[:rows, kept]
    noun = "path" if row_names else "pair"
    left_out = f"The first {shown_of(rows, images.shape[0], noun)} are shown"
    ends = "The framed ends are the reconstructions"
    return Grid(
        cells,
        "Interpolations",
        notes(cells, note, left_out * (rows < images.shape[0]), remark, ends),
        row_names=list(row_names[:rows]),
        column_names=["t = 0", *[number(time) for time in times[1:]]],
        framed=sorted({0, len(kept) - 1}),
    ).draw()
