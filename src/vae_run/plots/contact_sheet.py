"""A contact sheet: images of a data set, and what the encoder sees of them.

Letters: B images, E event shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import Picture
from vae_run.plots.cells import columns_that_fit, events, resized
from vae_run.plots.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS, BANDS = 12, 4
"""Images in a row, and rows of clean images, at most."""
NOUNS = {2: "vectors", 3: "windows", 4: "images"}
"""What examples are called, by the number of axes of their cells."""


def contact_sheet(
    target: Tensor, input: Tensor | None, note: str, names: Sequence[str] = ()
) -> Picture:
    """Clean images in rows, and below each what the encoder sees of it where that differs.

    Args:
        target: clean images [B, *E]; the first 48 at most are shown, in full rows.
        input: the corrupted images [B, ...], or None where the encoder sees the clean ones.
        note: what they are.
        names: what to write below each of the B images.
    """
    clean, remark = events(target, 1)
    columns = min(COLUMNS, columns_that_fit(clean.shape[1:]))
    bands = min(BANDS, -(-len(clean) // columns))
    columns = min(columns, len(clean) // bands)
    count, kinds = bands * columns, [clean]
    if input is not None:
        seen = events(input, 1)[0]
        kinds.append(seen if seen.ndim == 2 else resized(seen, *clean.shape[1:3]))
    rows = [kind[:count].reshape(bands, columns, *kind.shape[1:]) for kind in kinds]
    cells = np.stack(rows, axis=1).reshape(bands * len(kinds), columns, *clean.shape[1:])
    captions: list[list[str]] = []
    for band in range(bands if names else 0):
        captions += [[""] * columns] * (len(kinds) - 1)
        captions.append([str(name) for name in names[band * columns : (band + 1) * columns]])
    return Grid(
        cells,
        f"{count} training {NOUNS[clean.ndim]}",
        [". ".join(text for text in (note, remark) if text)],
        row_names=["clean", "corrupted"] * bands if input is not None else [],
        captions=captions,
    ).draw()
