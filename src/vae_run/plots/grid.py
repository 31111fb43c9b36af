"""A picture made of cells in rows and columns: its layout, labels and drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vae_run.plots.canvas import (
    BLUE,
    BODY,
    GREEN,
    HAIRLINE,
    INK,
    MARGIN,
    MUTED,
    ORANGE,
    PANEL,
    SMALL,
    VERMILLION,
    Array,
    Heading,
    Picture,
    Sheet,
    rgb,
    shorten,
    text_width,
)
from vae_run.plots.cells import LARGEST, TALLEST, WIDEST, pixels, polylines, tile_size, warning

CURVES = (BLUE, ORANGE, GREEN, VERMILLION, MUTED)
"""Colours of the channels of a window, in turn."""
_NARROWEST_PAGE = 440
_STRIP = 16  # height of a line of labels above or below tiles


@dataclass(frozen=True)
class Grid:
    """Cells [R, C, H, W, 3], [R, C, F] or, of windows, [R, C, channels, L], and what is around.

    A row name may carry a second, muted line after two spaces. `captions` [R][C] stand under single
    cells and `footer` [C] under the columns. The first `count` cells are drawn, row by row; the
    rest stay empty. `framed` columns get a blue frame. A `plane` names the axes x and y: its row
    names and footer are values along them. `largest` is the most pixels of a cell's longer side.
    """

    cells: Array
    title: str
    notes: Sequence[str] = ()
    row_names: Sequence[str] = ()
    column_names: Sequence[str] = ()
    captions: Sequence[Sequence[str]] = ()
    footer: Sequence[str] = ()
    footer_name: str = ""
    count: int | None = None
    framed: Sequence[int] = ()
    plane: tuple[str, str] | None = None
    largest: int = LARGEST

    def draw(self) -> Picture:
        """Lay the page out and draw it."""
        layout = _Layout(self)
        sheet = Sheet(layout.width, layout.height)
        layout.heading.draw(sheet)
        sheet.image(_mosaic(self, layout), layout.left, layout.top)
        if self.is_vectors:
            _draw_vectors(self, layout, sheet)
        if self.plane:
            _label_plane(self, layout, sheet)
        else:
            _label_rows(self, layout, sheet)
            _label_columns(self, layout, sheet)
        return sheet.picture()

    @property
    def is_vectors(self) -> bool:
        """Whether the cells are vectors, or windows of several, drawn as lines."""
        return self.cells.ndim < 5

    @property
    def gap(self) -> int:
        """Pixels between neighbouring tiles."""
        if self.plane and not self.is_vectors:
            return 2
        return 6 if self.framed else 4


class _Layout:
    """Where everything stands, in pixels from the page's top left corner."""

    def __init__(self, grid: Grid) -> None:
        rows, columns, *event = grid.cells.shape
        strip = _STRIP * bool(grid.captions)
        tallest = TALLEST + 128 if grid.plane else TALLEST
        room = (tallest / rows - grid.gap - strip, WIDEST / columns - grid.gap)
        self.tile = tile_size(event, *room, grid.largest)
        self.pitch = (self.tile[0] + grid.gap + strip, self.tile[1] + grid.gap)
        self.left = MARGIN + _gutter(grid)
        self.right = self.left + columns * self.pitch[1]
        self.width = max(_NARROWEST_PAGE, self.right + MARGIN)
        self.heading = Heading(grid.title, grid.notes, self.width - 2 * MARGIN, warning(grid.cells))
        above = _STRIP * bool(grid.column_names or grid.plane)
        self.top = MARGIN + self.heading.height + above
        self.bottom = self.top + rows * self.pitch[0]
        below = (_STRIP + 2) * bool(grid.footer) + _STRIP * bool(grid.plane)
        self.height = self.bottom + below + MARGIN - 4

    def middle(self, column: int) -> float:
        """The x of a column's middle."""
        return self.left + (column + 0.5) * self.pitch[1]


def _gutter(grid: Grid) -> int:
    lines = [line for name in grid.row_names for line in name.split("  ", 1)]
    lines += [grid.footer_name, grid.plane[1] if grid.plane else ""]
    widest = max(text_width(line, BODY) if line else 0.0 for line in lines)
    return math.ceil(widest) + 12 if widest else 0


def _mosaic(grid: Grid, layout: _Layout) -> Picture:
    """All tiles with their hairlines in one array [R * pitch, C * pitch, 3]."""
    (height, width), edge = layout.tile, grid.gap // 2
    rows, columns = grid.cells.shape[:2]
    shape = (rows, layout.pitch[0], columns, layout.pitch[1], 3)
    canvas: Picture = np.full(shape, 255, dtype=np.uint8)

    def around(border: int) -> tuple[slice, slice, slice, slice]:
        start = edge - border
        y, x = slice(start, edge + height + border), slice(start, edge + width + border)
        return slice(None), y, slice(None), x

    canvas[around(1)] = rgb(MUTED if grid.plane else HAIRLINE)
    for column in grid.framed:
        canvas[:, :, column : column + 1][around(2)] = rgb(BLUE)
    inside = canvas[around(0)]
    inside[...] = rgb(PANEL) if grid.is_vectors else pixels(grid.cells, layout.tile).swapaxes(1, 2)
    for index in range(grid.count or rows * columns, rows * columns):
        canvas[index // columns, :, index % columns] = 255
    return canvas.reshape(rows * layout.pitch[0], columns * layout.pitch[1], 3)


def _draw_vectors(grid: Grid, layout: _Layout, sheet: Sheet) -> None:
    rows, columns, *channels, length = grid.cells.shape
    curves = math.prod(channels)
    y, x = np.divmod(np.arange(rows * columns)[: grid.count], columns)
    corner = np.array([layout.left, layout.top]) + grid.gap // 2
    corners = corner + np.stack([x, y], axis=1) * layout.pitch[::-1]
    corners = corners.repeat(curves, axis=0)
    vectors = grid.cells.reshape(-1, length)[: grid.count and grid.count * curves]
    lines, lost = polylines(vectors, layout.tile)
    lines = lines + corners[:, None]
    for channel in range(curves):
        sheet.lines(lines[channel::curves], CURVES[channel % len(CURVES)], 1.1)
    if lost.size:
        top = corners[lost[:, 0].astype(int)] + lost[:, 1:] * (1, 0)
        foot = top + np.array([0, layout.tile[0]])
        sheet.lines(np.stack([top, foot], axis=1), VERMILLION, 1.0)


def _label_rows(grid: Grid, layout: _Layout, sheet: Sheet) -> None:
    for row, name in enumerate(grid.row_names):
        y = layout.top + row * layout.pitch[0] + (layout.tile[0] + grid.gap) / 2
        head, _, detail = name.partition("  ")
        sheet.text(MARGIN, y - 8 * bool(detail), head)
        sheet.text(MARGIN, y + 8, detail.strip(), colour=MUTED, size=SMALL)
    sheet.text(MARGIN, layout.bottom + _STRIP / 2 + 1, grid.footer_name, colour=MUTED, size=SMALL)


def _label_columns(grid: Grid, layout: _Layout, sheet: Sheet) -> None:
    under = layout.top + layout.tile[0] + grid.gap + _STRIP / 2 - 1
    lines = [(layout.top - _STRIP / 2 - 1, grid.column_names, INK)]
    lines += [(layout.bottom + _STRIP / 2 + 1, grid.footer, MUTED)]
    lines += [(under + row * layout.pitch[0], t, MUTED) for row, t in enumerate(grid.captions)]
    for y, texts, colour in lines:
        for column, text in enumerate(texts):
            short = shorten(text, layout.pitch[1], SMALL)
            sheet.text(layout.middle(column), y, short, size=SMALL, colour=colour, align="center")


def _label_plane(grid: Grid, layout: _Layout, sheet: Sheet) -> None:
    assert grid.plane is not None
    for row, text in enumerate(grid.row_names):
        y = layout.top + (row + 0.5) * layout.pitch[0]
        sheet.text(layout.left - 6, y, text, size=SMALL, colour=MUTED, align="right")
    y = layout.bottom + _STRIP / 2 + 2
    for column, text in enumerate(grid.footer):
        sheet.text(layout.middle(column), y, text, size=SMALL, colour=MUTED, align="center")
    sheet.text(layout.right, y + _STRIP, grid.plane[0], align="right")
    sheet.text(layout.left - 6, layout.top - _STRIP / 2, grid.plane[1], align="right")
