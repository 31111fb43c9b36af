"""The pictures of what a model makes of images, or of vectors, one function each.

Letters: B batch, N samples, G points an axis, R rows, T steps, E event shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import Array, Picture
from vae_run.plots.cells import columns_that_fit, events, resized, spread, value_range
from vae_run.plots.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

_MOST_COLUMNS, _MOST_ROWS, _MOST_SAMPLES = 16, 12, 256
_MOST_TICKS = 10


def reconstructions(
    target: Tensor,
    input: Tensor | None,
    output: Tensor,
    labels: Tensor | Sequence[Any] | None = None,
    drawn: Callable[[Tensor], Tensor] = lambda images: images,
    note: str = "",
) -> Picture:
    """Originals, what the encoder saw (where that differs) and reconstructions, in columns.

    Longer than other functions: it prepares the three rows and the errors below them.

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
    columns = min(_MOST_COLUMNS, columns_that_fit(clean.shape[1:]), len(clean))
    rows = {"original": clean}
    if input is not None:
        seen = events(drawn(input), 1)[0]
        rows["corrupted"] = seen if seen.ndim < 4 else resized(seen, *clean.shape[1:3])
    rows["reconstruction"] = events(drawn(output), 1)[0]
    cells = np.stack([row[:columns] for row in rows.values()])
    errors = _squared_errors(target[:columns], output[:columns])
    unit = "pixel" if clean.ndim == 4 else "value"
    noun = {2: "vector", 3: "window", 4: "image"}[clean.ndim]
    shown = _of(columns, len(clean), noun)
    mean = float(errors.mean())
    error = f"{_error(mean)} per {unit}" if math.isfinite(mean) else "not finite"
    names: Any = labels if labels is None or isinstance(labels, Sequence) else labels.tolist()
    return Grid(
        cells,
        "Reconstructions",
        _notes(cells, f"Squared error {error}, mean over {shown}{note}", remark),
        row_names=list(rows),
        column_names=[] if names is None else [str(name) for name in names[:columns]],
        footer=[_error(float(error)) for error in errors],
        footer_name="squared error",
    ).draw()


def samples(
    images: Tensor, note: str, classes: Sequence[str] = (), title: str = "Samples"
) -> Picture:
    """Images [N, *E] in a grid as near to a square as N allows, in order along the rows.

    Args:
        images: the first 256 at most are shown.
        note: where they come from, such as "64 samples from the prior N(0, I)".
        classes: names of the classes that the images belong to in turn: a column each, or several
            where they are few, or, where there are more than 16, a caption under every image.
        title: of the picture.
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
        _notes(cells[None, :count], note, left_out, remark),
        column_names=heads,
        captions=[] if heads else _captions(classes, count, columns),
        count=count,
    ).draw()


def _captions(classes: Sequence[str], count: int, columns: int) -> list[list[str]]:
    """The names of `classes` in turn for `count` images in rows of `columns`."""
    names = [classes[i % len(classes)] for i in range(count if classes else 0)]
    return [names[i : i + columns] for i in range(0, len(names), columns)]


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
        [_number(value) if place in ticks else "" for place, value in enumerate(values)]
        for values in axis.expand(2, points).tolist()
    )
    return Grid(
        cells[::-1],
        "Latent manifold",
        _notes(cells, note, remark),
        row_names=upwards[::-1],
        footer=across,
        plane=("z0 →", "z1 ↑"),
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
    table = [[_number(float(row[step])) for step in kept] for row in values.reshape(-1, steps)]
    cells = cells[:rows, kept]
    shared = all(row == table[0] for row in table[:rows])
    left_out = f"The first {_of(rows, images.shape[0], 'latent dimension')} are shown"
    return Grid(
        cells,
        "Latent traversals",
        _notes(cells, note, left_out * (rows < images.shape[0]), remark),
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
    left_out = f"The first {_of(rows, images.shape[0], noun)} are shown"
    ends = "The framed ends are the reconstructions"
    return Grid(
        cells,
        "Interpolations",
        _notes(cells, note, left_out * (rows < images.shape[0]), remark, ends),
        row_names=list(row_names[:rows]),
        column_names=["t = 0", *[_number(time) for time in times[1:]]],
        framed=sorted({0, len(kept) - 1}),
    ).draw()


def _notes(cells: Array, *notes: str) -> list[str]:
    """The notes that say something, with the scale where the cells are vectors or windows."""
    scale, length = "", cells.shape[-1]
    if cells.ndim < 5:
        low, high = value_range(cells)
        what = f"line is a vector of {length}"
        if cells.ndim == 4:
            what = f"curve is one of {cells.shape[2]} channels over {length} steps"
        scale = f"Each {what}, from {low:.3g} to {high:.3g}".replace("-", "−")
    said = [note[0].upper() + note[1:].rstrip(".") for note in (*notes, scale) if note]
    return [". ".join(said)]


def _squared_errors(target: Tensor, output: Tensor) -> Array:
    """Mean squared error of each example, [B], not clipped."""
    error = target.detach().cpu().double() - output.detach().cpu().double()
    squares: Array = error.square().flatten(1).mean(1).numpy()
    return squares


def _error(value: float) -> str:
    if not math.isfinite(value):
        return "—"
    return f"{value:.4f}" if value >= 1e-4 else f"{value:.0e}" if value else "0"


def _ticks(count: int) -> set[int]:
    """Places to label among `count`: even steps from both ends that meet symmetrically."""
    step = math.ceil(count / _MOST_TICKS)
    left = [i for i in range(0, count, step) if count - 1 - 2 * i >= step or 2 * i == count - 1]
    return {0, *left, *(count - 1 - i for i in left)}


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


def _of(shown: int, total: int, noun: str) -> str:
    plural = "s" * (total != 1)
    return f"{shown} of {total} {noun}{plural}" if shown < total else f"{shown} {noun}{plural}"
