"""A finished picture: its pixels, and what draws it again as SVG, PDF or with more pixels."""

from __future__ import annotations

from typing import IO, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Format: TypeAlias = Literal["png", "svg", "pdf"]

SCREEN = 72
"""Dots per inch at which a point is a pixel: the size in which pictures are laid out."""


class Page(Protocol):
    """What a picture was drawn on, and can be drawn on again."""

    def pixels(self, dpi: int) -> NDArray[np.uint8]:
        """The page [height, width, 3] with `dpi` dots per inch."""

    def save(self, file: IO[bytes], format: str) -> None:
        """Write the page as SVG or PDF."""


class Drawing(np.ndarray[Any, np.dtype[np.uint8]]):
    """The pixels of a picture, uint8 [height, width, 3], which keep the page they were drawn on.

    To everyone else it is a plain array: for TensorBoard, and for whoever reads its pixels. A part
    or a copy of it has no page.
    """

    sheet: Page | None
    png: bytes | None
    """Its PNG on the screen, once a file or a tracker has had it encoded."""

    @classmethod
    def of(cls, sheet: Page, pixels: NDArray[np.uint8]) -> Drawing:
        """`pixels` as a picture of the page `sheet`."""
        found = pixels.view(cls)
        found.sheet = sheet
        return found

    def __reduce__(self) -> Any:
        """Pixels and PNG can be sent to another process, the page cannot."""
        return _without_page, (np.asarray(self), self.png)

    def __array_finalize__(self, source: Any) -> None:
        self.sheet = self.png = None


def _without_page(pixels: NDArray[np.uint8], png: bytes | None) -> Drawing:
    found = pixels.view(Drawing)
    found.png = png
    return found
