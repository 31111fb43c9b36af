"""A finished picture: its pixels, and what draws it again as SVG, PDF or with more pixels."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vae_run.plots.canvas import Sheet

Format: TypeAlias = Literal["png", "svg", "pdf"]

SCREEN = 72
"""Dots per inch at which a point is a pixel: the size in which pictures are laid out."""


class Drawing(np.ndarray[Any, np.dtype[np.uint8]]):
    """The pixels of a picture, uint8 [height, width, 3], which keep the page they were drawn on.

    To everyone else it is a plain array: for TensorBoard, and for whoever reads its pixels. A part
    or a copy of it has no page.
    """

    sheet: Sheet | None

    @classmethod
    def of(cls, sheet: Sheet, pixels: NDArray[np.uint8]) -> Drawing:
        """`pixels` as a picture of the page `sheet`."""
        found = pixels.view(cls)
        found.sheet = sheet
        return found

    def __array_finalize__(self, source: Any) -> None:
        self.sheet = None


def content(picture: NDArray[Any], format: Format = "png", dpi: int = SCREEN) -> bytes:
    """The file of a picture, uint8 [height, width, 3].

    Args:
        picture: drawn by this package, or any pixels: these have no lines and letters to draw
            again, and are embedded as they are.
        format: svg and pdf hold lines and letters as outlines, cells as pixels.
        dpi: dots per inch of a PNG; 72 draws one pixel a point.
    """
    from PIL import Image

    sheet = getattr(picture, "sheet", None)
    if sheet is None and format != "png":
        sheet = _page_of(picture)
    buffer = io.BytesIO()
    if sheet is None or (format == "png" and dpi == SCREEN):
        Image.fromarray(np.asarray(picture)).save(buffer, format="PNG")
    elif format == "png":
        Image.fromarray(sheet.pixels(dpi)).save(buffer, format="PNG", dpi=(dpi, dpi))
    else:
        sheet.save(buffer, format)
    return buffer.getvalue()


def _page_of(picture: NDArray[Any]) -> Sheet:
    """A page that holds nothing but the pixels."""
    from vae_run.plots.canvas import Sheet

    sheet = Sheet(picture.shape[1], picture.shape[0])
    sheet.image(np.asarray(picture), 0, 0)
    return sheet
