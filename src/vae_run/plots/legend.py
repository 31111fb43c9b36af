"""The legend of the curves of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vae_run.plots.canvas import BODY, MARGIN, MUTED, SERIES, SPLITS, Sheet, shorten, text_width

DASHES: dict[str, Any] = {"train": (0, (1, 1.6)), "val": (0, (4, 2)), "test": "solid"}
"""The strokes of the splits, where colours stand for settings."""


class Legend:
    """What colours and strokes mean: settings in colours and splits in strokes, or just splits."""

    def __init__(self, settings: Sequence[str], splits: Sequence[str], width: float) -> None:
        if len(settings) < 2:
            entries = [(split, SPLITS[split], "solid") for split in splits]
        else:
            entries = [(name, SERIES[i], "solid") for i, name in enumerate(settings)]
            entries += [(s, MUTED, DASHES[s]) for s in splits if len(splits) > 1]
        self._places: list[tuple[float, int, str, str, Any]] = []
        x, row = float(MARGIN), 0
        for name, colour, dash in entries:
            name = shorten(name, width - 2 * MARGIN - 30, BODY)
            size = 30 + text_width(name, BODY)
            if x > MARGIN and x + size > width - MARGIN:
                x, row = float(MARGIN), row + 1
            self._places.append((x, row, name, colour, dash))
            x += size + 22
        self.height = 18 * (row + 1) + 8 if entries else 0

    def draw(self, sheet: Sheet, top: float) -> None:
        """Write the legend at height `top`."""
        from matplotlib.lines import Line2D

        for x, row, name, colour, dash in self._places:
            y = top + 18 * row + 6
            up = sheet.height - y
            stroke = Line2D([x, x + 22], [up, up], color=colour, linewidth=2.2, linestyle=dash)
            stroke.set_transform(sheet.on_page)
            sheet.figure.add_artist(stroke)
            sheet.text(x + 30, y, name)
