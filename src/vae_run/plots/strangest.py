"""The images that stand out most, above their reconstructions.

Letters: B images, E event shape.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import Array, Picture
from vae_run.plots.cells import columns_that_fit, events
from vae_run.plots.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

_MOST_COLUMNS, _MOST_BANDS = 12, 4
_SHORT = 8  # letters of a name that fit above an image


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
    names, common = _told_apart(names)
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
        [*notes, *([common] if common else []), *([remark] if remark else [])],
        row_names=["original", "reconstruction"] * bands,
        captions=captions,
    ).draw()


def _told_apart(names: Sequence[str]) -> tuple[Sequence[str], str]:
    """Names without what all begin and end with, where they are long; and a note on that.

    Digits of a number stay together, and only a file name's ending is left out.
    """
    if len(set(names)) < 2 or max(map(len, names)) <= _SHORT:
        return names, ""
    endings = {os.path.splitext(name)[1] for name in names}
    ending = endings.pop() if len(endings) == 1 else ""
    stems = [name.removesuffix(ending) for name in names]
    start = re.sub("[0-9]+$", "", os.path.commonprefix(stems))  # noqa: RUF071
    left = [stem.removeprefix(start) for stem in stems]
    if not all(left):  # one name is the beginning of the others
        start, left = "", stems
    said = [f"begins with {start}" if start else "", f"ends with {ending}" if ending else ""]
    kept = " and ".join(part for part in said if part)
    return left, f"Each name {kept}" if kept else ""
