"""The curves of a sweep: a panel for every figure, a line for every setting and split."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import (
    INK,
    MARGIN,
    SERIES,
    SMALL,
    SPLITS,
    Array,
    Heading,
    Picture,
    Sheet,
    text_width,
)
from vae_run.plots.curves import (
    DECADES,
    columns_of,
    is_logarithmic,
    logarithmic,
    room_around,
    short,
    style,
    write_title,
)
from vae_run.plots.curves import joined as joined_panels
from vae_run.plots.fonts import families, shown
from vae_run.plots.legend import DASHES, Legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLOT = (324, 220)  # width and height of a panel's axes
_INSET, _ABOVE, _BELOW, _BETWEEN = 56, 42, 54, 30  # around the axes; between panels
_MOST_PANELS = 9


@dataclass(frozen=True)
class Line:
    """Points (x, y) of the jobs of one setting, on one split; several may share their x."""

    setting: str
    split: str
    x: Sequence[float]
    y: Sequence[float]
    halves: Mapping[float, float] = field(default_factory=dict)
    """Half the width of the interval around the mean at an x."""


def sweep_curves(
    panels: Mapping[str, Sequence[Line]],
    axis: str,
    *,
    title: str,
    notes: Sequence[str] = (),
    marks: Mapping[str, float] | None = None,
    dots: bool = True,
    joined: bool = True,
    units: Mapping[str, str] | None = None,
) -> Picture:
    """Every quantity of a sweep against what was swept.

    Longer than other functions for its arguments, which decide about one layout in pixels.

    Args:
        panels: lines by the quantity's name; points that are not finite are left out.
        axis: what x is. Either axis is logarithmic where its values span a decade or more, and
            lie more evenly on it.
        title: of the page.
        notes: lines under the title.
        marks: places on x, by their names, marked by a vertical line in every panel.
        dots: draw every point as a dot, beside the line through the mean at each x.
        joined: draw that line.
        units: by quantity; one that is not among them is drawn without a unit.
    """
    panels = joined_panels(panels, operator.eq)
    settings = list(dict.fromkeys(line.setting for lines in panels.values() for line in lines))
    drawn = settings[: len(SERIES)]
    shown = dict(list(panels.items())[:_MOST_PANELS])
    left_out = [*settings[len(drawn) :], *(name for name in panels if name not in shown)]
    notes = [*notes, f"Not shown: {', '.join(left_out)}" if left_out else ""]
    columns = columns_of(len(shown))
    pitch = (_INSET + _PLOT[0] + _BETWEEN, _ABOVE + _PLOT[1] + _BELOW)
    width = 2 * MARGIN + columns * pitch[0] - _BETWEEN
    heading = Heading(title, [note for note in notes if note], width - 2 * MARGIN)
    splits = [s for s in SPLITS if any(li.split == s for ls in shown.values() for li in ls)]
    legend = Legend(drawn, splits, width)
    top = MARGIN + heading.height + legend.height
    sheet = Sheet(width, top + math.ceil(len(shown) / columns) * pitch[1])
    heading.draw(sheet)
    legend.draw(sheet, MARGIN + heading.height)
    for index, (name, lines) in enumerate(shown.items()):
        row, column = divmod(index, columns)
        corner = (MARGIN + column * pitch[0], top + row * pitch[1])
        write_title(sheet, name, units, corner[0], corner[1] + 14)
        axes = _axes(sheet, axis, *corner)
        kept = [line for line in lines if line.setting in drawn]
        for line in kept:
            _draw(axes, line, _look(line, drawn, splits), dots, joined)
        _scale(axes, kept)
        _mark(axes, marks or {})
    return sheet.picture()


def _axes(sheet: Sheet, axis: str, left: int, top: int) -> Axes:
    """The empty axes of a panel, with the name of x below them."""
    middle, y = left + _INSET + _PLOT[0] / 2, top + _ABOVE + _PLOT[1] + 32
    sheet.text(middle, y, axis, size=SMALL, align="center")
    axes = sheet.axes(left + _INSET, top + _ABOVE, *_PLOT)
    style(axes)
    return axes


def _look(line: Line, settings: Sequence[str], splits: Sequence[str]) -> tuple[str, Any]:
    """Colour and dashes of a line: as the legend says."""
    if len(settings) < 2:
        return SPLITS[line.split], "solid"
    dashes = DASHES[line.split] if len(splits) > 1 else "solid"
    return SERIES[settings.index(line.setting)], dashes


def _draw(axes: Axes, line: Line, look: tuple[str, Any], dots: bool, joined: bool = True) -> None:
    """The mean at each x as a line, and the points themselves where several share an x."""
    x, y = _finite(line)
    places = np.unique(x)
    if not len(places):
        return
    means = [y[x == place].mean() for place in places]
    colour, dash = look
    several = dots and (len(x) > len(places) or not joined)
    if several:
        axes.plot(x, y, "o", color=colour, markersize=6, alpha=0.5, markeredgewidth=0)
    if not joined:
        return
    if line.halves:
        half = [line.halves.get(place, math.nan) for place in places.tolist()]
        axes.errorbar(places, means, half, fmt="none", ecolor=colour, elinewidth=1.2, capsize=3)
    marker = "o" if dots or len(places) == 1 else ""
    axes.plot(
        places,
        means,
        color=colour,
        linestyle=dash,
        linewidth=1.8,
        marker=marker,
        markersize=4 if several else 6,
        solid_capstyle="round",
    )


def _finite(line: Line) -> tuple[Array, Array]:
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _scale(axes: Axes, lines: Sequence[Line]) -> None:
    """Logarithmic axes where they fit; numbers at the swept values, as far as they have room."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    points = [_finite(line) for line in lines]
    x = np.unique(np.concatenate([px for px, _ in points]))
    y = np.unique(np.concatenate([py for _, py in points]))
    plain = FuncFormatter(lambda value, _: short(value))
    if is_logarithmic(x):
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    if is_logarithmic(y) or (len(y) and y[0] > 0 and y[-1] >= DECADES * y[0]):
        logarithmic(axes)
    elif len(y) and y[0] != 0 and y[-1] - y[0] < 1e-3 * abs(y[0]):
        axes.set_ylim(y[0] - abs(y[0]) / 2, y[0] + abs(y[0]) / 2)
    if len(y) and any(line.halves for line in lines):
        least, most = room_around(y, axes.get_yscale() == "log")
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, least), min(high, most))
    if 1 <= len(x) <= 24:
        axes.xaxis.set_major_locator(FixedLocator(_with_room(x, axes.get_xscale() == "log")))
        axes.xaxis.set_major_formatter(plain)


def _with_room(values: Array, logarithmic: bool) -> list[float]:
    """Those of rising `values` whose numbers do not touch each other below the axis."""
    if len(values) == 1:
        return [float(values[0])]
    place = np.log(values) if logarithmic else values
    share = (place - place[0]) / (place[-1] - place[0]) * _PLOT[0] * 0.96
    kept, end = [], -math.inf
    for value, x in zip(values.tolist(), share.tolist(), strict=True):
        half = text_width(short(value), SMALL) / 2 + 4
        if x - half >= end:
            kept.append(value)
            end = x + half
    return kept


def _mark(axes: Axes, marks: Mapping[str, float]) -> None:
    """Vertical lines with their names above the axes."""
    from matplotlib.transforms import blended_transform_factory

    for name, place in marks.items():
        axes.axvline(place, color=INK, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
        axes.annotate(
            shown(name),
            (place, 1.0),
            xycoords=blended_transform_factory(axes.transData, axes.transAxes),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=SMALL,
            color=INK,
            family=families(name),
            parse_math=False,
        )
