"""Rows of a table: a line of the picture for every feature, a column for every row.

Letters: N rows, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import BLUE, INK, ORANGE, Array, Picture, rgb
from vae_run.plots.cells import WIDEST
from vae_run.plots.grid import Grid
from vae_run.plots.names import room_for

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROWS, MOST_FEATURES = 24, 48
REACH = 3.0
"""Standard deviations from the mean at which the colours of numbers end."""


def rows(
    shown: Mapping[str, Tensor],
    names: Sequence[str],
    categories: Sequence[bool],
    title: str,
    note: str,
    heads: Sequence[str] = (),
    below: Sequence[str] = (),
) -> Picture:
    """Features as colours: of numbers from blue over white to orange, of categories white to dark.

    Longer than other functions, because of its arguments.

    Args:
        shown: {name: features [N, F]}, drawn below each other in every cell, in this order; the
            first 24 rows and 48 features at most.
        names: of the features, F of them.
        categories: [F], whether a feature is a probability in [0, 1], not a standardised number.
        title: of the picture.
        note: what the rows are.
        heads: the names of the N rows; as many rows are drawn as have room for theirs.
        below: what stands below each of the N rows.
    """
    stacked = np.stack([each.detach().cpu().float().numpy() for each in shown.values()], -1)
    total, features = stacked.shape[:2]
    most = min(MOST_ROWS, WIDEST // room_for(heads)) if heads else MOST_ROWS
    stacked = stacked[:most, :MOST_FEATURES]
    kinds = np.array(categories[:MOST_FEATURES], dtype=bool)[None, :, None]
    colours = np.where(
        kinds[..., None],
        _between(stacked, "#ffffff", INK),
        np.where(
            (stacked < 0)[..., None],
            _between(-stacked / REACH, "#ffffff", BLUE),
            _between(stacked / REACH, "#ffffff", ORANGE),
        ),
    )
    colours[~np.isfinite(stacked)] = np.nan
    cells = colours.transpose(1, 0, 2, 3)[:, :, :, None].repeat(len(shown), axis=3)
    order = f"{' above '.join(shown).capitalize()}. " if len(shown) > 1 else ""
    said = f"{note}. {order}Numbers: blue −{REACH:g}, white 0, orange {REACH:g} standard deviations"
    said += ". Categories: white 0, dark 1" * bool(kinds.any())
    if total > most:
        said += f". The first {most} of {total} rows"
    if features > MOST_FEATURES:
        said += f". The first {MOST_FEATURES} of {features} features"
    return Grid(
        cells,
        title,
        [said],
        row_names=list(names[:MOST_FEATURES]),
        column_names=list(heads[:most]),
        footer=list(below[:most]),
    ).draw()


def _between(share: Array, start: str, end: str) -> Array:
    """Colours [..., 3] in [0, 1] at a share of the way from one colour to another."""
    first, last = (np.array(rgb(colour), dtype=float) / 255 for colour in (start, end))
    mixed: Array = first + np.clip(share, 0, 1)[..., None] * (last - first)
    return mixed
