"""Codes in the plane, coloured by class, with the contours of a density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import (
    BLUE,
    BODY,
    HAIRLINE,
    INK,
    MARGIN,
    SMALL,
    Array,
    Heading,
    Picture,
    Sheet,
    rgb,
    shorten,
    text_width,
)
from vae_run.plots.curves import style
from vae_run.plots.density import Density, Gaussian, halo
from vae_run.plots.fonts import DEFAULT, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Tol's muted palette, told apart under the common forms of colour blindness, and ink.
CLASSES = (
    *("#332288", "#ddcc77", "#117733", "#cc6677", "#88ccee"),
    *("#882255", "#44aa99", "#999933", "#aa4499", INK),
)
_MARKERS = ("o", "^", "s", "D", "v")
_MOST_CLASSES = 50
_SIDE, _INSET, _BELOW, _KEY = 520, 52, 48, 108


def scatter(
    points: Array,
    labels: Sequence[Any] | None,
    axes_names: tuple[str, str],
    notes: Sequence[str],
    density: Density | Gaussian | None = None,
) -> Picture:
    """Codes as dots.

    Longer than other functions, because one layout in pixels is shared by heading, dots and key.

    Args:
        points: [N, 2]; what is not finite is left out, and told.
        labels: N class numbers or names, or None; more than 50 classes are drawn as one.
        axes_names: of the horizontal and the vertical axis.
        notes: what is shown.
        density: whose levels, or ellipses, are drawn as dashed lines with their names.
    """
    finite = np.isfinite(points).all(1)
    names = [] if labels is None else sorted({*labels}, key=_order)
    if not 1 < len(names) <= _MOST_CLASSES:
        notes = [*notes, f"{len(names)} classes in one colour"] if len(names) > 1 else notes
        labels, names = None, []
    if not finite.all():
        notes = [*notes, f"{(~finite).sum()} codes are not finite, and not drawn"]
    columns = -(-len(names) // 25)
    width = 2 * MARGIN + _INSET + _SIDE + 16 + max(12, columns * _KEY)
    heading = Heading("Codes", [". ".join(notes)], width - 2 * MARGIN)
    top = MARGIN + heading.height + 6
    sheet = Sheet(width, top + _SIDE + _BELOW)
    heading.draw(sheet)
    axes = sheet.axes(MARGIN + _INSET, top, _SIDE, _SIDE)
    style(axes)
    axes.grid(axis="x", color=HAIRLINE, linewidth=0.6)
    classes = np.array(["" if labels is None else str(label) for label in labels or points])
    order, size = [str(name) for name in names] or [""], _size(int(finite.sum()))
    members = {name: points[finite & (classes == name)] for name in order}
    for index, each in enumerate(members.values()):
        _dots(axes, each, index if names else None, size)
    _square(axes, points[finite], density)
    if density is not None:
        density.draw(axes)
    if names:
        _write_names(axes, members)
    for index, name in enumerate(order if names else []):
        y = top + 10 + 20 * (index % 25)
        _key(sheet, MARGIN + _INSET + _SIDE + 20 + _KEY * (index // 25), y, index, name)
    middle = MARGIN + _INSET + _SIDE / 2
    sheet.text(middle, top + _SIDE + 32, axes_names[0], size=SMALL, align="center")
    axes.set_ylabel(axes_names[1], fontsize=SMALL, color=INK, family=DEFAULT)
    return sheet.picture()


def _order(label: Any) -> tuple[int, float, str]:
    return (0, float(label), "") if isinstance(label, (int, float)) else (1, 0.0, str(label))


def _size(count: int) -> float:
    """The area of a dot in square points: larger where there are few."""
    return float(np.clip(12_000 / max(count, 1), 14, 44))


def _dots(axes: Axes, points: Array, index: int | None, size: float) -> None:
    """Dots with an edge of a darker shade, so that pale colours stand out from the page."""
    colour, marker = _look(index)
    x, y = points.T
    red, green, blue = (float(channel) / 255 * 0.62 for channel in rgb(colour))
    axes.scatter(
        x,
        y,
        s=size,
        c=colour,
        marker=marker,
        alpha=0.9,
        linewidths=0.6,
        edgecolors=[(red, green, blue)],
    )


def _look(index: int | None) -> tuple[str, str]:
    if index is None:
        return BLUE, "o"
    return CLASSES[index % len(CLASSES)], _MARKERS[(index + index // 10) % len(_MARKERS)]


def _write_names(axes: Axes, members: Mapping[str, Array]) -> None:
    """Each class's name near the median of its points, none over another."""
    held = {name: points for name, points in members.items() if len(points)}
    texts = [shown(shorten(name, 60, BODY)) for name in held]
    sizes = np.array([[text_width(text, BODY, bold=True) + 6, 18.0] for text in texts])
    medians = np.array([np.median(points, axis=0) for points in held.values()]).reshape(-1, 2)
    to_page = axes.transData
    places = to_page.inverted().transform(apart(to_page.transform(medians), sizes))
    for text, (x, y) in zip(texts, places.tolist(), strict=True):
        halo(axes, x, y, text, BODY, bold=True)


def apart(places: Array, sizes: Array) -> Array:
    """Boxes [N, 2] of `sizes` [N, 2] moved as little as keeps them from covering each other.

    Of two that overlap, each gives way by half, along the axis on which less is needed.
    """
    found = places.astype(float).copy()
    for _ in range(200):
        moved = False
        for i in range(len(found)):
            for j in range(i):
                between = found[i] - found[j]
                over = (sizes[i] + sizes[j]) / 2 - np.abs(between)
                if (over > 0).all():
                    axis = int(over.argmin())
                    step = (over[axis] / 2 + 0.5) * (1 if between[axis] >= 0 else -1)
                    found[i, axis] += step
                    found[j, axis] -= step
                    moved = True
        if not moved:
            break
    return found


def _key(sheet: Sheet, x: float, y: float, index: int, name: str) -> None:
    from matplotlib.lines import Line2D

    colour, marker = _look(index)
    dot = Line2D([x], [sheet.height - y], marker=marker, color=colour, markersize=7, linewidth=0)
    dot.set_markeredgewidth(0)
    dot.set_transform(sheet.on_page)
    sheet.figure.add_artist(dot)
    sheet.text(x + 12, y, shorten(name, _KEY - 20, BODY))


def _square(axes: Axes, points: Array, density: Density | Gaussian | None) -> None:
    """Limits that hold the points and the contours, with equal units on both axes."""
    corners = [points] if len(points) else [np.zeros((1, 2))]
    if density is not None:
        corners.append(density.extent())
    held = np.concatenate(corners)
    middle = (held.min(0) + held.max(0)) / 2
    half = max(float((held.max(0) - held.min(0)).max()) / 2 * 1.05, 1e-6)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
