"""Learning curves: a panel for every quantity, a line for every split."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import (
    BODY,
    HAIRLINE,
    INK,
    MARGIN,
    MUTED,
    SMALL,
    SPLITS,
    Array,
    Heading,
    Picture,
    Sheet,
    text_width,
)
from vae_run.plots.cells import value_range
from vae_run.plots.fonts import DEFAULT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_PANELS = 9
DECADES = 100
"""Ratio of the greatest to the least positive value from which on an axis is logarithmic."""
_PLOT = (232, 164)  # width and height of a panel's axes
_INSET, _ABOVE, _BELOW, _BETWEEN = 52, 46, 52, 24  # left, above and below the axes; between panels


def learning_curves(
    history: Mapping[str, Sequence[float]],
    epochs: Sequence[float],
    units: Mapping[str, str] | None = None,
) -> Picture:
    """Every quantity of a run against its epochs; what is missing or not finite is bridged.

    Args:
        history: columns named split/quantity, such as "val/kl"; the panels are in the order of
            their first columns. A column may be shorter than `epochs`, never longer.
        epochs: the epoch of each value; a value without neighbours, as from sparse validation, is
            drawn as a dot on its line. A line's last finite value stands above its panel.
        units: by quantity; one that is not among them is drawn without a unit.
    """
    panels = joined(_panels(history))
    shown = dict(list(panels.items())[:_MOST_PANELS])
    left_out = ", ".join(name for name in panels if name not in shown)
    notes = [f"Not shown: {left_out}" if left_out else ""] if shown else ["no finite values yet"]
    columns = columns_of(len(shown))
    pitch = (_INSET + _PLOT[0] + _BETWEEN, _ABOVE + _PLOT[1] + _BELOW)
    width = max(440, 2 * MARGIN + columns * pitch[0] - _BETWEEN)
    heading = Heading("Learning curves", notes, width - 2 * MARGIN)
    top = MARGIN + heading.height
    sheet = Sheet(width, top + math.ceil(len(shown) / columns) * pitch[1] - 8 * bool(shown))
    heading.draw(sheet)
    for index, (name, lines) in enumerate(shown.items()):
        row, column = divmod(index, columns)
        corner = (MARGIN + column * pitch[0], top + row * pitch[1])
        write_title(sheet, name, units, corner[0], corner[1] + 8)
        _draw_panel(sheet, lines, epochs, *corner)
    return sheet.picture()


def columns_of(panels: int) -> int:
    """Panels beside each other: three, but two where there are four of them, without a hole."""
    return 2 if panels == 4 else max(1, min(3, panels))


def _panels(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, Array]]:
    """Quantity to split to values, NaN where not finite, without what has no finite value."""
    panels: dict[str, dict[str, Array]] = {}
    for column, raw in history.items():
        split, slash, name = column.partition("/")
        values = np.asarray(raw, dtype=float)
        values = np.where(np.isfinite(values), values, np.nan)
        if slash and np.isfinite(values).any():
            panels.setdefault(name, {})[split] = values
    return panels


EQUAL = " = "
"""Between the names of quantities that are one panel."""


def joined(panels: Mapping[str, Any], same: Callable[[Any, Any], bool] | None = None) -> Any:
    """`panels` by name, where those that are the same are one, whose name is those of all.

    As the loss and the reconstruction of a model without a prior.
    """
    same = same or _same_lines
    found: dict[str, Any] = {}
    for name, lines in panels.items():
        twin = next((each for each in found if same(found[each], lines)), None)
        if twin is None:
            found[name] = lines
        else:
            found = {k + EQUAL + name if k == twin else k: held for k, held in found.items()}
    return found


def _same_lines(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    """Whether two panels have the same splits, with the same values."""
    return first.keys() == second.keys() and all(
        first[split].shape == second[split].shape
        and np.allclose(first[split], second[split], rtol=1e-9, atol=0, equal_nan=True)
        for split in first
    )


def write_title(
    sheet: Sheet, name: str, units: Mapping[str, str] | None, left: float, y: float
) -> None:
    """Write the name of the quantity of a panel, and its unit where it is known."""
    title = name.replace("_", " ")
    sheet.text(left, y, title, bold=True)
    if unit := (units or {}).get(name.split(EQUAL)[0]):
        after = left + text_width(title, BODY, bold=True) + 8
        sheet.text(after, y, unit, size=SMALL, colour=MUTED)


def _draw_panel(
    sheet: Sheet, lines: dict[str, Array], epochs: Sequence[float], left: int, top: int
) -> None:
    _write_legend(sheet, lines, left, top + 26)
    x, y = left + _INSET, top + _ABOVE
    sheet.text(x + _PLOT[0], y + _PLOT[1] + 28, "epoch", size=SMALL, colour=MUTED, align="right")
    axes = sheet.axes(x, y, *_PLOT)
    style(axes)
    for split, values in lines.items():
        known = np.isfinite(values)
        alone = known & ~np.append(known[1:], False) & ~np.insert(known[:-1], 0, False)
        axes.plot(
            np.asarray(epochs[: len(values)], dtype=float)[known],
            values[known],
            color=SPLITS.get(split, MUTED),
            linewidth=1.6,
            marker="o",
            markersize=4,
            markevery=list(np.flatnonzero(alone[known])),
            solid_capstyle="round",
        )
    if len(epochs) == 1:
        axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
    low, high = value_range(np.concatenate(list(lines.values())))
    if low > 0 and high >= DECADES * low:
        logarithmic(axes)
    elif low != 0 and high - low < 1e-3 * abs(low):
        axes.set_ylim(low - abs(low) / 2, low + abs(low) / 2)


def room_around(values: Array, logarithmic: bool = False) -> tuple[float, float]:
    """The limits of an axis for `values` and the bars around them, which may be far wider.

    Half the range of the values on either side: what is longer is cut.
    """
    scale = np.log(values) if logarithmic else values
    low, high = float(scale.min()), float(scale.max())
    margin = (high - low) / 2 or (0.5 if logarithmic else abs(low) / 2 or 1.0)
    ends = np.array([low - margin, high + margin])
    first, last = (np.exp(ends) if logarithmic else ends).tolist()
    return first, last


def is_logarithmic(values: Array) -> bool:
    """Whether rising `values` span a decade or more and lie more evenly on a logarithmic axis."""
    if len(values) < 3 or values[0] <= 0 or values[-1] < 10 * values[0]:
        return False
    logs = np.log(values)
    widest = np.diff(values).max() / (values[-1] - values[0])
    return bool(np.diff(logs).max() / (logs[-1] - logs[0]) < widest)


def logarithmic(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with a few plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1, 2, 5) if high < 100 * low else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _write_legend(sheet: Sheet, lines: dict[str, Array], x: float, y: float) -> None:
    """Each split with its last finite value behind a stroke of its line's colour."""
    for split, values in lines.items():
        text = f"{split} {short(values[np.isfinite(values)][-1])}"
        sheet.lines(np.array([[[x, y], [x + 12, y]]]), SPLITS.get(split, MUTED), 2.4)
        sheet.text(x + 17, y, text, size=SMALL)
        x += 17 + text_width(text, SMALL) + 14


def short(value: float) -> str:
    """Four digits, thousands written out, a true minus sign."""
    text = f"{value:,.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.4g}"
    return text.replace("-", "−")


def style(axes: Axes) -> None:
    """Axes as every picture has them: a quiet grid, no frame, few numbers."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_facecolor("white")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(HAIRLINE)
    axes.grid(axis="y", color=HAIRLINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(x=0.02, y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(length=0, pad=5, labelsize=SMALL, labelcolor=INK, labelfontfamily=DEFAULT)
