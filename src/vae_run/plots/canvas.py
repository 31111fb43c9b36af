"""The page under every picture: pixels from the top left corner, one typeface, one palette."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vae_run.plots.fonts import families, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties

Array: TypeAlias = NDArray[Any]
Picture: TypeAlias = NDArray[np.uint8]

INK, MUTED, HAIRLINE, PANEL = "#1b1f24", "#5c6570", "#c6ccd4", "#f3f5f7"
# Okabe and Ito's palette, told apart under the common forms of colour blindness.
BLUE, ORANGE, GREEN, VERMILLION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
SPLITS = {"train": BLUE, "val": ORANGE, "test": GREEN}
SERIES = (BLUE, ORANGE, GREEN, VERMILLION, "#cc79a7", "#56b4e9", INK)
"""What sets up to seven lines of a figure apart."""

MARGIN = 16
TITLE, BODY, SMALL = 16.0, 12.5, 11.0
_LINE = 17
_DPI = 72  # a point is a pixel: every size in this package is in pixels


def rgb(colour: str) -> Picture:
    """The three bytes [3] of a colour written #rrggbb."""
    return np.frombuffer(bytes.fromhex(colour[1:]), dtype=np.uint8)


def _font(string: str, size: float, bold: bool = False) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    weight = "bold" if bold else "normal"
    return FontProperties(family=families(string), size=size, weight=weight)


def text_width(string: str, size: float, bold: bool = False) -> float:
    """Width in pixels of a line of text."""
    from matplotlib.backends.backend_agg import RendererAgg

    string = shown(string)
    renderer: Any = RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]
    width = renderer.get_text_width_height_descent(string, _font(string, size, bold), ismath=False)[
        0
    ]
    return float(width)


def shorten(string: str, width: float, size: float) -> str:
    """The text itself where it fits into `width` pixels, else its beginning and an ellipsis."""
    if text_width(string, size) <= width:
        return string
    end = len(string) - 1
    while end > 1 and text_width(string[:end] + "…", size) > width:
        end -= 1
    return string[:end] + "…"


def wrap(paragraph: str, width: float, size: float) -> list[str]:
    """The paragraph broken between words into lines of at most `width` pixels."""
    lines: list[str] = []
    for word in paragraph.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


class Heading:
    """A title with notes under it, broken to a width; `height` is known before the page is made."""

    def __init__(self, title: str, notes: Sequence[str], width: float, warning: str = "") -> None:
        self.title = title
        self.notes = [line for note in notes for line in wrap(note, width, BODY)]
        self.warnings = wrap(warning, width, BODY)
        self.height = 26 + _LINE * (len(self.notes) + len(self.warnings)) + 8

    def draw(self, sheet: Sheet) -> None:
        """Write the heading at the top of the page."""
        sheet.text(MARGIN, MARGIN + 9, self.title, size=TITLE, bold=True)
        y = MARGIN + 26.0 + _LINE / 2
        for colour, lines in ((MUTED, self.notes), (VERMILLION, self.warnings)):
            for line in lines:
                sheet.text(MARGIN, y, line, colour=colour)
                y += _LINE


class Sheet:
    """A white page of width x height pixels; x runs right and y runs down from the top left."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        # The small excess keeps the canvas from losing a pixel when it rounds inches down.
        size = ((width + 0.01) / _DPI, (height + 0.01) / _DPI)
        self.figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
        self._canvas: Any = FigureCanvasAgg(self.figure)

    def text(
        self,
        x: float,
        y: float,
        string: str,
        *,
        size: float = BODY,
        colour: str = INK,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """Write one line, its middle at height y; `$` and `_` stand for themselves."""
        from matplotlib.transforms import IdentityTransform

        if not string:
            return
        string = shown(string)
        self.figure.text(
            x,
            self.height - y,
            string,
            fontproperties=_font(string, size, bold),
            color=colour,
            ha=align,
            va="center_baseline",
            parse_math=False,
            transform=IdentityTransform(),
        )

    def image(self, pixels: Picture, x: int, y: int) -> None:
        """Lay pixels [h, w, 3] on the page one to one, their top left corner at (x, y)."""
        bottom = self.height - y - pixels.shape[0]
        self.figure.figimage(pixels, xo=x, yo=bottom, origin="upper", zorder=0)

    def axes(self, x: int, y: int, width: int, height: int) -> Axes:
        """Axes whose inner box has its top left corner at (x, y)."""
        left, bottom = x / self.width, 1 - (y + height) / self.height
        return self.figure.add_axes((left, bottom, width / self.width, height / self.height))

    def lines(self, paths: Array, colour: str, width: float) -> None:
        """Draw polylines [L, P, 2] of (x, y) points; a point that is NaN breaks its line."""
        from matplotlib.collections import LineCollection
        from matplotlib.transforms import IdentityTransform

        upward = paths * (1.0, -1.0) + (0.0, self.height)
        collection = LineCollection(
            list(upward), colors=colour, linewidths=width, transform=IdentityTransform()
        )
        self.figure.add_artist(collection)

    def key(self, x: float, y: float, entries: Mapping[str, str], size: float = BODY) -> float:
        """A row of strokes with names, {name: colour}, its middle at height y; where it ends."""
        for name, colour in entries.items():
            self.lines(np.array([[[x, y], [x + 16, y]]]), colour, 2.6)
            self.text(x + 22, y, name, size=size)
            x += 22 + text_width(name, size) + 20
        return x

    def picture(self) -> Picture:
        """The finished page as uint8 [height, width, 3]."""
        with warnings.catch_warnings():
            # The bold face of a font may lack what its regular face has.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
