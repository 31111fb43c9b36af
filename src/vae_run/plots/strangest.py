"""The images that stand out most, above their reconstructions.

Letters: B images, E event shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import Array, Picture
from vae_run.plots.cells import columns_that_fit, events
from vae_run.plots.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

_MOST_COLUMNS, _MOST_BANDS = 12, 4


def strangest(
    images: Tensor, output: Tensor, scores: Array, names: Sequence[str], total: int, unit: str
) -> Picture:
    """Images with their names, and below each its reconstruction with its score.

    Args:
        images: [B, *E], the strangest first; as many are shown as are readable, 48 at most.
        output: means of p(x|z), [B, *E].
        scores: [B].
        names: B of them.
        total: how many images were scored.
        unit: what a score is, and its unit.
    """
    above, remark = events(images, 1)
    below = events(output, 1)[0]
    columns = min(_MOST_COLUMNS, columns_that_fit(above.shape[1:]), len(above))
    bands = min(_MOST_BANDS, -(-len(above) // columns))
    count = min(len(above), bands * columns)
    empty = 1.0 if above.ndim == 4 else 0.0  # of images the white of the sheet
    cells = np.full((2 * bands, columns, *above.shape[1:]), empty, above.dtype)
    captions = [[""] * columns for _ in range(2 * bands)]
    for place in range(count):
        row, column = 2 * (place // columns), place % columns
        cells[row, column], cells[row + 1, column] = above[place], below[place]
        captions[row][column], captions[row + 1][column] = names[place], f"{scores[place]:.4g}"
    notes = [f"The strangest {count} of {total:,}; below each reconstruction its {unit}"]
    return Grid(
        cells,
        "Anomaly scores",
        [*notes, *([remark] if remark else [])],
        row_names=["original", "reconstruction"] * bands,
        captions=captions,
    ).draw()
