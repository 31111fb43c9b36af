"""Images, and what a model makes of them.

Letters: B batch, N images shown, R rows, E event shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import Array, Picture
from vae_run.plots.cells import LARGEST, TALLEST, columns_that_fit, events, resized
from vae_run.plots.grid import Grid
from vae_run.plots.words import notes, shown_of

if TYPE_CHECKING:
    from torch import Tensor

_MOST_COLUMNS = 16
_ENOUGH = 10
"""Images to show, as far as there is room: of ten classes one each."""


def reconstructions(
    target: Tensor,
    input: Tensor | None,
    output: Tensor,
    labels: Tensor | Sequence[Any] | None = None,
    drawn: Callable[[Tensor], Tensor] = lambda images: images,
    note: str = "",
) -> Picture:
    """Originals, what the encoder saw (where that differs) and reconstructions, in columns.

    Images of up to 168 pixels are as large as they are, in several bands where few fit beside each
    other. Longer than other functions: it prepares the three rows and the errors below them.

    Args:
        target: clean images [B, *E]; the first 16 at most are shown.
        input: the corrupted images, or None where the encoder sees the clean ones; channels and
            size may differ from the target's.
        output: means of p(x|z) [B, *E].
        labels: B class numbers or names for the tops of the columns.
        drawn: gives the values that are shown; errors are those of the images themselves.
        note: what it does.
    """
    if target.shape != output.shape:
        raise ValueError(f"target {list(target.shape)} and output {list(output.shape)} differ")
    if input is not None and len(input) != len(target):
        raise ValueError(f"{len(input)} inputs do not match {len(target)} targets")
    clean, remark = events(drawn(target), 1)
    columns, bands = _layout(clean.shape[1:], len(clean), 2 + (input is not None))
    count = columns * bands
    rows = {"original": clean}
    if input is not None:
        seen = events(drawn(input), 1)[0]
        rows["corrupted"] = seen if seen.ndim < 4 else resized(seen, *clean.shape[1:3])
    rows["reconstruction"] = events(drawn(output), 1)[0]
    cells = np.stack([row[:count] for row in rows.values()])
    errors = _squared_errors(target[:count], output[:count])
    unit = "pixel" if clean.ndim == 4 else "value"
    noun = {2: "vector", 3: "window", 4: "image"}[clean.ndim]
    shown = shown_of(count, count, noun)  # of the split they are a sample anyway
    mean = float(errors.mean())
    error = f"{_error(mean)} per {unit}" if math.isfinite(mean) else "not finite"
    names: Any = labels if labels is None or isinstance(labels, Sequence) else labels.tolist()
    heads = [] if names is None else [str(name) for name in names[:count]]
    below = [_error(float(error)) for error in errors]
    said = notes(cells, f"Squared error {error}, mean over {shown}{note}", remark)
    if bands == 1:
        words: dict[str, Any] = {"column_names": heads, "footer": below}
        words["footer_name"] = "squared error"
    else:
        cells, words = _in_bands(cells, heads, below, bands)
    return Grid(cells, "Reconstructions", said, row_names=[*rows] * bands, **words).draw()


def _layout(event: Sequence[int], count: int, rows: int) -> tuple[int, int]:
    """Columns, and bands of rows below each other, which large images need to show all classes."""
    columns = min(_MOST_COLUMNS, columns_that_fit(event, native=True), count)
    room = TALLEST // (rows * (min(event[0], LARGEST) + 20)) if len(event) == 3 else 1
    bands = min(-(-_ENOUGH // columns), count // columns, max(1, room))
    return columns, max(1, bands)


def _in_bands(
    cells: Array, heads: Sequence[str], below: Sequence[str], bands: int
) -> tuple[Array, dict[str, Any]]:
    """Rows of cells [R, N, ...] as bands below each other, with words below the single cells."""
    rows, columns = cells.shape[0], cells.shape[1] // bands
    parts = np.stack(np.split(cells, bands, axis=1))
    lines = []
    for start in range(0, bands * columns, columns):
        own = slice(start, start + columns)
        lines += [list(heads[own]) or [""] * columns, *[[""] * columns] * (rows - 2), below[own]]
    return parts.reshape(bands * rows, columns, *cells.shape[2:]), {"captions": lines}


def _squared_errors(target: Tensor, output: Tensor) -> Array:
    """Mean squared error of each example, [B], not clipped."""
    error = target.detach().cpu().double() - output.detach().cpu().double()
    squares: Array = error.square().flatten(1).mean(1).numpy()
    return squares


def _error(value: float) -> str:
    if not math.isfinite(value):
        return "—"
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}" if value else "0"
