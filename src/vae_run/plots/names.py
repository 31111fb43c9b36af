"""Names below the cells of a picture that is drawn elsewhere, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence

from vae_run.plots.canvas import SMALL, Picture, Sheet, shorten, text_width

STRIP = 18
"""Pixels of the height of a line of names."""
_WIDEST = 160


def room_for(names: Sequence[str]) -> int:
    """Pixels of a cell's width at which all names can be read, at most 160."""
    return min(_WIDEST, 8 + max((int(text_width(name, SMALL)) for name in names), default=0))


def name_strip(names: Sequence[str], pitch: int, width: int) -> Picture:
    """A line of names, each in the middle of its cell, white [STRIP, width, 3]; pitch in pixels."""
    sheet = Sheet(width, STRIP)
    for place, name in enumerate(names):
        x = (place + 0.5) * pitch
        sheet.text(x, STRIP / 2, shorten(name, pitch - 4, SMALL), size=SMALL, align="center")
    return sheet.picture()
