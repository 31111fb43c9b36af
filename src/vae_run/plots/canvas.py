"""The page under every picture: pixels from the top left corner, one typeface, one palette."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vae_run.plots.backend import prepare
from vae_run.plots.drawing import SCREEN, Drawing
from vae_run.plots.fonts import families, shown

if TYPE_CHECKING:
    from typing import IO

    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties
    from matplotlib.transforms import Transform

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
_DPI = SCREEN  # a point is a pixel: every size in this package is in pixels


def rgb(colour: str) -> Picture:
    """The three bytes [3] of a colour written #rrggbb."""
    return np.frombuffer(bytes.fromhex(colour[1:]), dtype=np.uint8)


def _font(string: str, size: float, bold: bool = False) -> FontProperties:
    prepare()
    from matplotlib.font_manager import FontProperties

    weight = "bold" if bold else "normal"
    return FontProperties(family=families(string), size=size, weight=weight)


@lru_cache(maxsize=4096)  # the lines of a paragraph are measured at each of their words
def text_width(string: str, size: float, bold: bool = False) -> float:
    """Width in pixels of a line of text."""
    prepare()
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
        prepare()
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.width, self.height = width, height
        # The small excess keeps the canvas from losing a pixel when it rounds inches down.
        size = ((width + 0.01) / _DPI, (height + 0.01) / _DPI)
        self.figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
        self._canvas: Any = FigureCanvasAgg(self.figure)
        self._images: list[tuple[Picture, int, int]] = []

    @property
    def on_page(self) -> Transform:
        """From pixels, x to the right and y upwards, to dots of any number per inch."""
        from matplotlib.transforms import Affine2D

        return Affine2D().scale(1 / _DPI) + self.figure.dpi_scale_trans

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
            transform=self.on_page,
        )

    def image(self, pixels: Picture, x: int, y: int) -> None:
        """Lay pixels [h, w, 3] on the page one to one, their top left corner at (x, y)."""
        self._images.append((pixels, x, self.height - y - pixels.shape[0]))

    def axes(self, x: int, y: int, width: int, height: int) -> Axes:
        """Axes whose inner box has its top left corner at (x, y)."""
        left, bottom = x / self.width, 1 - (y + height) / self.height
        return self.figure.add_axes((left, bottom, width / self.width, height / self.height))

    def lines(self, paths: Array, colour: str, width: float) -> None:
        """Draw polylines [L, P, 2] of (x, y) points; a point that is NaN breaks its line."""
        from matplotlib.collections import LineCollection

        upward = paths * (1.0, -1.0) + (0.0, self.height)
        collection = LineCollection(
            list(upward), colors=colour, linewidths=width, transform=self.on_page
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
        """The finished page as uint8 [height, width, 3], which can be drawn again."""
        return Drawing.of(self, self.pixels(_DPI))

    def pixels(self, dpi: int) -> Picture:
        """The page with `dpi` dots per inch; 72 is one pixel for each of its own."""
        before = self.figure.dpi
        self.figure.set_dpi(dpi)
        try:
            with self._with_images(dpi, as_they_are=True), _quietly():
                self._canvas.draw()
                return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()
        finally:
            self.figure.set_dpi(before)

    def save(self, file: IO[bytes], format: str) -> None:
        """Write the page as SVG or PDF; equal pages give equal bytes."""
        from matplotlib import rc_context

        dated = "Date" if format == "svg" else "CreationDate"
        own: Any = {"svg.hashsalt": "vae-run", "pdf.fonttype": 42}
        with rc_context(own), self._with_images(_DPI), _quietly():
            self.figure.savefig(file, format=format, dpi=_DPI, metadata={dated: None})

    @contextmanager
    def _with_images(self, dpi: int, *, as_they_are: bool = False) -> Iterator[None]:
        """The images on the page: each of their pixels as many dots as `dpi` makes of one.

        `as_they_are`: the renderer takes the pixels, which matplotlib would resample to themselves.
        """
        drawn = []
        for pixels, x, y in self._images:
            there = [round(side * dpi / _DPI) for side in (x, y, *pixels.shape[1::-1])]
            if dpi != _DPI:
                pixels = _nearest(pixels, there[3], there[2])
            image: Any = self.figure.figimage(
                pixels, xo=there[0], yo=there[1], origin="upper", zorder=0
            )
            drawn.append(image)
            if as_they_are:
                opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
                upward = np.concatenate([pixels, opaque], axis=2)[::-1].copy()
                made = (upward, float(there[0]), float(there[1]), None)
                image.make_image = lambda *_, made=made: made
        try:
            yield
        finally:
            for image in drawn:
                image.remove()


def _nearest(pixels: Picture, height: int, width: int) -> Picture:
    """`pixels` [h, w, 3] brought to another size by their nearest pixels."""
    rows = np.arange(height) * pixels.shape[0] // height
    columns = np.arange(width) * pixels.shape[1] // width
    found: Picture = pixels[rows[:, None], columns]
    return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Say nothing of letters that the bold face of a font lacks and its regular face has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
