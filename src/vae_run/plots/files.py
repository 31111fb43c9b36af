"""Pictures as files: PNG, and beside it SVG or PDF."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_run.plots.canvas import Sheet
from vae_run.plots.drawing import SCREEN, Drawing, Format, Page
from vae_run.system.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

VECTOR: tuple[Format, ...] = ("svg", "pdf")
"""The formats that stand beside a PNG."""


def write_pictures(
    folder: Path,
    pictures: Mapping[str, NDArray[Any] | None],
    format: Format = "png",
    dpi: int = SCREEN,
) -> list[Path]:
    """Write each picture, uint8 [height, width, 3], into `folder`; the files that are now there.

    There is always a `NAME.png`, which programs can rely on, and beside it the `NAME.svg` or
    `NAME.pdf` of another `format`. Files of the same name in formats that are not written, and all
    of a picture that is None, are those of an earlier drawing, and are removed. The disk is not
    waited for, since pictures can be drawn again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, picture in pictures.items():
        wanted = () if picture is None else dict.fromkeys(("png", format))
        for each in ("png", *VECTOR):
            file = folder / f"{name}.{each}"
            if picture is None or each not in wanted:
                file.unlink(missing_ok=True)
            else:
                write_atomically(file, content(picture, each, dpi), lasting=False)
                written.append(file)
    return written


def content(picture: NDArray[Any], format: Format = "png", dpi: int = SCREEN) -> bytes:
    """The file of a picture, uint8 [height, width, 3]; a drawing keeps its PNG for the next reader.

    Args:
        picture: drawn by this package, or any pixels: these have no lines and letters to draw
            again, and are embedded as they are.
        format: svg and pdf hold lines and letters as outlines, cells as pixels.
        dpi: dots per inch of a PNG; 72 draws one pixel a point.
    """
    if isinstance(picture, Drawing) and format == "png" and dpi == SCREEN:
        picture.png = picture.png or _encoded(picture)
        return picture.png
    return _encoded(picture, format, dpi)


def _encoded(picture: NDArray[Any], format: Format = "png", dpi: int = SCREEN) -> bytes:
    from PIL import Image

    sheet: Page | None = getattr(picture, "sheet", None)
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
    sheet = Sheet(picture.shape[1], picture.shape[0])
    sheet.image(np.asarray(picture), 0, 0)
    return sheet
