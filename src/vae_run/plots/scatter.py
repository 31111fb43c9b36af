"""Codes in the plane, coloured by class, with the contours of a density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    shorten,
)
from vae_run.plots.curves import style
from vae_run.plots.fonts import DEFAULT, families, shown

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


@dataclass(frozen=True)
class Density:
    """A density over a grid of the plane, values [Y, X] at (x, y), and named levels of it."""

    x: Array
    y: Array
    values: Array
    levels: Mapping[str, float]


def scatter(
    points: Array,
    labels: Sequence[Any] | None,
    axes_names: tuple[str, str],
    notes: Sequence[str],
    density: Density | None = None,
) -> Picture:
    """Codes as dots.

    Longer than other functions, because one layout in pixels is shared by heading, dots and key.

    Args:
        points: [N, 2]; what is not finite is left out, and told.
        labels: N class numbers or names, or None; more than 50 classes are drawn as one.
        axes_names: of the horizontal and the vertical axis.
        notes: what is shown.
        density: whose levels are drawn as contours with their names.
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
    order, large = [str(name) for name in names] or [""], len(points) < 500
    for index, name in enumerate(order):
        _dots(axes, points[finite & (classes == name)], index if names else None, large)
    if density is not None:
        _contours(axes, density)
    _square(axes, points[finite], density)
    for index, name in enumerate(order if names else []):
        _name(axes, points[finite & (classes == name)], name)
        y = top + 10 + 20 * (index % 25)
        _key(sheet, MARGIN + _INSET + _SIDE + 20 + _KEY * (index // 25), y, index, name)
    middle = MARGIN + _INSET + _SIDE / 2
    sheet.text(middle, top + _SIDE + 32, axes_names[0], size=SMALL, align="center")
    axes.set_ylabel(axes_names[1], fontsize=SMALL, color=INK, family=DEFAULT)
    return sheet.picture()


def _order(label: Any) -> tuple[int, float, str]:
    return (0, float(label), "") if isinstance(label, (int, float)) else (1, 0.0, str(label))


def _dots(axes: Axes, points: Array, index: int | None, large: bool) -> None:
    colour, marker = _look(index)
    size = 26 if large else 9
    x, y = points.T
    axes.scatter(x, y, s=size, c=colour, marker=marker, alpha=0.75, linewidths=0)


def _look(index: int | None) -> tuple[str, str]:
    if index is None:
        return BLUE, "o"
    return CLASSES[index % len(CLASSES)], _MARKERS[(index + index // 10) % len(_MARKERS)]


def _name(axes: Axes, points: Array, name: str) -> None:
    """The class's name at the median of its points, on a white halo."""
    from matplotlib.patheffects import withStroke

    if not len(points):
        return
    x, y = np.median(points, axis=0).tolist()
    axes.text(
        x,
        y,
        shown(shorten(name, 60, BODY)),
        fontsize=BODY,
        family=families(name),
        weight="bold",
        color=INK,
        ha="center",
        va="center",
        parse_math=False,
        clip_on=True,
        path_effects=[withStroke(linewidth=4, foreground="white")],
    )


def _key(sheet: Sheet, x: float, y: float, index: int, name: str) -> None:
    from matplotlib.lines import Line2D

    colour, marker = _look(index)
    dot = Line2D([x], [sheet.height - y], marker=marker, color=colour, markersize=7, linewidth=0)
    dot.set_markeredgewidth(0)
    dot.set_transform(sheet.on_page)
    sheet.figure.add_artist(dot)
    sheet.text(x + 12, y, shorten(name, _KEY - 20, BODY))


def _contours(axes: Axes, density: Density) -> None:
    """Each level as a dark line with its name on it."""
    from matplotlib.patheffects import withStroke

    named = sorted((level, name) for name, level in density.levels.items())
    levels = [level for level, _ in named]
    if len(set(levels)) < len(levels) or not np.isfinite(levels).all():
        return
    drawn = axes.contour(
        density.x,
        density.y,
        density.values,
        levels,
        colors=INK,
        linewidths=1.1,
        linestyles="dashed",
    )
    for text in axes.clabel(drawn, fmt=dict(named), fontsize=SMALL, inline=True, inline_spacing=4):
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _square(axes: Axes, points: Array, density: Density | None) -> None:
    """Limits that hold the points and the contours, with equal units on both axes."""
    corners = [points] if len(points) else [np.zeros((1, 2))]
    if density is not None:
        inside = density.values >= min(density.levels.values())
        y, x = np.nonzero(inside)
        corners.append(np.stack([density.x[x], density.y[y]], axis=1))
    held = np.concatenate(corners)
    middle = (held.min(0) + held.max(0)) / 2
    half = max(float((held.max(0) - held.min(0)).max()) / 2 * 1.05, 1e-6)
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)
