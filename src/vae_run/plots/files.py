"""Pictures as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_run.plots.drawing import SCREEN, Format, content
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
    of a picture that is None, are those of an earlier drawing, and are removed.
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
                write_atomically(file, content(picture, each, dpi))
                written.append(file)
    return written
