"""Cells of a picture: small images or vectors, their size on the page and their pixels.

Cells are float arrays [..., H, W, 3] for images, [..., F] for vectors, or [..., C, L] for windows
of C curves; a tile is the place of a cell on the page, (height, width) in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import VERMILLION, Array, Picture, rgb

if TYPE_CHECKING:
    from torch import Tensor

WIDEST, TALLEST = 992, 768  # pixels that all cells of a picture may take up together
_MANY_OUTSIDE = 0.05
"""Share of pixels off [0, 1] from which on a picture says so; means of p(x|z) leave it by a bit."""
SMALLEST, LARGEST = 48, 168  # pixels of a tile's longer side: to be readable, to be of use


def events(images: Tensor, leading: int) -> tuple[Array, str]:
    """Cells [*leading, H, W, 3], [*leading, F] or [*leading, C, L], and a remark.

    They are made from a tensor [*leading, *E]. What is not finite becomes NaN. The remark is empty
    unless channels had to be averaged, or many pixels leave [0, 1], the range that is drawn.
    """
    cells: Array = images.detach().cpu().float().numpy()
    if 0 in cells.shape or not 1 <= cells.ndim - leading <= 3:
        raise ValueError(f"nothing to draw in an array of shape {list(cells.shape)}")
    cells = np.where(np.isfinite(cells), cells, np.float32(np.nan))
    if cells.ndim <= leading + 2:
        return cells, ""
    channels, remark = cells.shape[-3], ""
    if channels not in (1, 3):
        cells = cells.mean(axis=-3, keepdims=True)
        remark = f"Grey is the mean of {channels} channels"
    outside = float(((cells < 0) | (cells > 1)).mean())
    if outside > _MANY_OUTSIDE:
        clipped = f"{outside:.0%} of the pixels leave [0, 1] and are clipped"
        remark = f"{remark}; {clipped}" if remark else clipped
    cells = np.moveaxis(cells, -3, -1)
    return np.broadcast_to(cells, (*cells.shape[:-1], 3)), remark


def spread(count: int, limit: int) -> list[int]:
    """Indices of at most `limit` of `count` items, evenly spread, with both ends kept."""
    kept = np.linspace(0, count - 1, min(count, limit)).round().astype(int)
    return [int(index) for index in kept]


def columns_that_fit(event: Sequence[int], *, native: bool = False) -> int:
    """How many cells of shape (H, W, 3), (F,) or (C, L) stand side by side at a readable size.

    `native`: images are not made smaller than they are, up to `LARGEST` pixels.
    """
    if len(event) < 3:
        width = SMALLEST * 3 // 2
    elif native and SMALLEST <= max(event[:2]) <= LARGEST:
        width = event[1]
    elif max(event[:2]) < SMALLEST:
        width = event[1] * math.ceil(SMALLEST / max(event[:2]))
    else:
        width = math.ceil(event[1] / (max(event[:2]) // SMALLEST))
    return max(1, WIDEST // (width + 4))


def tile_size(
    event: Sequence[int], height: float, width: float, largest: int = LARGEST
) -> tuple[int, int]:
    """The largest tile for a cell of shape (H, W, 3), (F,) or (C, L) inside a box.

    No side is longer than `largest`.

    Images grow and shrink by whole factors, so that their pixels stay equal squares.
    """
    height, width = (max(8.0, min(largest, side)) for side in (height, width))
    if len(event) < 3:
        wide = min(width, height * 3 / 2)
        return int(wide * 2 / 3), int(wide)
    factor = min(height / event[0], width / event[1])
    if factor >= 1:
        return event[0] * int(factor), event[1] * int(factor)
    divisor = math.ceil(1 / factor)
    return math.ceil(event[0] / divisor), math.ceil(event[1] / divisor)


def pixels(cells: Array, tile: tuple[int, int]) -> Picture:
    """Bytes [..., *tile, 3] of images [..., H, W, 3]; a pixel that is not finite is vermillion.

    A side is repeated where the tile is a multiple of it, and averaged where the tile is smaller.
    """
    cells = np.clip(cells, 0.0, 1.0)
    for axis, size in zip((-3, -2), tile, strict=True):
        length = cells.shape[axis]
        if size >= length:
            cells = cells.repeat(size // length, axis=axis)
            continue
        starts = np.arange(size) * length // size
        counts = np.diff(starts, append=length).reshape(-1, *[1] * (-axis - 1))
        cells = np.add.reduceat(cells, starts, axis=axis) / counts
    lost = np.isnan(cells).any(axis=-1)
    result = (np.nan_to_num(cells) * 255).round().astype(np.uint8)
    result[lost] = rgb(VERMILLION)
    return result


def resized(cells: Array, height: int, width: int) -> Array:
    """Images [..., H, W, 3] brought to height x width by their nearest pixels."""
    rows = np.arange(height) * cells.shape[-3] // height
    columns = np.arange(width) * cells.shape[-2] // width
    return cells[..., rows[:, None], columns, :]


def polylines(cells: Array, tile: tuple[int, int]) -> tuple[Array, Array]:
    """Vectors [N, F] as lines [N, P, 2] of (x, y) in their tile, and strokes for what is lost.

    All vectors share one scale. The strokes are (cell, x) pairs [M, 2], one for each value that is
    not finite; the line is broken there.
    """
    inset, (height, width) = 4, tile
    if cells.shape[1] == 1:
        cells = cells.repeat(2, axis=1)
    low, high = value_range(cells)
    share = (cells - low) / (high - low) if high > low else cells * 0 + 0.5
    x = np.linspace(inset, width - inset, cells.shape[1])
    y = inset + (1 - share) * (height - 2 * inset)
    cell, place = np.nonzero(np.isnan(cells))
    return (
        np.stack(np.broadcast_arrays(x, y), axis=-1),
        np.stack([cell, x[place]], axis=-1),
    )


def value_range(cells: Array) -> tuple[float, float]:
    """The least and the greatest finite value, (0, 0) where there is none."""
    finite = cells[np.isfinite(cells)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def warning(cells: Array, leading: int = 2) -> str:
    """How many pixels or values are not finite, in words; empty where there are none."""
    lost: Array = np.isnan(cells)
    what = "value" if cells.ndim <= leading + 2 else "pixel"
    count = int((lost if what == "value" else lost.any(axis=-1)).sum())
    verb = f"{what} is" if count == 1 else f"{what}s are"
    return f"{count:,} {verb} not finite, drawn in this colour" if count else ""
