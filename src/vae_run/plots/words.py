"""What stands around the cells of a picture: notes, numbers and names."""

from __future__ import annotations

from collections.abc import Sequence

from vae_run.plots.canvas import Array
from vae_run.plots.cells import value_range


def notes(cells: Array, *notes: str) -> list[str]:
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


def number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


def shown_of(shown: int, total: int, noun: str) -> str:
    plural = "s" * (total != 1)
    return f"{shown} of {total} {noun}{plural}" if shown < total else f"{shown} {noun}{plural}"


def captions(classes: Sequence[str], count: int, columns: int) -> list[list[str]]:
    """The names of `classes` in turn for `count` images in rows of `columns`."""
    names = [classes[i % len(classes)] for i in range(count if classes else 0)]
    return [names[i : i + columns] for i in range(0, len(names), columns)]
