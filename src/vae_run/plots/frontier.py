"""The rate-distortion frontier: what a code costs against what it leaves unexplained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vae_run.plots.canvas import (
    BODY,
    HAIRLINE,
    INK,
    MARGIN,
    MUTED,
    SERIES,
    SMALL,
    Array,
    Heading,
    Picture,
    Sheet,
    shorten,
)
from vae_run.plots.curves import room_around, short, style
from vae_run.plots.fonts import DEFAULT, families, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLOT = (620, 420)
_INSET, _BELOW = 66, 52


@dataclass(frozen=True)
class Point:
    """A model's rate and distortion, in nats per image, and what is written beside it.

    The halves are of the widths of their intervals, NaN where there are none.
    """

    name: str
    rate: float
    distortion: float
    rate_half: float = math.nan
    distortion_half: float = math.nan


def frontier(
    lines: Mapping[str, Sequence[Point]], notes: Sequence[str], unit: str = "nats per image"
) -> Picture:
    """Distortion against rate, a line for each setting; the ELBO is equal along the dashed lines.

    Args:
        lines: points by setting; they are joined by rising rate. At most 7 settings are drawn, and
            points that are not finite are left out.
        notes: which split, and what was swept.
        unit: of both.
    """
    shown = dict(list(lines.items())[: len(SERIES)])
    left_out = ", ".join(name for name in lines if name not in shown)
    notes = [*notes, f"Not shown: {left_out}"] if left_out else notes
    width = 2 * MARGIN + _INSET + _PLOT[0]
    heading = Heading("Rate and distortion", [". ".join(notes)], width - 2 * MARGIN)
    names = [name for name in shown if name]
    top = MARGIN + heading.height + 18 * len(names) + 10
    sheet = Sheet(width, top + _PLOT[1] + _BELOW)
    heading.draw(sheet)
    for row, name in enumerate(names):
        y = MARGIN + heading.height + 18 * row + 4
        colour = SERIES[list(shown).index(name)]
        sheet.key(MARGIN, y, {shorten(name, _PLOT[0], BODY): colour})
    axes = sheet.axes(MARGIN + _INSET, top, *_PLOT)
    style(axes)
    for (_, points), colour in zip(shown.items(), SERIES, strict=False):
        _draw(axes, points, colour)
    _equal_elbo(axes, [point for points in shown.values() for point in points])
    for points in shown.values():
        _write_names(axes, _finite(points))
    middle = MARGIN + _INSET + _PLOT[0] / 2
    x_name = f"rate: KL(q(z|x) || p(z)), {unit}"
    sheet.text(middle, top + _PLOT[1] + 34, x_name, size=SMALL, align="center")
    y_name = f"distortion: reconstruction, {unit}"
    axes.set_ylabel(y_name, fontsize=SMALL, color=INK, family=DEFAULT)
    return sheet.picture()


def _finite(points: Sequence[Point]) -> list[Point]:
    known = [p for p in points if np.isfinite(p.rate) and np.isfinite(p.distortion)]
    return sorted(known, key=lambda point: point.rate)


def _draw(axes: Axes, points: Sequence[Point], colour: str) -> None:
    known = _finite(points)
    rates, distortions = [p.rate for p in known], [p.distortion for p in known]
    axes.errorbar(
        rates,
        distortions,
        [point.distortion_half for point in known],
        [point.rate_half for point in known],
        fmt="none",
        ecolor=colour,
        elinewidth=1.2,
        capsize=3,
    )
    axes.plot(rates, distortions, color=colour, linewidth=1.8, marker="o", markersize=6)


def _write_names(axes: Axes, points: Sequence[Point]) -> None:
    """The names beside the points; those of points in one place beside each other."""
    groups: list[list[Point]] = []
    for point in points:
        if groups and _near(axes, groups[-1][0], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    for group in groups:
        name = ", ".join(point.name for point in group)
        axes.annotate(
            shown(name),
            (group[0].rate, group[0].distortion),
            xytext=(7, 7),
            textcoords="offset points",
            fontsize=SMALL,
            family=families(name),
            color=INK,
            parse_math=False,
        )


def _near(axes: Axes, first: Point, second: Point) -> bool:
    """Whether the names of two points would cover each other."""
    ends = axes.transData.transform([(p.rate, p.distortion) for p in (first, second)])
    apart = np.abs(ends[1] - ends[0])
    return bool(apart[0] < 24 and apart[1] < 14)


def _equal_elbo(axes: Axes, points: Sequence[Point]) -> None:
    """Five lines rate + distortion = constant through the plot, each with its ELBO."""
    known = _finite(points)
    if not known:
        return
    for name, values in (("x", [p.rate for p in known]), ("y", [p.distortion for p in known])):
        low, high = getattr(axes, f"get_{name}lim")()
        least, most = room_around(np.array(values))
        getattr(axes, f"set_{name}lim")(max(low, least), min(high, most))
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    right += 0.08 * (right - left)  # room for the names
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    ends: Array = np.linspace(left + low, right + high, 7)[1:-1]
    for total in ends:
        axes.plot(
            [left, right],
            [total - left, total - right],
            color=HAIRLINE,
            linewidth=1.0,
            linestyle=(0, (5, 3)),
            zorder=0,
        )
        x = max(left, total - high)
        axes.annotate(
            f"elbo {short(-total)}",
            (x, total - x),
            xytext=(4, -12),
            textcoords="offset points",
            fontsize=9,
            family=DEFAULT,
            color=MUTED,
        )
