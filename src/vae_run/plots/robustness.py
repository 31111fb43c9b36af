"""The curve of robustness: how good a restoration is at every level of a corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vae_run.plots.canvas import (
    BLUE,
    BODY,
    HAIRLINE,
    MARGIN,
    MUTED,
    SMALL,
    VERMILLION,
    Array,
    Heading,
    Picture,
    Sheet,
    text_width,
)
from vae_run.plots.curves import short, style

_LINES = {
    "output": (BLUE, "output of the model"),
    "input": (VERMILLION, "corrupted input"),
    "mean": (MUTED, "mean {}"),
}
_PLOT = (360, 240)  # width and height of a panel's axes
_INSET, _BETWEEN, _ABOVE, _BELOW = 60, 36, 34, 50


@dataclass(frozen=True)
class Panel:
    """A measure at every level.

    Attributes:
        title: what is measured, and its unit.
        lines: values of "output", "input" and "mean" at each level; those that are not finite are
            left out.
        logarithmic: the axis of the measure is.
    """

    title: str
    lines: Mapping[str, Sequence[float]]
    logarithmic: bool = False


def robustness(
    levels: Sequence[float],
    panels: Sequence[Panel],
    *,
    here: float,
    level_name: str,
    note: str,
    noun: str = "image",
) -> Picture:
    """Lines against the level, a panel for each measure.

    Args:
        levels: rising values of the corruption's level.
        panels: what is drawn, from left to right.
        here: the level that is marked.
        level_name: what the level is, and its unit.
        note: which images.
        noun: what an example is called.
    """
    width = 2 * MARGIN + len(panels) * (_INSET + _PLOT[0] + _BETWEEN) - _BETWEEN
    heading = Heading("Robustness", [note], width - 2 * MARGIN)
    legend = MARGIN + heading.height + 8
    top = legend + 18
    sheet = Sheet(width, top + _ABOVE + _PLOT[1] + _BELOW + MARGIN)
    heading.draw(sheet)
    _legend(sheet, MARGIN, legend, noun)
    for place, panel in enumerate(panels):
        left = MARGIN + place * (_INSET + _PLOT[0] + _BETWEEN)
        sheet.text(left, top + 16, panel.title, bold=True)
        _panel(sheet, levels, panel, here, (left + _INSET, top + _ABOVE))
        y = top + _ABOVE + _PLOT[1] + 34
        middle = left + _INSET + _PLOT[0] / 2
        sheet.text(middle, y, f"corruption.level: {level_name}", size=SMALL, align="center")
    return sheet.picture()


def _legend(sheet: Sheet, x: float, y: float, noun: str) -> None:
    for colour, label in _LINES.values():
        name = label.format(noun)
        sheet.lines(np.array([[[x, y], [x + 16, y]]]), colour, 2.4)
        sheet.text(x + 22, y, name, size=BODY)
        x += 22 + text_width(name, BODY) + 20


def _panel(
    sheet: Sheet,
    levels: Sequence[float],
    panel: Panel,
    here: float,
    corner: tuple[int, int],
) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    axes = sheet.axes(*corner, *_PLOT)
    style(axes)
    axes.axvline(here, color=HAIRLINE, linewidth=1.4)
    for name, values in panel.lines.items():
        known: Array = np.asarray(values, dtype=float)
        known = np.where(np.isfinite(known), known, np.nan)
        colour, dots = _LINES[name][0], "" if name == "mean" else "o"
        axes.plot(levels, known, color=colour, linewidth=1.8, marker=dots, markersize=4)
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    whole = all(float(level).is_integer() for level in levels)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=whole))
    # The mark's own words stand where there is room.
    right = here - levels[0] < (levels[-1] - levels[0]) / 2
    low, high = axes.get_xlim()
    x = corner[0] + (here - low) / (high - low) * _PLOT[0] + (6 if right else -6)
    words, side = f"level {short(here)}", "left" if right else "right"
    sheet.text(x, corner[1] + 8, words, size=SMALL, colour=MUTED, align=side)
